package pebble

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"

	"granary/kv"

	"github.com/cockroachdb/pebble/v2"
)

// Get implements [kv.Store].
func (s *Store) Get(ctx context.Context, key kv.Key, opts ...kv.ReadOption) (kv.Item, error) {
	if err := kv.CheckKey(key); err != nil {
		return kv.Item{}, err
	}
	if err := ctx.Err(); err != nil {
		return kv.Item{}, err
	}
	if err := s.enter(); err != nil {
		return kv.Item{}, err
	}
	defer s.leave()
	var buffer [256]byte
	k := appendKey(buffer[:0], key.Partition, key.Sort)
	item, err := s.get(k, key)
	if err != nil {
		return kv.Item{}, err
	}
	if len(opts) > 0 && kv.Resolve(opts).Consistent {
		if err := s.settle(s.stripe(k)); err != nil {
			return kv.Item{}, err
		}
	}
	if item == nil {
		return kv.Item{}, kv.ErrNotFound
	}
	return *item, nil
}

// get returns the live item at key, nil if there is none. Its value is left
// out if its version is one of valueless.
func (s *Store) get(k []byte, key kv.Key, valueless ...kv.Version) (*kv.Item, error) {
	stored, closer, err := s.db.Get(k)
	if errors.Is(err, pebble.ErrNotFound) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("read %v: %w", key, err)
	}
	defer closer.Close() //nolint:errcheck // nothing was written
	r, err := decodeRecord(stored)
	if err != nil {
		return nil, fmt.Errorf("read %v: %w", key, err)
	}
	if !r.live(s.now()) {
		return nil, nil
	}
	withValue := true
	for _, v := range valueless {
		withValue = withValue && string(r.version) != string(v)
	}
	item := r.item(key, withValue)
	return &item, nil
}

// Pages of a query: the first is small for those who want no more. A page also
// ends after some expired items, so that the engine isn't held up.
const (
	firstPage   = 64
	pageItems   = 1000
	pageScanned = 8 * pageItems
	pageBytes   = 1 << 20
)

// Query implements [kv.Store]. Nothing of the engine is held while an item is
// yielded; a page is a snapshot, the query is not.
func (s *Store) Query(ctx context.Context, partition, from, to string, opts ...kv.ReadOption) iter.Seq2[kv.Item, error] {
	return func(yield func(kv.Item, error) bool) {
		if err := kv.CheckQuery(partition, from, to); err != nil {
			yield(kv.Item{}, err)
			return
		}
		q := query{partition: partition, read: kv.Resolve(opts)}
		q.lower, q.upper = bounds(partition, from, to)
		size := firstPage
		for left := q.read.Limit; bytes.Compare(q.lower, q.upper) < 0; size = min(2*size, pageItems) {
			if left > 0 {
				size = min(left, pageItems)
			}
			items, err := s.page(ctx, &q, size)
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if err != nil {
				yield(kv.Item{}, err)
				return
			}
			if left -= len(items); q.read.Limit > 0 && left == 0 {
				return
			}
		}
	}
}

// query is what is left of one.
type query struct {
	partition    string
	read         kv.Read
	lower, upper []byte
}

// page reads the next items, at most size, and moves the bounds.
func (s *Store) page(ctx context.Context, q *query, size int) (items []kv.Item, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := s.enter(); err != nil {
		return nil, err
	}
	defer s.leave()
	it, err := s.db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: q.lower, UpperBound: q.upper})
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", q.partition, err)
	}
	defer func() {
		if closed := it.Close(); closed != nil && err == nil {
			err = fmt.Errorf("query %s: %w", q.partition, closed)
		}
	}()
	first, next := it.First, it.Next
	if q.read.Reverse {
		first, next = it.Last, it.Prev
	}
	now := s.now()
	held, scanned := 0, 0
	var last []byte
	for ok := first(); ok; ok = next() {
		if scanned++; len(items) == size || held >= pageBytes || scanned > pageScanned {
			q.advance(last)
			return items, nil
		}
		last = append(last[:0], it.Key()...)
		stored, err := it.ValueAndErr()
		if err != nil {
			return items, fmt.Errorf("query %s: %w", q.partition, err)
		}
		r, err := decodeRecord(stored)
		if err != nil {
			return items, fmt.Errorf("query %s: %q: %w", q.partition, last, err)
		}
		if !r.live(now) {
			continue
		}
		key := kv.Key{Partition: q.partition, Sort: string(last[len(q.partition)+1:])}
		item := r.item(key, !q.read.KeysOnly)
		items = append(items, item)
		held += len(key.Sort) + len(item.Value)
	}
	q.lower = q.upper // that was all
	return items, nil
}

// advance leaves out what has been read up to last.
func (q *query) advance(last []byte) {
	if q.read.Reverse {
		q.upper = last
	} else {
		q.lower = append(last, 0)
	}
}
