// Package count counts what calls cost, for tests that hold a cost budget:
// counts do not depend on a machine.
package count

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"granary/kv"
)

// A page of a query is one read.
const (
	pageItems = 1000
	pageBytes = 1 << 20
)

// Store counts the calls to the store it wraps; make it with [New].
type Store struct {
	inner kv.Store

	mu    sync.Mutex
	calls map[string]int // by method
}

var (
	_ kv.Store      = (*Store)(nil)
	_ kv.Traiter    = (*Store)(nil)
	_ kv.LazyPutter = (*Store)(nil)
)

// New wraps a store.
func New(inner kv.Store) *Store { return &Store{inner: inner, calls: map[string]int{}} }

// Reads is the number of Gets and of pages of Queries since the last Reset.
func (s *Store) Reads() int { return s.sum("Get", "Query") }

// Writes is the number of write calls since the last Reset, refused ones and
// lazy ones included; a BatchPut counts once for each item.
func (s *Store) Writes() int {
	return s.sum("Put", "PutIf", "PutIfLazy", "Delete", "DeleteIf", "BatchPut")
}

// Calls returns how often each method was called.
func (s *Store) Calls() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// Reset sets all counts to zero.
func (s *Store) Reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.calls)
}

// String lists the methods called, for the message of a failed test.
func (s *Store) String() string {
	calls := s.Calls()
	var out []string
	for _, method := range slices.Sorted(maps.Keys(calls)) {
		out = append(out, fmt.Sprintf("%s %d", method, calls[method]))
	}
	return strings.Join(out, ", ")
}

func (s *Store) sum(methods ...string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, m := range methods {
		n += s.calls[m]
	}
	return n
}

func (s *Store) add(method string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[method] += n
}

// Traits are those of the wrapped store.
func (s *Store) Traits() kv.Traits { return kv.TraitsOf(s.inner) }

// Get implements [kv.Store].
func (s *Store) Get(ctx context.Context, key kv.Key, opts ...kv.ReadOption) (kv.Item, error) {
	s.add("Get", 1)
	return s.inner.Get(ctx, key, opts...)
}

// Put implements [kv.Store].
func (s *Store) Put(ctx context.Context, item kv.Item) error {
	s.add("Put", 1)
	return s.inner.Put(ctx, item)
}

// PutIf implements [kv.Store].
func (s *Store) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	s.add("PutIf", 1)
	return s.inner.PutIf(ctx, item, old)
}

// PutIfLazy implements [kv.LazyPutter].
func (s *Store) PutIfLazy(ctx context.Context, item kv.Item, old kv.Version) error {
	s.add("PutIfLazy", 1)
	return kv.PutIfLazy(ctx, s.inner, item, old)
}

// Delete implements [kv.Store].
func (s *Store) Delete(ctx context.Context, key kv.Key) error {
	s.add("Delete", 1)
	return s.inner.Delete(ctx, key)
}

// DeleteIf implements [kv.Store].
func (s *Store) DeleteIf(ctx context.Context, key kv.Key, old kv.Version) error {
	s.add("DeleteIf", 1)
	return s.inner.DeleteIf(ctx, key, old)
}

// BatchPut implements [kv.Store].
func (s *Store) BatchPut(ctx context.Context, items []kv.Item) error {
	s.add("BatchPut", len(items))
	return s.inner.BatchPut(ctx, items)
}

// Query implements [kv.Store]. It counts a read for each page that it begins,
// the first when it is run.
func (s *Store) Query(ctx context.Context, partition, from, to string, opts ...kv.ReadOption) iter.Seq2[kv.Item, error] {
	return func(yield func(kv.Item, error) bool) {
		s.add("Query", 1)
		items, bytes := 0, 0
		for item, err := range s.inner.Query(ctx, partition, from, to, opts...) {
			if items == pageItems || bytes >= pageBytes {
				s.add("Query", 1)
				items, bytes = 0, 0
			}
			items++
			bytes += len(item.Sort) + len(item.Value)
			if !yield(item, err) {
				return
			}
		}
	}
}
