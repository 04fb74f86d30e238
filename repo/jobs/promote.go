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

// PromoteParams are those of a repo_promote.
type PromoteParams struct {
	Source   string   `json:"source"` // names
	Target   string   `json:"target"`
	Paths    []string `json:"paths"`
	SourceID string   `json:"source_id"`
	TargetID string   `json:"target_id"`
}

func (p PromoteParams) promotion(t *task.Task) repo.Promotion {
	return repo.Promotion{ID: t.ID, Source: p.SourceID, Target: p.TargetID, Paths: p.Paths}
}

// PromoteResult is what it came to.
type PromoteResult struct {
	Type            string `json:"type"`
	Source          string `json:"source"`
	Target          string `json:"target"`
	CopiedArtifacts int64  `json:"copied_artifacts"`
	CopiedEntries   int64  `json:"copied_entries"`
	ElapsedNS       int64  `json:"elapsed_ns"`
}

type promote struct{ jobs }

var (
	_ task.Slotter = promote{}
	_ task.Aborter = promote{}
)

func (promote) Name() string { return PromoteKind }

// Slot is the target: promotions into one repository follow each other.
func (promote) Slot(params json.RawMessage) (string, error) {
	p, err := read[PromoteParams](params)
	return PromoteKind + "/" + p.TargetID, err
}

// Plan is one shard: what is copied becomes visible together.
func (promote) Plan(context.Context, *task.Task) ([]string, error) { return []string{"all"}, nil }

func (k promote) Run(ctx context.Context, w *task.Work) error {
	p, err := read[PromoteParams](w.Task.Params)
	if err != nil {
		return err
	}
	err = k.service.Promote(ctx, p.promotion(w.Task), string(w.Cursor), func(cursor string, done repo.Copied) error {
		all, err := tally(w, done)
		if err != nil {
			return err
		}
		w.Progress.CheckedArtifacts, w.Progress.Phase = all.Artifacts+all.Entries, cursor
		return w.Save(ctx, []byte(cursor), w.Progress)
	})
	if repo.RefusedForGood(err) {
		return task.Final(err)
	}
	return err
}

func (k promote) Finish(_ context.Context, t *task.Task, states []task.ShardState) (any, string, error) {
	p, err := read[PromoteParams](t.Params)
	if err != nil {
		return nil, "", err
	}
	all, err := total[repo.Copied](states)
	return PromoteResult{PromoteKind, p.Source, p.Target, all.Artifacts, all.Entries, k.elapsed(t)},
		fmt.Sprintf("%d artifacts of %s are in %s", all.Artifacts, p.Source, p.Target), err
}

// Abort takes back what was copied, unless it was committed before.
func (k promote) Abort(ctx context.Context, t *task.Task, _ []task.ShardState) (any, string, error) {
	p, err := read[PromoteParams](t.Params)
	if err != nil {
		return nil, "", err
	}
	if err := k.service.AbandonPromotion(ctx, p.promotion(t)); err != nil && !errors.Is(err, config.ErrNotFound) {
		return nil, "", err
	}
	return nil, "nothing was promoted, unless all of it was", nil
}
