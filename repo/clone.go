package repo

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"granary/kv"
	"granary/repo/config"
	"granary/repo/record"
)

// Clone is a repository being made as a copy of another as it was at one time.
type Clone struct {
	Source string `json:"source"` // ids
	Target string `json:"target"`
}

// Copied is what was copied. It adds up.
type Copied struct {
	Artifacts int64 `json:"artifacts"` // files
	Entries   int64 `json:"entries"`   // tags, pointers and index entries, which have no bytes of their own
	Bytes     int64 `json:"bytes"`     // of files
	Lost      int64 `json:"lost"`      // files whose bytes are missing in the source too
}

// Add returns the sum.
func (c Copied) Add(o Copied) Copied {
	return Copied{c.Artifacts + o.Artifacts, c.Entries + o.Entries, c.Bytes + o.Bytes, c.Lost + o.Lost}
}

// Cloner is what of the configuration a clone changes; [config.Registry] is one.
type Cloner interface {
	CreateRepository(ctx context.Context, name string, fill func(*config.Repository) error) (*config.Repository, error)
	Publish(ctx context.Context, id string) (*config.Repository, error)
	Abandon(ctx context.Context, id string) error
}

// BeginClone claims the new name for a repository like the source, which is not
// found by it before [Service.EndClone]. config.ErrExists: the name is taken.
func (s *Service) BeginClone(ctx context.Context, registry Cloner, source, newName string) (Clone, error) {
	from, err := s.configured(ctx, source)
	if err != nil {
		return Clone{}, err
	}
	if bounded(from) {
		// The copy has the same quota, which may be less than what is there.
		count, size, err := s.Records.Usage(ctx, from.ID)
		switch {
		case err != nil:
			return Clone{}, fmt.Errorf("ask for the quota of %s: %w", newName, err)
		case from.QuotaArtifacts != nil && count > *from.QuotaArtifacts:
			return Clone{}, quotaError(newName, "artifacts", *from.QuotaArtifacts, count)
		case from.QuotaBytes != nil && size > *from.QuotaBytes:
			return Clone{}, quotaError(newName, "bytes", *from.QuotaBytes, size)
		}
	}
	to, err := registry.CreateRepository(ctx, newName, func(c *config.Repository) error {
		id, name, created := c.ID, c.Name, c.Created
		*c = *from
		c.ID, c.Name, c.Created, c.Pending = id, name, created, true
		c.Listen = "" // a port or host name is one repository's
		return nil
	})
	if err != nil {
		return Clone{}, err
	}
	return Clone{Source: from.ID, Target: to.ID}, nil
}

// snapshotName is that of the snapshot which holds the source's history.
func (c Clone) snapshotName() string { return implicit + "clone/" + c.Target }

// PlanClone takes the implicit snapshot, which decides what is copied, unless
// an earlier try has, and returns the number of shards.
func (s *Service) PlanClone(ctx context.Context, c Clone) (shards int, err error) {
	from, _, err := s.ends(ctx, c)
	if err != nil {
		return 0, err
	}
	_, err = s.takeSnapshot(ctx, from, c.snapshotName(), "")
	if errors.Is(err, config.ErrExists) {
		var snap Snapshot
		if snap, _, err = s.snapshotTable().Get(ctx, kv.Snapshot(from.ID, c.snapshotName()), kv.Consistent); err == nil {
			err = s.stillReaches(ctx, from, &snap)
		}
	}
	if err != nil {
		return 0, err
	}
	if from.Type == config.Proxy {
		return 0, nil
	}
	return from.Shards, nil
}

// ends are the two repositories, read consistently.
func (s *Service) ends(ctx context.Context, c Clone) (from, to *config.Repository, err error) {
	if from, err = s.Registry.Stored(ctx, c.Source); err != nil {
		return nil, nil, fmt.Errorf("source of the clone: %w", err)
	}
	if to, err = s.Registry.Stored(ctx, c.Target); err != nil {
		return nil, nil, fmt.Errorf("target of the clone: %w", err)
	}
	return from, to, nil
}

const (
	copyPage    = 512
	copyWorkers = 32
)

// CloneShard copies what one shard held when the clone was planned. It begins
// after cursor, "" being the start, and calls save after each page with the
// cursor of the next and what was copied since the last call; an error of save
// ends it. Copying something twice changes nothing.
func (s *Service) CloneShard(ctx context.Context, c Clone, shard int, cursor string, save func(cursor string, done Copied) error) error {
	from, to, err := s.ends(ctx, c)
	if err != nil {
		return err
	}
	snap, _, err := s.snapshotTable().Get(ctx, kv.Snapshot(from.ID, c.snapshotName()), kv.Consistent)
	if err != nil {
		return fmt.Errorf("snapshot of the clone of %s: %w", from.Name, err)
	}
	if s.Now().UnixNano() <= snap.At {
		// Planned by a node that did not live to see it pass.
		if err := s.Wait(ctx, snap.Time().Add(clockSkew)); err != nil {
			return err
		}
	}
	source := kv.Space{Repo: from.ID, Shards: from.Shards}
	page := make([]record.Named, 0, copyPage)
	flush := func() error {
		if err := s.writable(); err != nil {
			return err
		}
		done, err := s.copyPage(ctx, to, page)
		if err != nil {
			return fmt.Errorf("clone %s to %s: %w", from.Name, to.Name, err)
		}
		last := page[len(page)-1].Sort()
		page = page[:0]
		return save(last, done)
	}
	for n, err := range s.Records.Shard(ctx, source, shard, cursor, record.At(snap.Time())) {
		if err != nil {
			return fmt.Errorf("clone %s to %s: %w", from.Name, to.Name, err)
		}
		if page = append(page, n); len(page) == copyPage {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if len(page) == 0 {
		return nil
	}
	return flush()
}

func (s *Service) copyPage(ctx context.Context, to *config.Repository, page []record.Named) (Copied, error) {
	target, err := s.repository(to)
	if err != nil {
		return Copied{}, err
	}
	sp := target.space
	var artifacts, entries, bytes, lost atomic.Int64
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(copyWorkers)
	shown := map[string]bool{} // scopes with files
	for _, n := range page {
		hidden := n.Record.Hidden(n.Name)
		if !hidden {
			shown[n.Scope] = true
		}
		g.Go(func() error {
			c, err := s.carry(gctx, n.Record, to.Store)
			if err != nil {
				return fmt.Errorf("copy %s/%s: %w", n.Scope, n.Name, err)
			}
			c.rec.Commit = ""
			out, err := s.Records.Put(gctx, sp, n.Scope, n.Name, c.rec, keepFirst)
			if err != nil {
				return err
			}
			if out.Same {
				return nil // by an earlier try
			}
			if c.lost {
				lost.Add(1)
			}
			if hidden {
				entries.Add(1)
			} else {
				artifacts.Add(1)
				bytes.Add(c.rec.Size)
			}
			if err := c.confirm(gctx, s); err != nil {
				return s.undo(gctx, target, n.Scope, n.Name, out, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return Copied{}, err
	}
	for scope := range shown {
		if err := s.Records.EnsureMarkers(ctx, sp, scope); err != nil {
			return Copied{}, err
		}
	}
	return Copied{artifacts.Load(), entries.Load(), bytes.Load(), lost.Load()}, nil
}

// keepFirst writes where nothing is.
func keepFirst(old *record.Record) (record.Verdict, error) {
	if old != nil {
		return record.Same, nil
	}
	return record.Replace, nil
}

// EndClone makes the clone a repository, after all its shards were copied. A
// source that was deleted meanwhile may have lost records before they were
// copied: then it is an error. Stamps are left to the first readers.
func (s *Service) EndClone(ctx context.Context, registry Cloner, c Clone) error {
	from, _, err := s.ends(ctx, c)
	if err != nil {
		return err
	}
	if _, err := registry.Publish(ctx, c.Target); err != nil {
		return fmt.Errorf("publish the clone of %s: %w", from.Name, err)
	}
	return s.releaseClone(ctx, from, c)
}

// releaseClone lets go of the source's history.
func (s *Service) releaseClone(ctx context.Context, from *config.Repository, c Clone) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	err := s.dropSnapshot(ctx, from, c.snapshotName())
	if errors.Is(err, errNoSnapshot) {
		return nil
	}
	return err
}

// AbandonClone takes back a clone that will not be finished: the target is
// deleted and the source's history let go of. One that is finished stays.
func (s *Service) AbandonClone(ctx context.Context, registry Cloner, c Clone) error {
	from, err := s.Registry.Stored(ctx, c.Source)
	if err == nil {
		err = s.releaseClone(ctx, from, c)
	}
	if err != nil && !errors.Is(err, config.ErrNotFound) {
		return err
	}
	return registry.Abandon(ctx, c.Target)
}
