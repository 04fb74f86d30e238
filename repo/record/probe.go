package record

import (
	"context"
	"fmt"
	"sync"
	"time"

	"granary/kv"
)

// markerLag is how much older than now a listing may be that was not read
// consistently, generously.
const markerLag = 10 * time.Second

// probes remembers which directories were looked into because their counter
// says that they are empty. An answer holds for that state of the counter, and
// not long, since counters are estimates.
type probes struct {
	now func() time.Time

	mu   sync.Mutex
	seen *recent[place, probe] // guarded by mu
}

type probe struct {
	version kv.Version
	count   int64
	until   time.Time
	shows   bool
}

const (
	maxProbes  = 1 << 12
	probeTrust = time.Minute
)

func newProbes(now func() time.Time) *probes {
	return &probes{now: now, seen: newRecent[place, probe](maxProbes)}
}

// shows tells whether any record can be seen at or below a directory, whose
// line in its parent is given.
func (s *Store) shows(ctx context.Context, sp kv.Space, dir string, line Line, read []kv.ReadOption) (bool, error) {
	at := place{sp.Repo, dir}
	now := s.probes.now()
	s.probes.mu.Lock()
	p, ok := s.probes.seen.get(at)
	s.probes.mu.Unlock()
	if ok && p.version == line.Version && p.count == line.Count && now.Before(p.until) {
		return p.shows, nil
	}
	found, err := s.look(ctx, sp, dir, read)
	if err != nil {
		return false, fmt.Errorf("look into directory %q: %w", dir, err)
	}
	s.probes.mu.Lock()
	defer s.probes.mu.Unlock()
	s.probes.seen.set(at, probe{line.Version, line.Count, now.Add(probeTrust), found})
	return found, nil
}

// look begins with the directory itself, then what is below it.
func (s *Store) look(ctx context.Context, sp kv.Space, dir string, read []kv.ReadOption) (bool, error) {
	own := sp.Shard(dir)
	from, to := kv.NamesRange(dir, "")
	spans := []span{{0, sp.Records(own), from, to}}
	spans = append(spans, walkSpans(sp, dir, options{})...)
	for _, p := range spans {
		found, err := s.lookIn(ctx, sp, p, read)
		if found || err != nil {
			return found, err
		}
	}
	return false, nil
}

func (s *Store) lookIn(ctx context.Context, sp kv.Space, p span, read []kv.ReadOption) (bool, error) {
	const first = 16 // most directories that are not empty show it at once
	for n := first; ; n = min(4*n, pageItems) {
		opts := append([]kv.ReadOption{kv.Limit(n)}, read...)
		seen := 0
		for item, err := range s.kv.Query(ctx, p.partition, p.from, p.to, opts...) {
			if err != nil {
				return false, err
			}
			seen++
			p.from = after(item.Sort)
			scope, name, marker := kv.SplitRecord(item.Sort)
			if marker {
				continue
			}
			rec, err := Decode(item)
			if err != nil {
				return false, err
			}
			now, err := s.visible(ctx, sp, Named{Scope: scope, Name: name, Version: item.Version, Record: rec})
			if err != nil {
				return false, err
			}
			if now != nil && !now.Hidden(name) {
				return true, nil
			}
		}
		if seen < n {
			return false, nil
		}
	}
}
