package repo

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/zeebo/blake3"

	"granary/formats"
	"granary/kv"
	"granary/repo/config"
	"granary/repo/record"
)

// moment is the time that a view is of; nil is now.
type moment struct {
	at time.Time
	// settled: no write can be under way any more that would belong to it, so
	// that what is made of it holds for ever.
	settled bool
	// snapshot is the one that was asked for, nil for a time.
	snapshot *Snapshot
}

// OpenAsOf is Open for a repository as it was: asOf is the name of a snapshot,
// or a time as in RFC 3339. Nothing can be written through the handle.
// formats.ErrNotFound: there is no such snapshot, or the history of that time
// is gone.
func (s *Service) OpenAsOf(ctx context.Context, name, asOf string, access Access) (*Handle, error) {
	c, err := s.configured(ctx, name)
	if err != nil {
		return nil, err
	}
	m, err := s.moment(ctx, c, asOf)
	if err != nil {
		return nil, err
	}
	return s.handle(c, access, m)
}

func (s *Service) moment(ctx context.Context, c *config.Repository, asOf string) (*moment, error) {
	now := s.Now()
	if t, err := time.Parse(time.RFC3339, asOf); err == nil {
		if t.After(now) {
			return nil, formats.BadRequest("%s is in the future", asOf)
		}
		return s.newMoment(t, nil), s.reaches(ctx, c, t, nil, 0)
	}
	if !snapshotName.MatchString(asOf) {
		return nil, noSnapshot(c.Name, asOf)
	}
	snap, _, err := s.snapshotTable().Get(ctx, kv.Snapshot(c.ID, asOf), kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) {
		return nil, noSnapshot(c.Name, asOf)
	}
	if err != nil {
		return nil, fmt.Errorf("read snapshot %s of %s: %w", asOf, c.Name, err)
	}
	if snap.At > now.UnixNano() {
		// It is being taken: what it holds is not decided yet.
		return nil, noSnapshot(c.Name, asOf)
	}
	return s.newMoment(snap.Time(), &snap), nil
}

func (s *Service) newMoment(at time.Time, snap *Snapshot) *moment {
	return &moment{at: at, settled: s.Now().Sub(at) > commitTime+clockSkew, snapshot: snap}
}

// reaches refuses a time whose history is gone in the repository or, for a
// group, in a member.
func (s *Service) reaches(ctx context.Context, c *config.Repository, t time.Time, seen map[string]bool, depth int) error {
	if seen == nil {
		seen = map[string]bool{}
	}
	if seen[c.ID] || depth > maxDepth {
		return nil
	}
	seen[c.ID] = true
	if c.Type != config.Proxy {
		least, err := s.Pruned(ctx, c)
		if err == nil && t.Before(least) {
			err = fmt.Errorf("the history of %s is kept since %s only: %w", c.Name, least.UTC().Format(time.RFC3339), formats.ErrNotFound)
		}
		return err
	}
	for _, id := range c.Members {
		if m, ok := s.Registry.RepositoryByID(id); ok {
			if err := s.reaches(ctx, m, t, seen, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// members are those that a group has at the moment.
func (m *moment) members(c *config.Repository) []string {
	if m != nil && m.snapshot != nil {
		if ids, ok := m.snapshot.members(c.ID); ok {
			return ids
		}
	}
	return c.Members
}

// keeps tells whether what is rendered of a view may be stored: not what lacks
// a member, nor what may yet change although its stamp says the same.
func keeps(v view) bool {
	switch v := v.(type) {
	case *group:
		return !v.partial.Load() && (v.moment == nil || v.moment.settled)
	case target:
		m := v.base().moment
		return m == nil || m.settled
	}
	return true
}

// past is a stamp that was made of records as of a settled time.
type past struct {
	repo, scope string
	at          int64
}

// pasts remembers them: they never change.
type pasts struct{ stamps *otter.Cache[past, string] }

func newPasts() pasts {
	return pasts{otter.Must(&otter.Options[past, string]{MaximumSize: 10_000})}
}

// pastStamp tells the states of a scope apart by the records that were seen,
// so that times between two changes share one publication. "" for an empty
// scope.
func (h *hosted) pastStamp(ctx context.Context, scope string) (string, error) {
	key := past{h.repo.ID, scope, h.moment.at.UnixNano()}
	if stamp, ok := h.service.pasts.stamps.GetIfPresent(key); ok {
		return stamp, nil
	}
	sum, n := blake3.New(), 0
	for r, err := range h.service.Records.Scope(ctx, h.repo.space, scope, record.At(h.moment.at)) {
		if err != nil {
			return "", fmt.Errorf("read the records of %s/%s: %w", h.repo.Name, scope, err)
		}
		n++
		var since [16]byte
		binary.BigEndian.PutUint64(since[:], uint64(r.Record.Since)) //nolint:gosec // bits
		binary.BigEndian.PutUint64(since[8:], r.Record.Nonce)
		fmt.Fprintf(sum, "%q", r.Name)
		sum.Write(since[:]) //nolint:errcheck // hash.Hash never returns an error
	}
	stamp := ""
	if n > 0 {
		stamp = hostedStamp + "past " + hex.EncodeToString(sum.Sum(nil)[:16])
	}
	if h.moment.settled {
		h.service.pasts.stamps.Set(key, stamp)
	}
	return stamp, nil
}
