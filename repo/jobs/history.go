package jobs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"granary/cluster/task"
	"granary/repo/config"
)

// HistoryEvery is how often history is pruned.
const HistoryEvery = time.Hour

// HistoryResult is what it came to.
type HistoryResult struct {
	Type      string `json:"type"`
	Repos     int    `json:"repos"`
	Removed   int64  `json:"removed"` // states that nobody can ask for, and tombstones
	ElapsedNS int64  `json:"elapsed_ns"`
}

type history struct{ jobs }

func (history) Name() string { return HistoryKind }

// Plan lists the shards of all repositories with records of their own.
func (k history) Plan(ctx context.Context, _ *task.Task) ([]string, error) {
	if err := k.service.ForgetSnapshots(ctx); err != nil {
		return nil, err
	}
	var out []string
	for _, c := range k.registry.Repositories() {
		if c.Type == config.Proxy {
			continue
		}
		for _, s := range shards(c.Shards) {
			out = append(out, c.ID+"/"+s)
		}
	}
	return out, nil
}

func (k history) Run(ctx context.Context, w *task.Work) error {
	id, name, _ := strings.Cut(w.Shard, "/")
	shard, err := shardOf(name)
	if err != nil {
		return err
	}
	err = k.service.Prune(ctx, id, shard, string(w.Cursor), func(cursor string, removed int64) error {
		w.Progress.CheckedArtifacts += removed
		return w.Save(ctx, []byte(cursor), w.Progress)
	})
	if errors.Is(err, config.ErrNotFound) {
		return nil // deleted meanwhile
	}
	return err
}

func (k history) Finish(_ context.Context, t *task.Task, states []task.ShardState) (any, string, error) {
	res, repos := HistoryResult{Type: HistoryKind, ElapsedNS: k.elapsed(t)}, map[string]bool{}
	for _, s := range states {
		id, _, _ := strings.Cut(s.Shard, "/")
		repos[id] = true
		res.Removed += s.Progress.CheckedArtifacts
	}
	res.Repos = len(repos)
	return res, fmt.Sprintf("%d past states and tombstones of %d repositories removed", res.Removed, res.Repos), nil
}
