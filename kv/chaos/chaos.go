// Package chaos wraps a [kv.Store] so that it behaves as badly as the contract
// allows: reads that did not ask for consistency return an earlier state,
// calls are throttled, replies get lost, writes land late or twice, and calls
// pause. What it does follows from a seed and the order of the calls.
//
// Stale reads know only the writes that went through the wrapper, so all nodes
// of a simulation share one.
//
// # Writes that land late
//
// A late write is conditional and finds its condition gone, with one
// exception: a PutIf(absent) whose item was created by its retry and deleted
// since creates it again. A real network can do that too. Late is therefore a
// fault to simulate on its own, against callers that bear it.
package chaos

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"granary/kv"
)

// Options are the odds of each fault, from 0 to 1 per call; the zero value
// does nothing.
type Options struct {
	Seed uint64

	Stale    float64       // reads without kv.Consistent that see an earlier state…
	Lag      time.Duration // …by at most this
	Throttle float64       // calls refused with ErrThrottled, nothing written
	Lost     float64       // writes that end in ErrUnknown, half of them carried out
	Late     float64       // conditional writes that end in ErrUnknown and land later…
	Delay    time.Duration // …by at most this, or are done now and once more then
	Pause    float64       // calls that wait before they are carried out…
	MaxPause time.Duration // …for at most this

	// Prompt says which conditional writes do not land late; nil: all may.
	Prompt func(key kv.Key, old kv.Version) bool

	// Now is the clock of Lag and Delay; nil: the system's.
	Now func() time.Time
	// Sleep waits, or returns the context's error; nil: on a timer.
	Sleep func(context.Context, time.Duration) error
}

// Store is a wrapper; make it with [New].
type Store struct {
	inner   kv.Store
	options Options

	// mu guards what follows.
	mu     sync.Mutex
	random *rand.Rand
	calm   bool
	late   []lateWrite
	past   past

	locks [64]sync.Mutex // by key: a write and its note of what it replaced
}

type lateWrite struct {
	due   time.Time
	key   kv.Key
	write func(context.Context) error
}

var (
	_ kv.Store      = (*Store)(nil)
	_ kv.Traiter    = (*Store)(nil)
	_ kv.LazyPutter = (*Store)(nil)
)

// New wraps a store.
func New(inner kv.Store, o Options) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Sleep == nil {
		o.Sleep = sleep
	}
	return &Store{
		inner:   inner,
		options: o,
		random:  rand.New(rand.NewPCG(o.Seed, 0x6772616e617279)), //nolint:gosec // repeatable on purpose
		past:    past{states: map[string]map[string][]state{}},
	}
}

// Calm ends all faults, such as for the checks at the end of a simulation;
// late writes still land when they are due. See also [Store.Land].
func (s *Store) Calm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calm = true
}

// Land carries out the late writes, due or not.
func (s *Store) Land(ctx context.Context) { s.land(ctx, true) }

// Traits are those of the wrapped store, except that reads may be stale.
func (s *Store) Traits() kv.Traits {
	t := kv.TraitsOf(s.inner)
	t.AlwaysConsistent = false
	return t
}

// Get implements [kv.Store].
func (s *Store) Get(ctx context.Context, key kv.Key, opts ...kv.ReadOption) (kv.Item, error) {
	if err := s.begin(ctx); err != nil {
		return kv.Item{}, err
	}
	at, stale := s.staleness(opts)
	if !stale || kv.CheckKey(key) != nil {
		return s.inner.Get(ctx, key, opts...)
	}
	// First the present: what is replaced in between is then in the past.
	item, err := s.inner.Get(ctx, key, opts...)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return item, err
	}
	if earlier, ok := s.earlier(key, at); ok {
		if earlier == nil {
			return kv.Item{}, kv.ErrNotFound
		}
		return *earlier, nil
	}
	return item, err
}

// Query implements [kv.Store]. A stale one sees the whole partition as it was
// at one earlier time.
func (s *Store) Query(ctx context.Context, partition, from, to string, opts ...kv.ReadOption) iter.Seq2[kv.Item, error] {
	return func(yield func(kv.Item, error) bool) {
		if err := s.begin(ctx); err != nil {
			yield(kv.Item{}, err)
			return
		}
		items := s.inner.Query(ctx, partition, from, to, opts...)
		if at, stale := s.staleness(opts); stale && kv.CheckQuery(partition, from, to) == nil {
			items = s.staleQuery(ctx, partition, from, to, opts, at)
		}
		for item, err := range items {
			if err == nil && s.roll(s.options.Throttle/100) {
				item, err = kv.Item{}, kv.ErrThrottled
			}
			if !yield(item, err) || err != nil {
				return
			}
		}
	}
}

// Put implements [kv.Store].
func (s *Store) Put(ctx context.Context, item kv.Item) error {
	if item.Version == "" {
		item.Version = kv.NewVersion() // the same in each attempt
	}
	return s.write(ctx, kv.Check(item), []kv.Key{item.Key}, false, func(ctx context.Context) error {
		return s.inner.Put(ctx, item)
	})
}

// PutIf implements [kv.Store].
func (s *Store) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	item.Value = append([]byte(nil), item.Value...) // a late write must not see later changes
	return s.write(ctx, kv.CheckWrite(item), []kv.Key{item.Key}, s.tardy(item.Key, old), func(ctx context.Context) error {
		return s.inner.PutIf(ctx, item, old)
	})
}

// PutIfLazy implements [kv.LazyPutter].
func (s *Store) PutIfLazy(ctx context.Context, item kv.Item, old kv.Version) error {
	item.Value = append([]byte(nil), item.Value...)
	return s.write(ctx, kv.CheckWrite(item), []kv.Key{item.Key}, s.tardy(item.Key, old), func(ctx context.Context) error {
		return kv.PutIfLazy(ctx, s.inner, item, old)
	})
}

// Delete implements [kv.Store].
func (s *Store) Delete(ctx context.Context, key kv.Key) error {
	return s.write(ctx, kv.CheckKey(key), []kv.Key{key}, false, func(ctx context.Context) error {
		return s.inner.Delete(ctx, key)
	})
}

// DeleteIf implements [kv.Store].
func (s *Store) DeleteIf(ctx context.Context, key kv.Key, old kv.Version) error {
	invalid := kv.CheckKey(key)
	if old == "" {
		invalid = kv.ErrInvalid
	}
	return s.write(ctx, invalid, []kv.Key{key}, s.tardy(key, old), func(ctx context.Context) error {
		return s.inner.DeleteIf(ctx, key, old)
	})
}

// BatchPut implements [kv.Store].
func (s *Store) BatchPut(ctx context.Context, items []kv.Item) error {
	keys := make([]kv.Key, len(items))
	var invalid error
	for i, item := range items {
		keys[i] = item.Key
		if err := kv.Check(item); err != nil {
			invalid = err
		}
	}
	return s.write(ctx, invalid, keys, false, func(ctx context.Context) error {
		return s.inner.BatchPut(ctx, items)
	})
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
