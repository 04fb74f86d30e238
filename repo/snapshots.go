package repo

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"granary/formats"
	"granary/kv"
	"granary/repo/config"
)

// Snapshot is a named time of a repository, as stored. While it exists the
// history that its time needs is kept.
type Snapshot struct {
	kv.Extra `cbor:"-"`

	Name      string `cbor:"1,keyasint"`
	At        int64  `cbor:"2,keyasint"` // Unix ns: what was written by then is in it
	CreatedBy string `cbor:"3,keyasint,omitempty"`
	// Groups says which members the group, and each group in it, had.
	Groups []PinnedGroup `cbor:"4,keyasint,omitempty"`
}

// PinnedGroup is the membership of a group in a snapshot; both are ids.
type PinnedGroup struct {
	kv.Extra `cbor:"-"`

	Group   string   `cbor:"1,keyasint"`
	Members []string `cbor:"2,keyasint"`
}

// Time is that of the snapshot.
func (s *Snapshot) Time() time.Time { return time.Unix(0, s.At).UTC() }

// members returns the members that a group had.
func (s *Snapshot) members(group string) ([]string, bool) {
	for _, g := range s.Groups {
		if g.Group == group {
			return g.Members, true
		}
	}
	return nil, false
}

// pins tells whether the snapshot, which is one of the repository of, keeps the
// history of a repository.
func (s *Snapshot) pins(of, repositoryID string) bool {
	return of == repositoryID || slices.ContainsFunc(s.Groups, func(g PinnedGroup) bool { return slices.Contains(g.Members, repositoryID) })
}

const (
	// snapshotLead is how far ahead the time of a snapshot lies: further than
	// the clocks of nodes that write differ, so that it holds every write
	// acknowledged before the call.
	snapshotLead = time.Second
	// clockSkew is how far the clocks of nodes that write may differ
	// ([cluster.Skew]).
	clockSkew = 500 * time.Millisecond
	// maxSnapshots is how many a repository can have.
	maxSnapshots = 1000
	// implicit begins the names of snapshots that tasks take for themselves.
	implicit = "\x01"
)

// snapshotName is what snapshots may be called: as repositories are, so that no
// time can be meant, but nothing is reserved.
var snapshotName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

func (s *Service) snapshotTable() kv.Table[Snapshot] { return kv.Table[Snapshot]{Store: s.KV} }

// Snapshot takes a snapshot of a repository: one write, answered when its time
// has passed on every node, so that it holds every write acknowledged before
// the call and none begun after its answer. config.ErrExists: there is one of
// the name.
func (s *Service) Snapshot(ctx context.Context, repository, name, by string) (*Snapshot, error) {
	if !snapshotName.MatchString(name) {
		return nil, formats.BadRequest("name: must match %s", snapshotName)
	}
	c, err := s.configured(ctx, repository)
	if err != nil {
		return nil, err
	}
	all, err := s.snapshots(ctx, c.ID)
	if err != nil {
		return nil, err
	}
	if len(all) >= maxSnapshots {
		return nil, formats.BadRequest("repository %s has %d snapshots, more are not possible", repository, len(all))
	}
	return s.takeSnapshot(ctx, c, name, by)
}

func (s *Service) takeSnapshot(ctx context.Context, c *config.Repository, name, by string) (*Snapshot, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	snap := Snapshot{Name: name, At: s.Now().Add(snapshotLead).UnixNano(), CreatedBy: by, Groups: s.pinGroups(c, nil, 0)}
	_, err := s.snapshotTable().Create(ctx, kv.Snapshot(c.ID, name), snap)
	if errors.Is(err, kv.ErrConflict) {
		return nil, fmt.Errorf("snapshot %.64q of %s %w", name, c.Name, config.ErrExists)
	}
	if err != nil {
		return nil, fmt.Errorf("write snapshot %s of %s: %w", name, c.Name, err)
	}
	if err := s.stillReaches(ctx, c, &snap); err != nil {
		return nil, err
	}
	until := snap.Time()
	if !kv.TraitsOf(s.KV).Embedded {
		until = until.Add(clockSkew)
	}
	if err := s.Wait(ctx, until); err != nil {
		return nil, fmt.Errorf("wait until snapshot %s of %s is over: %w", name, c.Name, err)
	}
	return &snap, nil
}

// stillReaches makes sure that no history which a snapshot needs went before it
// was there to keep it: who takes it may have been stopped for long between the
// choice of its time and the write. Then it is removed, and to be taken again.
func (s *Service) stillReaches(ctx context.Context, c *config.Repository, snap *Snapshot) error {
	err := s.reaches(ctx, c, snap.Time(), nil, 0)
	if !errors.Is(err, formats.ErrNotFound) {
		return err
	}
	return errors.Join(fmt.Errorf("%w: snapshot %q of %s was written too late", ErrNotWritable, snap.Name, c.Name), s.dropSnapshot(ctx, c, snap.Name))
}

// pinGroups writes down what a group is made of.
func (s *Service) pinGroups(c *config.Repository, to []PinnedGroup, depth int) []PinnedGroup {
	if c.Type != config.Proxy || depth > maxDepth {
		return to
	}
	to = append(to, PinnedGroup{Group: c.ID, Members: slices.Clone(c.Members)})
	for _, id := range c.Members {
		if m, ok := s.Registry.RepositoryByID(id); ok {
			to = s.pinGroups(m, to, depth+1)
		}
	}
	return to
}

// waitUntil waits by the clock now, looking at it again after each rest.
func waitUntil(now func() time.Time) func(ctx context.Context, t time.Time) error {
	return func(ctx context.Context, t time.Time) error {
		for d := t.Sub(now()); d >= 0; d = t.Sub(now()) {
			timer := time.NewTimer(d + time.Millisecond)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return ctx.Err()
			}
		}
		return nil
	}
}

// Snapshots returns those of a repository in order of their names, without
// those that tasks took for themselves.
func (s *Service) Snapshots(ctx context.Context, repository string) ([]*Snapshot, error) {
	c, err := s.configured(ctx, repository)
	if err != nil {
		return nil, err
	}
	return s.snapshots(ctx, c.ID)
}

func (s *Service) snapshots(ctx context.Context, repositoryID string) ([]*Snapshot, error) {
	var out []*Snapshot
	from, to := kv.SnapshotRange(repositoryID)
	for row, err := range s.snapshotTable().Query(ctx, kv.SnapshotPartition, from, to, kv.Consistent) {
		if err != nil {
			return nil, fmt.Errorf("read the snapshots of repository %s: %w", repositoryID, err)
		}
		if !strings.HasPrefix(row.Value.Name, implicit) {
			out = append(out, &row.Value)
		}
	}
	return out, nil
}

// DeleteSnapshot lets go of the history that only this snapshot needed. Who
// reads it in this moment may still come to its end.
func (s *Service) DeleteSnapshot(ctx context.Context, repository, name string) error {
	c, err := s.configured(ctx, repository)
	if err != nil {
		return err
	}
	if strings.HasPrefix(name, implicit) {
		return noSnapshot(repository, name)
	}
	return s.dropSnapshot(ctx, c, name)
}

func (s *Service) dropSnapshot(ctx context.Context, c *config.Repository, name string) error {
	key := kv.Snapshot(c.ID, name)
	_, version, err := s.snapshotTable().Get(ctx, key, kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) {
		return noSnapshot(c.Name, name)
	}
	if err == nil {
		err = s.snapshotTable().Delete(ctx, key, version)
	}
	// A snapshot is written once: a conflict is somebody else's removal.
	if err != nil && !errors.Is(err, kv.ErrConflict) {
		return fmt.Errorf("delete snapshot %s of %s: %w", name, c.Name, err)
	}
	return nil
}

var errNoSnapshot = fmt.Errorf("no such snapshot: %w", formats.ErrNotFound)

func noSnapshot(repository, name string) error {
	return fmt.Errorf("%.64q of repository %s: %w", name, repository, errNoSnapshot)
}

// configured looks a repository up by its name.
func (s *Service) configured(ctx context.Context, name string) (*config.Repository, error) {
	c, err := s.Registry.Repository(ctx, name)
	if errors.Is(err, config.ErrNotFound) {
		return nil, fmt.Errorf("repository %s: %w", name, formats.ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("look up repository %s: %w", name, err)
	}
	return c, nil
}

// pruned is the stored value at [kv.Space.Pruned].
type pruned struct {
	kv.Extra `cbor:"-"`

	Until int64 `cbor:"1,keyasint"` // Unix ns
}

// Pruned returns the time before which the history of a repository is gone, but
// for what snapshots keep; the zero time if all is there.
func (s *Service) Pruned(ctx context.Context, c *config.Repository) (time.Time, error) {
	sp := kv.Space{Repo: c.ID, Shards: c.Shards}
	p, _, err := kv.Table[pruned]{Store: s.KV}.Get(ctx, sp.Pruned(), kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read since when history of %s is kept: %w", c.Name, err)
	}
	return time.Unix(0, p.Until), nil
}
