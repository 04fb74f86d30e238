package pebble

import (
	"context"
	"fmt"

	"granary/kv"

	"github.com/cockroachdb/pebble/v2"
)

// DropExpired removes the expired items of all partitions whose name begins
// with prefix, and returns how many. They are absent for every method anyhow;
// this gives their space back. It is not durable when it returns.
func (s *Store) DropExpired(ctx context.Context, prefix string) (int, error) {
	lower, upper := []byte(prefix), append([]byte(prefix), separator)
	dropped := 0
	for lower != nil {
		keys, next, err := s.expired(ctx, lower, upper)
		if err != nil {
			return dropped, fmt.Errorf("drop expired items of %s: %w", prefix, err)
		}
		for _, k := range keys {
			ok, err := s.drop(k)
			if err != nil {
				return dropped, fmt.Errorf("drop expired items of %s: %w", prefix, err)
			}
			if ok {
				dropped++
			}
		}
		lower = next
	}
	return dropped, nil
}

// expired returns keys of expired items and where to look on, nil at the end.
func (s *Store) expired(ctx context.Context, lower, upper []byte) (keys [][]byte, next []byte, err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, err
	}
	if err := s.enter(); err != nil {
		return nil, nil, err
	}
	defer s.leave()
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: lower, UpperBound: upper})
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if closed := it.Close(); err == nil {
			err = closed
		}
	}()
	now := s.now()
	scanned := 0
	for ok := it.First(); ok; ok = it.Next() {
		if scanned++; scanned > pageScanned || len(keys) == pageItems {
			return keys, append([]byte(nil), it.Key()...), nil
		}
		stored, err := it.ValueAndErr()
		if err != nil {
			return nil, nil, err
		}
		if r, err := decodeRecord(stored); err == nil && !r.live(now) {
			keys = append(keys, append([]byte(nil), it.Key()...))
		}
	}
	return keys, nil, nil
}

// drop removes an item that is still expired.
func (s *Store) drop(k []byte) (bool, error) {
	if err := s.enter(); err != nil {
		return false, err
	}
	defer s.leave()
	st := s.stripe(k)
	st.mu.Lock()
	defer st.mu.Unlock()
	item, err := s.get(k, kv.Key{})
	if err != nil || item != nil {
		return false, err
	}
	if err := s.space.admit(0); err != nil {
		return false, err
	}
	b := s.db.NewBatch()
	defer b.Close() //nolint:errcheck // returns it to a pool
	if err := b.Delete(k, nil); err != nil {
		return false, err
	}
	return true, s.apply(st, b, true)
}
