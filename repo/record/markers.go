package record

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"granary/kv"
)

// place is a directory of a repository.
type place struct{ repo, dir string }

// knownDirs remembers which directories had a marker lately.
//
// The collector removes a marker only if it was empty and of the same version
// in two rounds. A directory is known for at most the time between two rounds,
// and only from a marker that counted something or that we have just written,
// so that whoever relies on it has either written its record before the second
// round, or seen a marker that has another version by then.
type knownDirs struct {
	now func() time.Time
	ttl time.Duration

	mu   sync.Mutex
	seen *recent[place, time.Time] // until when; guarded by mu
}

const maxKnownDirs = 1 << 15

func newKnownDirs(now func() time.Time, ttl time.Duration) *knownDirs {
	return &knownDirs{now: now, ttl: ttl, seen: newRecent[place, time.Time](maxKnownDirs)}
}

func (k *knownDirs) has(p place, now time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	until, ok := k.seen.get(p)
	return ok && now.Before(until)
}

// learn is told the time before the marker was looked at or written.
func (k *knownDirs) learn(p place, at time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if until, ok := k.seen.get(p); !ok || until.Before(at.Add(k.ttl)) {
		k.seen.set(p, at.Add(k.ttl))
	}
}

const markerWorkers = 8

// EnsureMarkers sees to it that a directory is listed in its parent, and that
// one in its own, up to the root. It is called after a record was written there,
// or was found to be there, unless the record is hidden ([Record.Hidden]). A
// directory that this node knows costs nothing, another one write per level.
func (s *Store) EnsureMarkers(ctx context.Context, sp kv.Space, dir string) error {
	var missing []slot
	now := s.now()
	for at := dir; at != ""; {
		known := s.markers.has(place{sp.Repo, at}, now)
		up := parent(at)
		if !known {
			missing = append(missing, slot{sp.Repo, up, base(at)})
		}
		at = up
	}
	switch len(missing) {
	case 0:
		return nil
	case 1:
		return s.ensure(ctx, sp, missing[0])
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(markerWorkers)
	for _, at := range missing {
		g.Go(func() error { return s.ensure(ctx, sp, at) })
	}
	return g.Wait()
}

func (s *Store) ensure(ctx context.Context, sp kv.Space, at slot) error {
	now := s.now()
	if err := s.counts.ensure(ctx, at, sp.Marker(at.dir, at.child)); err != nil {
		return fmt.Errorf("mark directory %s: %w", join(at.dir, at.child), err)
	}
	s.markers.learn(place{sp.Repo, join(at.dir, at.child)}, now)
	return nil
}

// ensure makes a marker if there is none, and gives one that counts nothing a
// new version. What waits to be counted goes along, so that other nodes see a
// directory that is not empty at once.
func (c *counts) ensure(ctx context.Context, at slot, key kv.Key) error {
	_, f := c.take(at)
	if f == nil {
		f = &flight{}
	}
	done, err := c.attempt(ctx, at, key, f, writtenCount{})
	if done || err != nil {
		return err
	}
	if c.seen(key).value.Count > 0 {
		c.land(at, f, true)
		return nil
	}
	for try := 0; ; try++ {
		done, err := c.attempt(ctx, at, key, f, c.seen(key))
		if done || err != nil {
			return err
		}
		if err := pause(ctx, try); err != nil {
			c.land(at, f, true)
			return err
		}
	}
}

func parent(dir string) string { return dir[:max(len(dir)-len(base(dir))-1, 0)] }

func base(dir string) string {
	for i := len(dir) - 1; i >= 0; i-- {
		if dir[i] == '/' {
			return dir[i+1:]
		}
	}
	return dir
}

func join(dir, child string) string {
	if dir == "" {
		return child
	}
	return dir + "/" + child
}
