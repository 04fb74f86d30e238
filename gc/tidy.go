package gc

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"granary/kv"
	"granary/repo"
	"granary/repo/record"
)

// tidier removes publications that nobody asks for any more, and the stamps and
// dates of scopes that are empty, while a mark reads a shard's index.
type tidier struct {
	*marker
	span  span
	idle  bool // nothing is removed
	scope string
	pubs  []kept
	stamp kv.Item
	date  kv.Item
}

// kept is a publication.
type kept struct {
	key     kv.Key
	version kv.Version
	made    time.Time
}

// How long publications are kept: the last of a scope always, and
const (
	keepLast  = 3              // so many before it
	keepHours = 24 * time.Hour // and one an hour for so long
	// maxScope bounds what is held of one scope.
	maxScope = 100_000
)

func (m *marker) tidier(s span) *tidier {
	return &tidier{marker: m, span: s, idle: !m.first || m.round.Dry}
}

// indexed is told of each item, in order: those of a scope follow each other.
func (t *tidier) indexed(ctx context.Context, item kv.Item, x repo.Indexed) error {
	if t.idle {
		return nil
	}
	if x.Scope != t.scope {
		if err := t.end(ctx); err != nil {
			return err
		}
		t.scope, t.pubs, t.stamp, t.date = x.Scope, nil, kv.Item{}, kv.Item{}
	}
	switch {
	case x.Stamp:
		t.stamp = item
	case x.Dated:
		t.date = item
	case x.Publication != "" && len(t.pubs) < maxScope:
		t.pubs = append(t.pubs, kept{item.Key, item.Version, time.Unix(0, x.Made)})
	}
	return nil
}

// end is the end of a scope.
func (t *tidier) end(ctx context.Context) error {
	if t.idle || t.stamp.Version == "" && t.date.Version == "" && len(t.pubs) == 0 {
		return nil
	}
	if t.span.Hosted {
		// Only here do a scope's records lie beside its documents: those of caches and
		// groups are made from elsewhere.
		empty, err := t.empty(ctx)
		if err != nil {
			return err
		}
		if empty {
			return t.forget(ctx)
		}
	}
	for _, p := range superfluous(t.pubs, t.Now(), t.seenBefore()) {
		if err := t.remove(ctx, p.key, p.version, &t.tally.Publications); err != nil {
			return err
		}
	}
	return nil
}

// seenBefore is when the last round began: what was made before that has been
// there for a whole round.
func (t *tidier) seenBefore() time.Time {
	if t.round.Last == nil {
		return time.Time{}
	}
	return time.Unix(0, t.round.Last.Started)
}

// superfluous returns what can go of a scope's publications. One that no earlier
// round has met stays, whatever its clock says.
func superfluous(pubs []kept, now, seenBefore time.Time) []kept {
	slices.SortFunc(pubs, func(a, b kept) int { return b.made.Compare(a.made) })
	var out []kept
	hours := map[int64]bool{}
	for i, p := range pubs {
		hour := p.made.Unix() / 3600
		first := !hours[hour]
		hours[hour] = true
		if i <= keepLast || first && now.Sub(p.made) < keepHours || !p.made.Before(seenBefore) {
			continue
		}
		out = append(out, p)
	}
	return out
}

// empty tells whether a scope has no record.
func (t *tidier) empty(ctx context.Context) (bool, error) {
	for _, err := range t.Records.Scope(ctx, t.span.space(), t.scope, record.Consistent) {
		if err != nil {
			return false, fmt.Errorf("read the records of %s: %w", t.scope, err)
		}
		return false, nil
	}
	return true, nil
}

// forget removes stamp, date and publications of a scope that is empty. A record that
// is written meanwhile is stamped after that: then the stamp has another version,
// or is made anew.
func (t *tidier) forget(ctx context.Context) error {
	for _, item := range []kv.Item{t.stamp, t.date} {
		if item.Version == "" {
			continue
		}
		if err := t.remove(ctx, item.Key, item.Version, &t.tally.Stamps); err != nil {
			return err
		}
	}
	for _, p := range t.pubs {
		if !p.made.Before(t.seenBefore()) {
			continue
		}
		if err := t.remove(ctx, p.key, p.version, &t.tally.Publications); err != nil {
			return err
		}
	}
	return nil
}

func (t *tidier) remove(ctx context.Context, key kv.Key, version kv.Version, n *int64) error {
	err := t.kv.DeleteIf(ctx, key, version)
	if errors.Is(err, kv.ErrConflict) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("remove %v: %w", key, err)
	}
	*n++
	return nil
}
