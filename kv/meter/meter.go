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

// Tracer is an [Observer] that shows single calls too. It is optional.
type Tracer interface {
	// Trace is told of a call that begins; op is a place in Ops. What it
	// returns is told of its result, a place in Results, when the call has
	// ended, which a query has when its last item was taken. It is nil to hear
	// nothing of this call.
	Trace(ctx context.Context, op int) (end func(result int))
}

// Store tells its observer of the calls to the store it wraps; make it with
// [New].
type Store struct {
	inner    kv.Store
	observer Observer
	tracer   Tracer // nil if there is none
}

var (
	_ kv.Store      = (*Store)(nil)
	_ kv.Traiter    = (*Store)(nil)
	_ kv.LazyPutter = (*Store)(nil)
)

// New wraps a store.
func New(inner kv.Store, o Observer) *Store {
	t, _ := o.(Tracer)
	return &Store{inner, o, t}
}

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

// call is one under way.
type call struct {
	op    int
	began time.Time
	end   func(result int) // nil if nobody traces it
}

// began begins a call, whose end it returns.
func (s *Store) began(ctx context.Context, op int) call {
	c := call{op: op}
	if s.tracer != nil {
		c.end = s.tracer.Trace(ctx, op)
	}
	s.observer.Begin()
	c.began = time.Now()
	return c
}

func (s *Store) ended(c call, err error) error {
	result := resultOf(err)
	s.observer.End(c.op, result, time.Since(c.began))
	c.traced(result)
	return err
}

func (c call) traced(result int) {
	if c.end != nil {
		c.end(result)
	}
}

// Get implements [kv.Store].
func (s *Store) Get(ctx context.Context, key kv.Key, opts ...kv.ReadOption) (kv.Item, error) {
	c := s.began(ctx, get)
	item, err := s.inner.Get(ctx, key, opts...)
	return item, s.ended(c, err)
}

// Put implements [kv.Store].
func (s *Store) Put(ctx context.Context, item kv.Item) error {
	c := s.began(ctx, put)
	return s.ended(c, s.inner.Put(ctx, item))
}

// PutIf implements [kv.Store].
func (s *Store) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	c := s.began(ctx, putIf)
	return s.ended(c, s.inner.PutIf(ctx, item, old))
}

// PutIfLazy implements [kv.LazyPutter].
func (s *Store) PutIfLazy(ctx context.Context, item kv.Item, old kv.Version) error {
	c := s.began(ctx, putIfLazy)
	return s.ended(c, kv.PutIfLazy(ctx, s.inner, item, old))
}

// Delete implements [kv.Store].
func (s *Store) Delete(ctx context.Context, key kv.Key) error {
	c := s.began(ctx, remove)
	return s.ended(c, s.inner.Delete(ctx, key))
}

// DeleteIf implements [kv.Store].
func (s *Store) DeleteIf(ctx context.Context, key kv.Key, old kv.Version) error {
	c := s.began(ctx, removeIf)
	return s.ended(c, s.inner.DeleteIf(ctx, key, old))
}

// BatchPut implements [kv.Store].
func (s *Store) BatchPut(ctx context.Context, items []kv.Item) error {
	c := s.began(ctx, batchPut)
	return s.ended(c, s.inner.BatchPut(ctx, items))
}

// Query implements [kv.Store]. Its time is that to the first item, or to the
// end where there is none: what the caller does with the items may take for
// ever.
func (s *Store) Query(ctx context.Context, partition, from, to string, opts ...kv.ReadOption) iter.Seq2[kv.Item, error] {
	return func(yield func(kv.Item, error) bool) {
		c := s.began(ctx, query)
		first := time.Duration(-1)
		var failure error
		defer func() {
			if first < 0 {
				first = time.Since(c.began)
			}
			result := resultOf(failure)
			s.observer.End(query, result, first)
			c.traced(result)
		}()
		for item, err := range s.inner.Query(ctx, partition, from, to, opts...) {
			if first < 0 {
				first = time.Since(c.began)
			}
			failure = err
			if !yield(item, err) {
				return
			}
		}
	}
}
