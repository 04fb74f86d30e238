// Package jobs is the work on repositories that nodes share as tasks: clones,
// bulk deletes, promotions, moves between stores, and the pruning of history.
// What each does is written in package repo; here it is cut into shards,
// counted, and put right when it was cancelled.
package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"granary/cluster/task"
	"granary/repo"
	"granary/repo/config"
)

// The kinds of tasks, as clients see them.
const (
	CloneKind   = "repo_clone"
	DeleteKind  = "bulk_delete"
	PromoteKind = "repo_promote"
	MoveKind    = "repo_move"
	HistoryKind = "prune_history"
)

// Registry is what of the configuration the jobs change; [config.Registry] is
// one.
type Registry interface {
	repo.Cloner
	Stored(ctx context.Context, id string) (*config.Repository, error)
	SetStore(ctx context.Context, id, storeID string) (*config.Repository, error)
	Repositories() []*config.Repository
}

// Kinds returns all of them.
func Kinds(s *repo.Service, r Registry) []task.Kind {
	j := jobs{s, r}
	return []task.Kind{clone{j}, remove{j}, promote{j}, move{j}, history{j}}
}

type jobs struct {
	service  *repo.Service
	registry Registry
}

func read[T any](params json.RawMessage) (T, error) {
	var p T
	if err := json.Unmarshal(params, &p); err != nil {
		return p, fmt.Errorf("parameters of a task: %w", err)
	}
	return p, nil
}

// shards names the shards of a repository.
func shards(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%04x", i)
	}
	return out
}

func shardOf(name string) (int, error) {
	n, err := strconv.ParseUint(name, 16, 16)
	if err != nil {
		return 0, fmt.Errorf("shard %q: %w", name, err)
	}
	return int(n), nil
}

// shardsOf names those of the repository with an id.
func (j jobs) shardsOf(ctx context.Context, id string) ([]string, error) {
	c, err := j.registry.Stored(ctx, id)
	if err != nil {
		return nil, err
	}
	return shards(c.Shards), nil
}

// part reads what w is to do: the parameters of its task, and its shard.
func part[T any](w *task.Work) (T, int, error) {
	p, err := read[T](w.Task.Params)
	if err != nil {
		return p, 0, err
	}
	shard, err := shardOf(w.Shard)
	return p, shard, err
}

// tally reads what a shard has done so far from its result, and puts more on it.
func tally[T interface{ Add(T) T }](w *task.Work, more T) (T, error) {
	var all T
	if len(w.Result) > 0 {
		if err := json.Unmarshal(w.Result, &all); err != nil {
			return all, fmt.Errorf("result of shard %s: %w", w.Shard, err)
		}
	}
	all = all.Add(more)
	b, err := json.Marshal(all)
	w.Result = b
	return all, err
}

// total adds up what the shards have done.
func total[T interface{ Add(T) T }](states []task.ShardState) (T, error) {
	var all T
	for _, s := range states {
		if len(s.Result) == 0 {
			continue
		}
		var one T
		if err := json.Unmarshal(s.Result, &one); err != nil {
			return all, fmt.Errorf("result of shard %s: %w", s.Shard, err)
		}
		all = all.Add(one)
	}
	return all, nil
}

// elapsed is how long a task has been going on, in nanoseconds.
func (j jobs) elapsed(t *task.Task) int64 { return j.service.Now().Sub(t.Started).Nanoseconds() }
