package pebble

import (
	"context"
	"fmt"

	"granary/kv"

	"github.com/cockroachdb/pebble/v2"
)

// Put implements [kv.Store].
func (s *Store) Put(ctx context.Context, item kv.Item) error {
	return s.BatchPut(ctx, []kv.Item{item})
}

// PutIf implements [kv.Store].
func (s *Store) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	return s.putIf(ctx, item, old, false)
}

// PutIfLazy implements [kv.LazyPutter]: the write stands in the log, in front
// of whatever is written next, but nobody waits for the disk.
func (s *Store) PutIfLazy(ctx context.Context, item kv.Item, old kv.Version) error {
	return s.putIf(ctx, item, old, true)
}

func (s *Store) putIf(ctx context.Context, item kv.Item, old kv.Version, lazy bool) error {
	if err := kv.CheckWrite(item); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	k := encodeKey(item.Key)
	st := s.stripe(k)
	st.mu.Lock()
	current, err := s.get(k, item.Key, item.Version, old)
	switch {
	case err != nil:
	case current != nil && current.Version == item.Version:
		st.mu.Unlock()
		if lazy {
			return nil
		}
		return s.settle(st)
	case current != nil && current.Version != old || current == nil && old != "":
		st.mu.Unlock()
		return s.conflict(st, item.Key, current)
	default:
		err = s.space.admit(len(k) + len(item.Value))
	}
	if err != nil {
		st.mu.Unlock()
		return err
	}
	b := s.db.NewBatchWithSize(batchOverhead + len(k) + len(item.Value))
	defer b.Close() //nolint:errcheck // returns it to a pool
	if err = b.Set(k, encodeRecord(item), nil); err == nil {
		err = s.apply(st, b, lazy)
	}
	st.mu.Unlock()
	if err != nil || lazy {
		return err
	}
	return s.wait(b, uint64(b.SeqNum()))
}

// batchOverhead is for the header of a batch and of its entry, and for what a
// record adds to a value.
const batchOverhead = 128

// Delete implements [kv.Store].
func (s *Store) Delete(ctx context.Context, key kv.Key) error {
	if err := kv.CheckKey(key); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	b := s.db.NewBatch()
	defer b.Close() //nolint:errcheck // returns it to a pool
	if err := b.Delete(encodeKey(key), nil); err != nil {
		return fmt.Errorf("delete %v: %w", key, err)
	}
	return s.commitBlind(b, 0)
}

// DeleteIf implements [kv.Store].
func (s *Store) DeleteIf(ctx context.Context, key kv.Key, old kv.Version) error {
	if err := kv.CheckKey(key); err != nil {
		return err
	}
	if old == "" {
		return fmt.Errorf("%w: conditional delete without a version at %v", kv.ErrInvalid, key)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	k := encodeKey(key)
	st := s.stripe(k)
	st.mu.Lock()
	current, err := s.get(k, key, old)
	if err == nil && (current == nil || current.Version != old) {
		st.mu.Unlock()
		return s.conflict(st, key, current)
	}
	if err == nil {
		err = s.space.admit(0)
	}
	if err != nil {
		st.mu.Unlock()
		return err
	}
	b := s.db.NewBatch()
	defer b.Close() //nolint:errcheck // returns it to a pool
	if err = b.Delete(k, nil); err == nil {
		err = s.apply(st, b, false)
	}
	st.mu.Unlock()
	if err != nil {
		return err
	}
	return s.wait(b, uint64(b.SeqNum()))
}

// maxBatch bounds the bytes that are written at once; larger batches would
// each take a memory table of their own.
const maxBatch = 1 << 20

// BatchPut implements [kv.Store].
func (s *Store) BatchPut(ctx context.Context, items []kv.Item) error {
	for _, item := range items {
		if err := kv.Check(item); err != nil {
			return err
		}
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.leave()
	for len(items) > 0 {
		n, size := 0, 0
		b := s.db.NewBatch()
		for ; n < len(items) && (n == 0 || size < maxBatch); n++ {
			item := items[n]
			if item.Version == "" {
				item.Version = kv.NewVersion()
			}
			if err := b.Set(encodeKey(item.Key), encodeRecord(item), nil); err != nil {
				return fmt.Errorf("write %v: %w", item.Key, err)
			}
			size += len(item.Sort) + len(item.Value)
		}
		err := s.commitBlind(b, size)
		b.Close() //nolint:errcheck // returns it to a pool
		if err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}

// commitBlind writes without a condition, and so without a stripe.
func (s *Store) commitBlind(b *pebble.Batch, size int) error {
	if err := s.space.admit(size); err != nil {
		return err
	}
	if err := s.apply(nil, b, false); err != nil {
		return err
	}
	return s.wait(b, uint64(b.SeqNum()))
}
