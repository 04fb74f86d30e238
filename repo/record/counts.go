package record

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"granary/kv"
)

// counter is the value of a directory marker, where it counts all that is
// below, and of a node's share of a repository.
type counter struct {
	kv.Extra `cbor:"-"`

	Count    int64 `cbor:"1,keyasint,omitempty"` // records that are not hidden
	Bytes    int64 `cbor:"2,keyasint,omitempty"`
	Modified int64 `cbor:"3,keyasint,omitempty"` // Unix ns of the last change
	// Removed counts records that were deleted or replaced, in shares only.
	Removed int64 `cbor:"4,keyasint,omitempty"`
	// Empty is when the collector found the directory empty, nil once anybody
	// has written the marker since.
	Empty *emptiness `cbor:"5,keyasint,omitempty"`
}

type emptiness struct {
	kv.Extra `cbor:"-"`

	Round uint64 `cbor:"1,keyasint"`
	At    int64  `cbor:"2,keyasint"` // Unix ns
}

type delta struct{ count, bytes, modified, removed int64 }

func (d delta) plus(o delta) delta {
	return delta{d.count + o.count, d.bytes + o.bytes, max(d.modified, o.modified), d.removed + o.removed}
}

func (c counter) plus(d delta) counter {
	c.Count += d.count
	c.Bytes += d.bytes
	c.Modified = max(c.Modified, d.modified)
	c.Removed += d.removed
	c.Empty = nil
	return c
}

// slot names a counter: that of child in dir, or a node's share of a
// repository, for which dir is shares.
type slot struct{ repo, dir, child string }

// shares is no directory's name.
const shares = "\x00"

// Bounds of what waits to be written, and of what is remembered as written.
const (
	maxTallies    = 1 << 14
	maxRemembered = 1 << 13
	flushWorkers  = 8
)

// counts gathers changes of counters and adds them to the stored ones by
// compare-and-swap, about once a second.
type counts struct {
	kv      kv.Store
	told    Observer
	node    string
	totals  *totals
	full    chan struct{} // told when half of maxTallies wait
	dropped atomic.Int64

	mu      sync.Mutex
	tallies map[slot]*tally               // guarded by mu
	written *recent[kv.Key, writtenCount] // as this node last saw them; guarded by mu
	moments uint64                        // counts additions to written; guarded by mu
}

// tally is what is still to be added to one counter.
type tally struct {
	key     kv.Key
	pending delta
	flights []*flight
}

// flight is a change that is being written, or whose outcome is unknown.
type flight struct {
	d       delta
	version kv.Version // of the last attempt
	lost    bool       // the outcome is unknown
}

type writtenCount struct {
	value   counter
	version kv.Version
	moment  uint64 // when it was seen
}

func newCounts(store kv.Store, node string, t *totals, told Observer) *counts {
	return &counts{
		kv: store, told: told, node: node, totals: t, full: make(chan struct{}, 1),
		tallies: map[slot]*tally{}, written: newRecent[kv.Key, writtenCount](maxRemembered),
	}
}

// levels calls f for each directory on the way from dir up to the root, with
// its parent.
func levels(dir string, f func(parent, child string)) {
	for dir != "" {
		i := strings.LastIndexByte(dir, '/')
		f(dir[:max(i, 0)], dir[i+1:])
		dir = dir[:max(i, 0)]
	}
}

// add counts a change in a scope: for the directory, those above, and the
// repository.
func (c *counts) add(sp kv.Space, scope string, d delta) {
	c.mu.Lock()
	defer c.mu.Unlock()
	below := d
	below.removed = 0
	levels(scope, func(parent, child string) {
		c.gather(slot{sp.Repo, parent, child}, func() kv.Key { return sp.Marker(parent, child) }, below)
	})
	if c.node != "" && (d.count != 0 || d.bytes != 0 || d.removed != 0) {
		c.gather(slot{sp.Repo, shares, c.node}, func() kv.Key { return kv.Counter(sp.Repo, c.node) }, d)
	}
}

func (c *counts) gather(at slot, key func() kv.Key, d delta) {
	t := c.tallies[at]
	if t == nil {
		if len(c.tallies) >= maxTallies {
			c.dropped.Add(1)
			return
		}
		t = &tally{key: key()}
		c.tallies[at] = t
		if len(c.tallies) == maxTallies/2 {
			select {
			case c.full <- struct{}{}:
			default:
			}
		}
	}
	t.pending = t.pending.plus(d)
}

// take begins a flight with all that waits for a counter, nil if nothing does.
func (c *counts) take(at slot) (kv.Key, *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tallies[at]
	if t == nil || t.pending == (delta{}) {
		return kv.Key{}, nil
	}
	f := &flight{d: t.pending}
	t.pending = delta{}
	t.flights = append(t.flights, f)
	return t.key, f
}

// land ends a flight; back: what it carried waits again.
func (c *counts) land(at slot, f *flight, back bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unload(at, f, back)
}

// unload is land; the caller holds mu. What another flush has ended already
// stays as that left it.
func (c *counts) unload(at slot, f *flight, back bool) {
	t := c.tallies[at]
	if t == nil {
		return
	}
	i := slices.Index(t.flights, f)
	if i < 0 {
		return
	}
	t.flights = slices.Delete(t.flights, i, i+1)
	if back {
		t.pending = t.pending.plus(f.d)
	}
	if t.pending == (delta{}) && len(t.flights) == 0 {
		delete(c.tallies, at)
	}
}

// moment is now, as current is told it.
func (c *counts) moment() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.moments
}

// current is a counter as it was read, with what this process is about to add
// to it. began is the moment before it was read: what has landed since may or
// may not be in what was read, so that what landed counts.
func (c *counts) current(at slot, key kv.Key, value counter, version kv.Version, began uint64) counter {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w, ok := c.written.get(key); ok && w.moment > began {
		value, version = w.value, w.version
	}
	t := c.tallies[at]
	if t == nil {
		return value
	}
	value = value.plus(t.pending)
	for _, f := range t.flights {
		if f.version == "" || f.version != version {
			value = value.plus(f.d)
		}
	}
	return value
}

// flush writes all that waits. It stops at the first error; what was not
// written waits on.
func (c *counts) flush(ctx context.Context) error {
	var failed atomic.Bool
	var g errgroup.Group
	g.SetLimit(flushWorkers)
	waiting := c.waiting()
	for _, at := range waiting {
		g.Go(func() error {
			if failed.Load() {
				return nil
			}
			err := c.flushOne(ctx, at)
			if err != nil {
				failed.Store(true)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fmt.Errorf("write counters: %w", err)
	}
	if len(waiting) > 0 {
		c.told.CountsWritten(len(waiting))
	}
	return nil
}

func (c *counts) waiting() []slot {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make([]slot, 0, len(c.tallies))
	for at := range c.tallies {
		out = append(out, at)
	}
	return out
}

func (c *counts) flushOne(ctx context.Context, at slot) error {
	key, lost := c.lost(at)
	for _, f := range lost {
		if err := c.settle(ctx, at, key, f); err != nil {
			return err
		}
	}
	key, f := c.take(at)
	if f == nil {
		return nil
	}
	return c.write(ctx, at, key, f)
}

// lost returns the flights whose outcome is unknown.
func (c *counts) lost(at slot) (key kv.Key, out []*flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.tallies[at]
	if t == nil {
		return kv.Key{}, nil
	}
	for _, f := range t.flights {
		if f.lost {
			out = append(out, f)
		}
	}
	return t.key, out
}

// settle finds out what became of a flight. Where others have written since,
// it is taken as lost: an estimate, until the collector counts anew.
func (c *counts) settle(ctx context.Context, at slot, key kv.Key, f *flight) error {
	w, err := c.read(ctx, key)
	if err != nil {
		return err
	}
	c.land(at, f, w.version != f.version)
	return nil
}

// remember takes down what a key holds; an item without version is none.
func (c *counts) remember(key kv.Key, item kv.Item) error {
	var w writtenCount
	if item.Version != "" {
		if err := kv.Unmarshal(item.Value, &w.value); err != nil {
			return fmt.Errorf("counter %v: %w", key, err)
		}
	}
	w.version = item.Version
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.version == "" {
		c.written.drop(key)
	} else {
		c.moments++
		w.moment = c.moments
		c.written.set(key, w)
	}
	return nil
}

func (c *counts) seen(key kv.Key) writtenCount {
	c.mu.Lock()
	defer c.mu.Unlock()
	w, _ := c.written.get(key)
	return w
}

// write adds what a flight carries to the stored counter. One that is missing
// is made, but for the marker of a directory from which something was taken.
func (c *counts) write(ctx context.Context, at slot, key kv.Key, f *flight) error {
	makes := at.dir == shares || f.d.count > 0
	for try := 0; ; try++ {
		w := c.seen(key)
		if w.version == "" && !makes {
			var err error
			if w, err = c.read(ctx, key); err != nil || w.version == "" {
				c.land(at, f, err != nil)
				return err
			}
		}
		done, err := c.attempt(ctx, at, key, f, w)
		if done || err != nil {
			return err
		}
		if err := pause(ctx, try); err != nil {
			c.land(at, f, true)
			return err
		}
	}
}

// read returns what is stored; without version if there is none.
func (c *counts) read(ctx context.Context, key kv.Key) (writtenCount, error) {
	item, err := c.kv.Get(ctx, key, kv.Consistent)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return writtenCount{}, fmt.Errorf("read %v: %w", key, err)
	}
	if err := c.remember(key, item); err != nil {
		return writtenCount{}, err
	}
	return c.seen(key), nil
}

// attempt is one compare-and-swap on top of w. If it conflicts, what is there
// instead is remembered.
func (c *counts) attempt(ctx context.Context, at slot, key kv.Key, f *flight, w writtenCount) (done bool, err error) {
	next := writtenCount{value: w.value.plus(f.d), version: kv.NewVersion()}
	value, err := kv.Marshal(next.value)
	if err != nil {
		c.land(at, f, true)
		return false, err
	}
	c.mu.Lock()
	f.version = next.version
	c.mu.Unlock()
	err = c.kv.PutIf(ctx, kv.Item{Key: key, Value: value, Version: next.version}, w.version)
	switch {
	case err == nil:
		c.landed(at, key, f, next)
		if w.version == "" && at.dir != shares {
			c.totals.dirAppeared(at.repo, at.dir)
		}
		return true, nil
	case errors.Is(err, kv.ErrConflict):
		item, err := kv.Current(ctx, c.kv, key, err)
		if errors.Is(err, kv.ErrNotFound) {
			item, err = kv.Item{}, nil
		}
		if err == nil {
			err = c.remember(key, item)
		}
		if err != nil {
			c.land(at, f, true)
		}
		return false, err
	case refusal(settled(err)):
		c.land(at, f, true)
	default:
		c.mu.Lock()
		f.lost = true
		c.mu.Unlock()
	}
	return false, fmt.Errorf("write %v: %w", key, err)
}

// landed takes the flight away and remembers what it wrote, in one step.
func (c *counts) landed(at slot, key kv.Key, f *flight, w writtenCount) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moments++
	w.moment = c.moments
	c.written.set(key, w)
	c.unload(at, f, false)
}
