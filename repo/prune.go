package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"granary/kv"
	"granary/repo/config"
	"granary/repo/record"
)

const (
	// leastHistory is how long history is kept whatever the setting says.
	leastHistory = time.Hour
	// pruneSlack is how much longer it is really kept, so that who began to read
	// a time that is still promised comes to the end of it.
	pruneSlack = 10 * time.Minute
)

// historyFor is how long a repository promises its history.
func historyFor(c *config.Repository) time.Duration {
	if c.HistoryDays == nil {
		return leastHistory
	}
	return max(time.Duration(*c.HistoryDays)*24*time.Hour, leastHistory)
}

// Prune removes from one shard of a repository the history that neither its
// setting nor a snapshot keeps, its own or that of a group that it was a member
// of; both are read consistently first. It begins after cursor and calls save
// after each page, whose error ends it. config.ErrNotFound: the repository was
// deleted.
func (s *Service) Prune(ctx context.Context, repositoryID string, shard int, cursor string, save func(cursor string, removed int64) error) error {
	c, err := s.Registry.Stored(ctx, repositoryID)
	if err != nil {
		return fmt.Errorf("prune history: %w", err)
	}
	sp := kv.Space{Repo: c.ID, Shards: c.Shards}
	keep := record.Keep{From: s.Now().Add(-historyFor(c) - pruneSlack).UnixNano(), Document: s.documentSince(sp)}
	// Said before anything is removed: who reads a time looks at it.
	if err := s.raisePruned(ctx, sp, keep.From); err != nil {
		return fmt.Errorf("prune history of %s: %w", c.Name, err)
	}
	if keep.At, err = s.pinned(ctx, c.ID); err != nil {
		return fmt.Errorf("prune history of %s: %w", c.Name, err)
	}
	return s.Records.Prune(ctx, sp, shard, keep, cursor, save)
}

// pinned returns the times that snapshots keep in a repository, ascending.
func (s *Service) pinned(ctx context.Context, repositoryID string) ([]int64, error) {
	var at []int64
	for row, err := range s.snapshotTable().Query(ctx, kv.SnapshotPartition, "", "", kv.Consistent) {
		if err != nil {
			return nil, fmt.Errorf("read all snapshots: %w", err)
		}
		if of, _ := kv.SplitSnapshot(row.Sort); row.Value.pins(of, repositoryID) {
			at = append(at, row.Value.At)
		}
	}
	slices.Sort(at)
	return slices.Compact(at), nil
}

func (s *Service) raisePruned(ctx context.Context, sp kv.Space, until int64) error {
	_, err := kv.Table[pruned]{Store: s.KV}.Update(ctx, sp.Pruned(), func(old pruned, _ bool) (pruned, error) {
		if old.Until >= until {
			return old, kv.ErrUnchanged
		}
		old.Until = until
		return old, nil
	})
	if err != nil {
		return fmt.Errorf("say since when history is kept: %w", err)
	}
	return nil
}

// documentSince tells the pruner what follows the last of a document's history.
func (s *Service) documentSince(sp kv.Space) func(context.Context, string, string) (int64, bool, error) {
	return func(ctx context.Context, scope, path string) (int64, bool, error) {
		d, _, err := s.documentTable().Get(ctx, sp.Document(scope, path), kv.Consistent)
		if errors.Is(err, kv.ErrNotFound) {
			return 0, false, nil
		}
		if err != nil {
			return 0, false, fmt.Errorf("read document %s of scope %s: %w", path, scope, err)
		}
		return d.since(), true, nil
	}
}

// ForgetSnapshots removes the snapshots of repositories that are gone.
func (s *Service) ForgetSnapshots(ctx context.Context) error {
	for row, err := range s.snapshotTable().Query(ctx, kv.SnapshotPartition, "", "", kv.Consistent) {
		if err != nil {
			return fmt.Errorf("read all snapshots: %w", err)
		}
		of, _ := kv.SplitSnapshot(row.Sort)
		if _, err := s.Registry.Stored(ctx, of); err == nil || !errors.Is(err, config.ErrNotFound) {
			continue
		}
		if err := s.snapshotTable().Delete(ctx, row.Key, row.Version); err != nil && !errors.Is(err, kv.ErrConflict) {
			return fmt.Errorf("remove a snapshot of deleted repository %s: %w", of, err)
		}
	}
	return nil
}
