// Package retry makes a [kv.Store] out of one whose calls are throttled and
// whose writes may have an unknown outcome: it waits, with full jitter, and
// sends the same call again. It is what a backend does inside itself where its
// client library doesn't.
package retry

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"granary/kv"
)

// Options bound the retries; the zero value is fit for use.
type Options struct {
	// Tries is how often a call is sent at the most; 0: 10.
	Tries int
	// First is the longest first wait, which doubles with every try; 0: 25 ms.
	First time.Duration
	// Last is the longest wait; 0: 5 s.
	Last time.Duration
	// Sleep waits, or returns the context's error; nil: on a timer. For tests.
	Sleep func(context.Context, time.Duration) error
	// Random gives a number in [0, n); nil: math/rand. For tests.
	Random func(n int64) int64
}

// Store is a wrapper; make it with [New].
type Store struct {
	inner   kv.Store
	options Options
}

var (
	_ kv.Store      = (*Store)(nil)
	_ kv.Traiter    = (*Store)(nil)
	_ kv.LazyPutter = (*Store)(nil)
)

// New wraps a store.
func New(inner kv.Store, o Options) *Store {
	if o.Tries <= 0 {
		o.Tries = 10
	}
	if o.First <= 0 {
		o.First = 25 * time.Millisecond
	}
	if o.Last <= 0 {
		o.Last = 5 * time.Second
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	if o.Random == nil {
		o.Random = rand.Int64N
	}
	return &Store{inner, o}
}

// Traits are those of the wrapped store.
func (s *Store) Traits() kv.Traits { return kv.TraitsOf(s.inner) }

// Get implements [kv.Store].
func (s *Store) Get(ctx context.Context, key kv.Key, opts ...kv.ReadOption) (item kv.Item, err error) {
	err = s.retry(ctx, func(bool) error {
		item, err = s.inner.Get(ctx, key, opts...)
		return err
	})
	return item, err
}

// Put implements [kv.Store].
func (s *Store) Put(ctx context.Context, item kv.Item) error {
	if item.Version == "" {
		item.Version = kv.NewVersion() // each try is the same write
	}
	return s.retry(ctx, func(bool) error { return s.inner.Put(ctx, item) })
}

// PutIf implements [kv.Store]. A try that finds its own version succeeds, so
// sending it again settles an unknown outcome.
func (s *Store) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	return s.retry(ctx, func(bool) error { return s.inner.PutIf(ctx, item, old) })
}

// PutIfLazy implements [kv.LazyPutter].
func (s *Store) PutIfLazy(ctx context.Context, item kv.Item, old kv.Version) error {
	return s.retry(ctx, func(bool) error { return kv.PutIfLazy(ctx, s.inner, item, old) })
}

// Delete implements [kv.Store].
func (s *Store) Delete(ctx context.Context, key kv.Key) error {
	return s.retry(ctx, func(bool) error { return s.inner.Delete(ctx, key) })
}

// DeleteIf implements [kv.Store]. After an unknown outcome an item that is
// gone is taken as deleted by us.
func (s *Store) DeleteIf(ctx context.Context, key kv.Key, old kv.Version) error {
	return s.retry(ctx, func(unknown bool) error {
		err := s.inner.DeleteIf(ctx, key, old)
		if !unknown || !errors.Is(err, kv.ErrConflict) {
			return err
		}
		current, found := kv.Current(ctx, s.inner, key, err)
		switch {
		case errors.Is(found, kv.ErrNotFound):
			return nil
		case found != nil:
			return fmt.Errorf("%w: delete of %v met a conflict that could not be read: %w", kv.ErrUnknown, key, found)
		case current.Version != old:
			return &kv.ConflictError{Key: key, Current: &current}
		}
		return err
	})
}

// BatchPut implements [kv.Store]. All items are sent again.
func (s *Store) BatchPut(ctx context.Context, items []kv.Item) error {
	return s.retry(ctx, func(bool) error { return s.inner.BatchPut(ctx, items) })
}

// Query implements [kv.Store]. It goes on behind the last item it has yielded.
func (s *Store) Query(ctx context.Context, partition, from, to string, opts ...kv.ReadOption) iter.Seq2[kv.Item, error] {
	read := kv.Resolve(opts)
	return func(yield func(kv.Item, error) bool) {
		rest := rest{from: from, to: to, left: read.Limit, reverse: read.Reverse}
		for tries := 1; ; tries++ {
			before := rest.yielded
			err, stopped := rest.pass(s.inner.Query(ctx, partition, rest.from, rest.to, append(opts[:len(opts):len(opts)], rest.limit)...), yield)
			if err == nil || stopped {
				return
			}
			if rest.yielded > before {
				tries = 1 // it got on
			}
			if err := s.again(ctx, tries, err); err != nil {
				yield(kv.Item{}, err)
				return
			}
		}
	}
}

// retry calls until it gets an outcome; unknown tells it that an earlier try
// may have been carried out.
func (s *Store) retry(ctx context.Context, call func(unknown bool) error) error {
	unknown := false
	for tries := 1; ; tries++ {
		err := call(unknown)
		if err == nil {
			return nil
		}
		unknown = unknown || errors.Is(err, kv.ErrUnknown)
		if err := s.again(ctx, tries, err); err != nil {
			if unknown && !errors.Is(err, kv.ErrUnknown) && !settled(err) {
				err = fmt.Errorf("%w: %w", kv.ErrUnknown, err)
			}
			return err
		}
	}
}

// settled reports whether an error of a later try tells what became of the
// write: a conflict means that another writer's stands.
func settled(err error) bool { return errors.Is(err, kv.ErrConflict) }

// again waits before another try, or returns the error to end with.
func (s *Store) again(ctx context.Context, tries int, err error) error {
	if !errors.Is(err, kv.ErrThrottled) && !errors.Is(err, kv.ErrUnknown) {
		return err
	}
	if tries >= s.options.Tries {
		return fmt.Errorf("%d tries: %w", tries, err)
	}
	longest := min(s.options.First<<min(tries-1, 20), s.options.Last)
	if stop := s.options.Sleep(ctx, time.Duration(s.options.Random(int64(longest)+1))); stop != nil {
		return fmt.Errorf("%w: %w", err, stop)
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
