// Package rebuild puts right what listings and counters are made from: the task
// rebuild_dir_entries. It makes directory markers that are missing and sets the
// counters of repositories to what their records come to. Markers of directories
// that are empty are the collector's.
//
// Writes go on meanwhile: a marker is made where there is none, and a counter is
// only set if nothing was counted since before its records were read.
package rebuild

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"granary/cluster/task"
	"granary/kv"
	"granary/repo/config"
	"granary/repo/record"
)

// Name is the kind of task.
const Name = "rebuild_dir_entries"

// Registry is what a rebuild asks of the configuration; [config.Registry] is one.
type Registry interface {
	Living(ctx context.Context) ([]*config.Repository, error)
	Stored(ctx context.Context, id string) (*config.Repository, error)
}

// Kind is the task rebuild_dir_entries. It is used concurrently.
type Kind struct {
	Registry Registry
	Records  *record.Store
	Now      func() time.Time
}

var _ task.Kind = (*Kind)(nil)

// Name is the kind's.
func (k *Kind) Name() string { return Name }

// Plan makes each repository that has records a shard.
func (k *Kind) Plan(ctx context.Context, _ *task.Task) (shards []string, err error) {
	repos, err := k.Registry.Living(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the repositories: %w", err)
	}
	for _, r := range repos {
		if r.Type == config.Hosted || r.Type == config.Cache {
			shards = append(shards, r.ID)
		}
	}
	return shards, nil
}

// state is how far a shard is, and what it has come to.
type state struct {
	Shard   int           `json:"shard"`
	Sort    string        `json:"sort"`
	Before  record.Shares `json:"before"` // read before the first record
	Count   int64         `json:"count"`
	Bytes   int64         `json:"bytes"`
	Entries int64         `json:"entries"`
	Counter bool          `json:"counter"` // was set
}

// How much is done between two saves, and remembered.
const (
	saveItems = 1000
	maxKnown  = 10_000
)

// Run does a repository.
func (k *Kind) Run(ctx context.Context, w *task.Work) (err error) {
	r, err := k.Registry.Stored(ctx, w.Shard)
	if errors.Is(err, config.ErrNotFound) {
		return nil // deleted since
	}
	if err != nil {
		return err
	}
	var at state
	if w.Cursor != nil {
		err = json.Unmarshal(w.Cursor, &at)
	} else {
		at.Before, err = k.Records.Shares(ctx, r.ID)
	}
	if err != nil {
		return fmt.Errorf("begin with %s: %w", r.Name, err)
	}
	save := func() error {
		cursor, err := json.Marshal(at)
		if err != nil {
			return err
		}
		w.Result = cursor
		return w.Save(ctx, cursor, task.Progress{TotalRepos: 1, CheckedArtifacts: at.Count, TotalArtifacts: at.Count})
	}
	if err := save(); err != nil {
		return err
	}
	if err := k.walk(ctx, r, &at, save); err != nil {
		return err
	}
	if at.Counter, err = k.Records.Repair(ctx, r.ID, at.Count, at.Bytes, at.Before); err != nil {
		return err
	}
	if w.Result, err = json.Marshal(at); err != nil {
		return err
	}
	w.Progress.CompletedRepos = 1
	return nil
}

// walk goes through the records of a repository from a place on.
func (k *Kind) walk(ctx context.Context, r *config.Repository, at *state, save func() error) error {
	sp := kv.Space{Repo: r.ID, Shards: r.Shards}
	known := map[string]bool{}
	for ; at.Shard < max(r.Shards, 1); at.Shard, at.Sort = at.Shard+1, "" {
		n := 0
		for rec, err := range k.Records.Shard(ctx, sp, at.Shard, at.Sort, record.Consistent) {
			if err != nil {
				return fmt.Errorf("read the records of %s: %w", r.Name, err)
			}
			if !rec.Record.Hidden(rec.Name) {
				at.Count++
				at.Bytes += rec.Record.Size
				if len(known) > maxKnown {
					clear(known)
				}
				made, err := k.Records.Remark(ctx, sp, rec.Scope, known)
				at.Entries += int64(made)
				if err != nil {
					return err
				}
			}
			if n++; n%saveItems == 0 {
				at.Sort = rec.Sort()
				if err := save(); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// Result is what clients see of it.
type Result struct {
	Repos   int64 `json:"repos"`
	Entries int64 `json:"entries_updated"` // directories that were not listed
	Stores  int64 `json:"stores_updated"`  // repositories whose counters were wrong
	Elapsed int64 `json:"elapsed_ns"`
}

// Finish adds the shards up.
func (k *Kind) Finish(_ context.Context, t *task.Task, shards []task.ShardState) (any, string, error) {
	var r Result
	for _, s := range shards {
		if s.Result == nil {
			continue
		}
		var at state
		if err := json.Unmarshal(s.Result, &at); err != nil {
			return nil, "", fmt.Errorf("read what was done in %s: %w", s.Shard, err)
		}
		r.Repos++
		r.Entries += at.Entries
		if at.Counter {
			r.Stores++
		}
	}
	r.Elapsed = k.Now().Sub(t.Started).Nanoseconds()
	return r, fmt.Sprintf("%d repositories: %d directories listed again, %d counters put right", r.Repos, r.Entries, r.Stores), nil
}
