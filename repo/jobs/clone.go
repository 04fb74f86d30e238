package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"granary/cluster/task"
	"granary/repo"
	"granary/repo/config"
)

// CloneParams are those of a repo_clone.
type CloneParams struct {
	Source   string `json:"source"` // names
	Target   string `json:"target"`
	SourceID string `json:"source_id"`
	TargetID string `json:"target_id"`
}

func (p CloneParams) clone() repo.Clone { return repo.Clone{Source: p.SourceID, Target: p.TargetID} }

// CloneResult is what it came to.
type CloneResult struct {
	Type            string `json:"type"`
	Source          string `json:"source"`
	Target          string `json:"target"`
	CopiedArtifacts int64  `json:"copied_artifacts"`
	CopiedEntries   int64  `json:"copied_entries"`
	CopiedBytes     int64  `json:"copied_bytes"`
	LostArtifacts   int64  `json:"lost_artifacts"`
	ElapsedNS       int64  `json:"elapsed_ns"`
}

type clone struct{ jobs }

var (
	_ task.Slotter = clone{}
	_ task.Aborter = clone{}
)

func (clone) Name() string { return CloneKind }

// Slot is the target: clones to different names go on side by side.
func (clone) Slot(params json.RawMessage) (string, error) {
	p, err := read[CloneParams](params)
	return CloneKind + "/" + p.TargetID, err
}

func (k clone) Plan(ctx context.Context, t *task.Task) ([]string, error) {
	p, err := read[CloneParams](t.Params)
	if err != nil {
		return nil, err
	}
	n, err := k.service.PlanClone(ctx, p.clone())
	return shards(n), err
}

func (k clone) Run(ctx context.Context, w *task.Work) error {
	p, shard, err := part[CloneParams](w)
	if err != nil {
		return err
	}
	return k.service.CloneShard(ctx, p.clone(), shard, string(w.Cursor), func(cursor string, done repo.Copied) error {
		all, err := tally(w, done)
		if err != nil {
			return err
		}
		w.Progress.CheckedArtifacts, w.Progress.BytesRead = all.Artifacts+all.Entries, all.Bytes
		return w.Save(ctx, []byte(cursor), w.Progress)
	})
}

func (k clone) Finish(ctx context.Context, t *task.Task, states []task.ShardState) (any, string, error) {
	p, res, err := k.result(t, states)
	if err != nil {
		return nil, "", err
	}
	if err := k.service.EndClone(ctx, k.registry, p.clone()); err != nil {
		return nil, "", err
	}
	summary := fmt.Sprintf("%s is %s as of the start: %d artifacts", p.Target, p.Source, res.CopiedArtifacts)
	if res.LostArtifacts > 0 {
		summary += fmt.Sprintf(", %d of them without their bytes, which are lost in the source too", res.LostArtifacts)
	}
	return res, summary, nil
}

func (k clone) result(t *task.Task, states []task.ShardState) (CloneParams, CloneResult, error) {
	p, err := read[CloneParams](t.Params)
	if err != nil {
		return p, CloneResult{}, err
	}
	all, err := total[repo.Copied](states)
	return p, CloneResult{
		CloneKind, p.Source, p.Target, all.Artifacts, all.Entries, all.Bytes, all.Lost, k.elapsed(t),
	}, err
}

// Abort gives the name back and lets go of the source's history.
func (k clone) Abort(ctx context.Context, t *task.Task, states []task.ShardState) (any, string, error) {
	p, res, err := k.result(t, states)
	if err != nil {
		return nil, "", err
	}
	if err := k.service.AbandonClone(ctx, k.registry, p.clone()); err != nil && !errors.Is(err, config.ErrNotFound) {
		return nil, "", err
	}
	return res, fmt.Sprintf("%s was not made", p.Target), nil
}
