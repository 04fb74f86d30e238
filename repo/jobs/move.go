package jobs

import (
	"context"
	"encoding/json"
	"fmt"

	"granary/cluster/task"
)

// MoveParams are those of a repo_move.
type MoveParams struct {
	Repo    string `json:"repo"`  // name
	Store   string `json:"store"` // name
	RepoID  string `json:"repo_id"`
	StoreID string `json:"store_id"`
}

// MoveResult is what it came to.
type MoveResult struct {
	Type      string `json:"type"`
	Repo      string `json:"repo"`
	Store     string `json:"store"`
	Moved     int64  `json:"moved_records"` // of history too
	ElapsedNS int64  `json:"elapsed_ns"`
}

type move struct{ jobs }

var _ task.Slotter = move{}

func (move) Name() string { return MoveKind }

func (move) Slot(params json.RawMessage) (string, error) {
	p, err := read[MoveParams](params)
	return MoveKind + "/" + p.RepoID, err
}

// Plan begins with what is uploaded from now on: it goes to the new store at
// once. Who asks for a move that is refused has changed nothing.
func (k move) Plan(ctx context.Context, t *task.Task) ([]string, error) {
	p, err := read[MoveParams](t.Params)
	if err != nil {
		return nil, err
	}
	if _, err := k.registry.SetStore(ctx, p.RepoID, p.StoreID); err != nil {
		return nil, err
	}
	return k.shardsOf(ctx, p.RepoID)
}

func (k move) Run(ctx context.Context, w *task.Work) error {
	p, shard, err := part[MoveParams](w)
	if err != nil {
		return err
	}
	return k.service.MoveShard(ctx, p.RepoID, shard, string(w.Cursor), func(cursor string, moved int64) error {
		w.Progress.CheckedArtifacts += moved
		return w.Save(ctx, []byte(cursor), w.Progress)
	})
}

func (k move) Finish(_ context.Context, t *task.Task, states []task.ShardState) (any, string, error) {
	p, err := read[MoveParams](t.Params)
	if err != nil {
		return nil, "", err
	}
	moved := int64(0)
	for _, s := range states {
		moved += s.Progress.CheckedArtifacts
	}
	return MoveResult{MoveKind, p.Repo, p.Store, moved, k.elapsed(t)}, fmt.Sprintf("%d records lie in %s now", moved, p.Store), nil
}
