package jobs

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"granary/cluster/task"
	"granary/repo"
)

// DeleteParams are those of a bulk_delete.
type DeleteParams struct {
	Repo   string `json:"repo"` // name
	Prefix string `json:"prefix"`
	RepoID string `json:"repo_id"`
	Before int64  `json:"before"` // Unix ns: what is written later stays
}

// DeleteResult is what it came to.
type DeleteResult struct {
	Type             string `json:"type"`
	Repo             string `json:"repo"`
	Prefix           string `json:"prefix"`
	DeletedArtifacts int64  `json:"deleted_artifacts"`
	DeletedBytes     int64  `json:"deleted_bytes"`
	ElapsedNS        int64  `json:"elapsed_ns"`
}

type remove struct{ jobs }

var _ task.Slotter = remove{}

func (remove) Name() string { return DeleteKind }

func (remove) Slot(params json.RawMessage) (string, error) {
	p, err := read[DeleteParams](params)
	return DeleteKind + "/" + p.RepoID, err
}

func (k remove) Plan(ctx context.Context, t *task.Task) ([]string, error) {
	p, err := read[DeleteParams](t.Params)
	if err != nil {
		return nil, err
	}
	return k.shardsOf(ctx, p.RepoID)
}

func (k remove) Run(ctx context.Context, w *task.Work) error {
	p, shard, err := part[DeleteParams](w)
	if err != nil {
		return err
	}
	return k.service.BulkDelete(ctx, p.RepoID, p.Prefix, shard, time.Unix(0, p.Before), func(done repo.Removed) error {
		all, err := tally(w, done)
		if err != nil {
			return err
		}
		w.Progress.CheckedArtifacts = all.Artifacts
		return w.Save(ctx, w.Cursor, w.Progress)
	})
}

func (k remove) Finish(_ context.Context, t *task.Task, states []task.ShardState) (any, string, error) {
	p, err := read[DeleteParams](t.Params)
	if err != nil {
		return nil, "", err
	}
	all, err := total[repo.Removed](states)
	return DeleteResult{DeleteKind, p.Repo, p.Prefix, all.Artifacts, all.Bytes, k.elapsed(t)},
		fmt.Sprintf("%d artifacts removed below %q", all.Artifacts, p.Prefix), err
}
