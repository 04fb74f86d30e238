package record

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/zeebo/blake3"

	"granary/kv"
)

// What the collector does to markers, stamps and counters. Each of these steps
// is conditional on the version that was looked at.

// markerMargin is how much longer than MarkerTTL a marker is seen empty before
// it goes: clocks of nodes differ a little.
const markerMargin = time.Minute

// EmptyMarker tells whether a marker counts nothing, so that it is worth a call
// of [Store.TidyMarker].
func EmptyMarker(item kv.Item) (bool, error) {
	var c counter
	if err := kv.Unmarshal(item.Value, &c); err != nil {
		return false, fmt.Errorf("counter %v: %w", item.Key, err)
	}
	return c.Count <= 0, nil
}

// TidyMarker is told of a marker that counts nothing. A first call that finds
// the directory empty notes the time in it; a later one, by more than MarkerTTL,
// that finds the same version and the directory still empty removes it. round
// tells calls of different rounds apart. Who relies on having seen the marker
// does so for no longer than MarkerTTL, and has by then written its record.
func (s *Store) TidyMarker(ctx context.Context, sp kv.Space, item kv.Item, round uint64) (removed bool, err error) {
	parent, child, _ := kv.SplitRecord(item.Sort)
	dir := join(parent, child)
	found, err := s.look(ctx, sp, dir, []kv.ReadOption{kv.Consistent})
	if err != nil {
		return false, fmt.Errorf("look into directory %q: %w", dir, err)
	}
	if found {
		return false, nil
	}
	var c counter
	if err := kv.Unmarshal(item.Value, &c); err != nil {
		return false, fmt.Errorf("counter %v: %w", item.Key, err)
	}
	now := s.now()
	if c.Empty != nil && c.Empty.Round != round {
		if now.Sub(time.Unix(0, c.Empty.At)) <= s.markers.ttl+markerMargin {
			return false, nil
		}
		return s.removeMarker(ctx, sp, dir, item)
	}
	if c.Empty != nil {
		return false, nil
	}
	c.Empty = &emptiness{Round: round, At: now.UnixNano()}
	value, err := kv.Marshal(c)
	if err != nil {
		return false, err
	}
	err = s.kv.PutIf(ctx, kv.Item{Key: item.Key, Value: value, Version: kv.NewVersion()}, item.Version)
	if err != nil && !errors.Is(err, kv.ErrConflict) {
		return false, fmt.Errorf("write %v: %w", item.Key, err)
	}
	return false, nil
}

func (s *Store) removeMarker(ctx context.Context, sp kv.Space, dir string, item kv.Item) (bool, error) {
	hold := s.totals.begin(sp.Repo, dir)
	err := s.kv.DeleteIf(ctx, item.Key, item.Version)
	hold.end("", 0, true)
	if errors.Is(err, kv.ErrConflict) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("remove directory %q: %w", dir, err)
	}
	return true, nil
}

// Shares is what nodes have counted in a repository, at one time.
type Shares struct {
	Count   int64  // records that are not hidden
	Bytes   int64  // of these
	Removed int64  // records that were deleted or replaced, ever
	State   uint64 // differs if any share has changed
}

// baseShare is the share that makes the sum right; no node has this id.
const baseShare = "base"

// Shares reads the counters of a repository consistently.
func (s *Store) Shares(ctx context.Context, repo string) (Shares, error) {
	sh, _, err := s.shares(ctx, repo)
	return sh, err
}

func (s *Store) shares(ctx context.Context, repo string) (sh Shares, base kv.Item, err error) {
	h := blake3.New()
	for item, err := range s.kv.Query(ctx, kv.CounterPartition(repo), "", "", kv.Consistent) {
		if err != nil {
			return Shares{}, base, fmt.Errorf("read the counters of repository %s: %w", repo, err)
		}
		var c counter
		if err := kv.Unmarshal(item.Value, &c); err != nil {
			return Shares{}, base, fmt.Errorf("counter %v: %w", item.Key, err)
		}
		sh.Count, sh.Bytes, sh.Removed = sh.Count+c.Count, sh.Bytes+c.Bytes, sh.Removed+c.Removed
		fmt.Fprintf(h, "%q %s ", item.Sort, item.Version)
		if item.Sort == baseShare {
			base = item
		}
	}
	sh.State = binary.BigEndian.Uint64(h.Sum(nil))
	return sh, base, nil
}

// Repair makes the sum of a repository's counters what all its records were
// counted to be, if nothing was counted since before. It reports whether it
// wrote.
func (s *Store) Repair(ctx context.Context, repo string, count, bytes int64, before Shares) (bool, error) {
	now, base, err := s.shares(ctx, repo)
	if err != nil || now.State != before.State || now.Count == count && now.Bytes == bytes {
		return false, err
	}
	var c counter
	if base.Version != "" {
		if err := kv.Unmarshal(base.Value, &c); err != nil {
			return false, fmt.Errorf("counter %v: %w", base.Key, err)
		}
	}
	c.Count, c.Bytes = c.Count+count-now.Count, c.Bytes+bytes-now.Bytes
	value, err := kv.Marshal(c)
	if err != nil {
		return false, err
	}
	item := kv.Item{Key: kv.Counter(repo, baseShare), Value: value, Version: kv.NewVersion()}
	if err := s.kv.PutIf(ctx, item, base.Version); err != nil && !errors.Is(err, kv.ErrConflict) {
		return false, fmt.Errorf("repair the counters of repository %s: %w", repo, err)
	} else if err != nil {
		return false, nil
	}
	return true, nil
}
