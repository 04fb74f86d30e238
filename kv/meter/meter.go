// Package meter tells an observer what the calls to a key-value store come to
// and how long they take. It changes nothing of what they do.
package meter

import (
	"context"
	"errors"
	"iter"
	"time"

	"granary/kv"
)

// Operations, in the order of [Ops].
const (
	get = iota
	put
	putIf
	putIfLazy
	remove
	removeIf
	query
	batchPut
)

// Ops names the operations that an [Observer] hears of by number.
var Ops = []string{"get", "put", "put_if", "put_if_lazy", "delete", "delete_if", "query", "batch_put"}

// Results, in the order of [Results].
const (
	success = iota
	notFound
	conflict
	throttled
	noSpace
	canceled
	failed
)

// Results names what calls come to, by number.
var Results = []string{"success", "not_found", "conflict", "throttled", "no_space", "canceled", "error"}

// Observer is told of calls. It is used concurrently and must be quick.
type Observer interface {
	// Begin is told that a call begins.
	Begin()
	// End is told that a call has ended, and how long it took; op and result
	// are places in Ops and Results.
	End(op, result int, took time.Duration)
}

// Store tells its observer of the calls to the store it wraps; make it with
// [New].
type Store struct {
	inner    kv.Store
	observer Observer
}

var (
	_ kv.Store      = (*Store)(nil)
	_ kv.Traiter    = (*Store)(nil)
	_ kv.LazyPutter = (*Store)(nil)
)

// New wraps a store.
func New(inner kv.Store, o Observer) *Store { return &Store{inner, o} }

// Traits are those of the wrapped store.
func (s *Store) Traits() kv.Traits { return kv.TraitsOf(s.inner) }

func resultOf(err error) int {
	switch {
	case err == nil:
		return success
	case errors.Is(err, kv.ErrNotFound):
		return notFound
	case errors.Is(err, kv.ErrConflict):
		return conflict
	case errors.Is(err, kv.ErrThrottled):
		return throttled
	case errors.Is(err, kv.ErrNoSpace):
		return noSpace
	case errors.Is(err, context.Canceled):
		return canceled
	}
	return failed
}

// began begins a call, whose end it returns.
func (s *Store) began() time.Time {
	s.observer.Begin()
	return time.Now()
}

func (s *Store) ended(op int, began time.Time, err error) error {
	s.observer.End(op, resultOf(err), time.Since(began))
	return err
}

// Get implements [kv.Store].
func (s *Store) Get(ctx context.Context, key kv.Key, opts ...kv.ReadOption) (kv.Item, error) {
	t := s.began()
	item, err := s.inner.Get(ctx, key, opts...)
	return item, s.ended(get, t, err)
}

// Put implements [kv.Store].
func (s *Store) Put(ctx context.Context, item kv.Item) error {
	t := s.began()
	return s.ended(put, t, s.inner.Put(ctx, item))
}

// PutIf implements [kv.Store].
func (s *Store) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	t := s.began()
	return s.ended(putIf, t, s.inner.PutIf(ctx, item, old))
}

// PutIfLazy implements [kv.LazyPutter].
func (s *Store) PutIfLazy(ctx context.Context, item kv.Item, old kv.Version) error {
	t := s.began()
	return s.ended(putIfLazy, t, kv.PutIfLazy(ctx, s.inner, item, old))
}

// Delete implements [kv.Store].
func (s *Store) Delete(ctx context.Context, key kv.Key) error {
	t := s.began()
	return s.ended(remove, t, s.inner.Delete(ctx, key))
}

// DeleteIf implements [kv.Store].
func (s *Store) DeleteIf(ctx context.Context, key kv.Key, old kv.Version) error {
	t := s.began()
	return s.ended(removeIf, t, s.inner.DeleteIf(ctx, key, old))
}

// BatchPut implements [kv.Store].
func (s *Store) BatchPut(ctx context.Context, items []kv.Item) error {
	t := s.began()
	return s.ended(batchPut, t, s.inner.BatchPut(ctx, items))
}

// Query implements [kv.Store]. Its time is that to the first item, or to the
// end where there is none: what the caller does with the items may take for
// ever.
func (s *Store) Query(ctx context.Context, partition, from, to string, opts ...kv.ReadOption) iter.Seq2[kv.Item, error] {
	return func(yield func(kv.Item, error) bool) {
		began := s.began()
		first := time.Duration(-1)
		var failure error
		defer func() {
			if first < 0 {
				first = time.Since(began)
			}
			s.observer.End(query, resultOf(failure), first)
		}()
		for item, err := range s.inner.Query(ctx, partition, from, to, opts...) {
			if first < 0 {
				first = time.Since(began)
			}
			failure = err
			if !yield(item, err) {
				return
			}
		}
	}
}
