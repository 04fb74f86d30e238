package record

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"granary/formats"
	"granary/kv"
)

// Config is what a Store is made of.
type Config struct {
	KV  kv.Store
	Now func() time.Time // optional
	// Node is the id under which this process keeps its share of counters.
	Node string
	Log  *slog.Logger // optional; for background work
	// MarkerTTL is how long this node relies on a directory marker that it saw,
	// no longer than two rounds of the collector are apart. 0 is an hour.
	MarkerTTL time.Duration
	// Observer is told of what is written in the background. Optional.
	Observer Observer
	// AccessTTL is how long a last access is kept. 0 is 400 days.
	AccessTTL time.Duration
}

// Store keeps the records of all repositories. It is used concurrently.
type Store struct {
	kv       kv.Store
	traits   kv.Traits
	now      func() time.Time
	log      *slog.Logger
	counts   *counts
	markers  *knownDirs
	probes   *probes
	totals   *totals
	stamps   *stamps
	accesses *accesses
	commits  *commits
}

// New returns a Store. Its background work is done by [Store.Run].
func New(c Config) *Store {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.MarkerTTL == 0 {
		c.MarkerTTL = time.Hour
	}
	if c.AccessTTL == 0 {
		c.AccessTTL = 400 * 24 * time.Hour
	}
	if c.Observer == nil {
		c.Observer = unobserved{}
	}
	traits := kv.TraitsOf(c.KV)
	t := newTotals(c.Now, traits.Embedded)
	return &Store{
		kv: c.KV, traits: traits, now: c.Now, log: c.Log,
		counts:   newCounts(c.KV, c.Node, t, c.Observer),
		markers:  newKnownDirs(c.Now, c.MarkerTTL),
		probes:   newProbes(c.Now),
		totals:   t,
		stamps:   newStamps(c.KV, c.Now),
		accesses: newAccesses(c.KV, c.Now, c.AccessTTL, c.Observer),
		commits:  &commits{made: newRecent[kv.Key, int64](maxCommits)},
	}
}

// Mode says how a record is read.
type Mode uint8

const (
	// Latest is one consistent read.
	Latest Mode = iota
	// Hit takes a record as it comes, maybe a little old, and confirms only
	// that there is none: for names whose bytes never change.
	Hit
)

// Get returns a record and its version, or formats.ErrNotFound, also for one
// that was deleted. The version is "" for what a record that waits for its
// commit has replaced.
func (s *Store) Get(ctx context.Context, sp kv.Space, scope, name string, mode Mode) (Record, kv.Version, error) {
	key := sp.Record(scope, name)
	if mode == Hit && !s.traits.AlwaysConsistent {
		st, err := s.load(ctx, key)
		if err != nil || st.live() != nil && st.rec.Commit == "" {
			return st.rec, st.version, err
		}
	}
	st, err := s.load(ctx, key, kv.Consistent)
	if err == nil {
		err = s.settle(ctx, sp, scope, name, &st)
	}
	if err != nil {
		return Record{}, "", err
	}
	rec := st.live()
	switch {
	case rec == nil:
		return Record{}, "", fmt.Errorf("record %s: %w", formats.Join(scope, name), formats.ErrNotFound)
	case st.waits:
		return *rec, "", nil
	}
	return *rec, st.version, nil
}

// state is what a record's key holds; the zero state is nothing.
type state struct {
	rec     Record
	raw     []byte
	version kv.Version // "": absent
	// waits: rec is not seen before its commit; replaced, nil for nothing, is.
	waits    bool
	replaced *Record
}

// live is nil if there is nothing, or a tombstone.
func (st *state) live() *Record {
	if st.waits {
		return st.replaced
	}
	if st.version == "" || st.rec.Deleted {
		return nil
	}
	return &st.rec
}

func stateOf(item kv.Item, err error) (state, error) {
	if errors.Is(err, kv.ErrNotFound) {
		return state{}, nil
	}
	if err != nil {
		return state{}, err
	}
	rec, err := Decode(item)
	return state{rec: rec, raw: item.Value, version: item.Version}, err
}

// settle finds out what is seen of a record that names a commit.
func (s *Store) settle(ctx context.Context, sp kv.Space, scope, name string, st *state) error {
	if st.version == "" || st.rec.Commit == "" {
		return nil
	}
	ok, err := s.holds(ctx, sp, st.rec, present)
	if err != nil || ok {
		return err
	}
	st.waits = true
	st.replaced, err = s.before(ctx, sp, scope, name, st.rec.Since-1, present)
	return err
}

func (s *Store) load(ctx context.Context, key kv.Key, opts ...kv.ReadOption) (state, error) {
	st, err := stateOf(s.kv.Get(ctx, key, opts...))
	if err != nil {
		return state{}, fmt.Errorf("read record %v: %w", key, err)
	}
	return st, nil
}

// pause lets others finish before a compare-and-swap is tried again: not at
// first, then ever longer.
func pause(ctx context.Context, try int) error {
	if try < 2 {
		return ctx.Err()
	}
	most := time.Millisecond << min(try, 7)
	t := time.NewTimer(rand.N(most)) //nolint:gosec // jitter
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
