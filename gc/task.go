package gc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"granary/cluster/task"
)

// TaskName is the kind of a round among tasks.
const TaskName = "blob_gc"

// Params are those of a round's task.
type Params struct {
	Dry bool `json:"dry_run"`
	// Asked: somebody wants it, rather than the schedule.
	Asked bool `json:"asked,omitempty"`
}

// Outcome is the result of a round's task, as clients see it.
type Outcome struct {
	Type                string  `json:"type"`
	DrainedRepos        int64   `json:"drained_repos"`
	CleanedSessions     int64   `json:"cleaned_upload_sessions"`
	ScannedArtifacts    int64   `json:"scanned_artifacts"`
	ExpiredArtifacts    int64   `json:"expired_artifacts" doc:"Those that retention has removed are counted by repo_clean."`
	DockerDeleted       int64   `json:"docker_deleted"`
	ScannedBlobs        int64   `json:"scanned_blobs"`
	DeletedReferences   int64   `json:"deleted_dedup_refs"`
	DeletedBlobs        int64   `json:"orphaned_blobs_deleted"`
	DeletedBytes        int64   `json:"orphaned_blob_bytes_deleted"`
	Elapsed             int64   `json:"elapsed_ns"`
	DryRun              bool    `json:"dry_run"`
	Condemned           int64   `json:"condemned" doc:"Contents that nothing names; the next round deletes them if that stays so."`
	Waiting             int64   `json:"waiting" doc:"Contents that the next round will judge."`
	Acquitted           int64   `json:"acquitted" doc:"Condemned contents that something names after all."`
	Candidates          int64   `json:"orphan_candidates" doc:"Objects without a reference that the next look deletes."`
	ScannedHistory      int64   `json:"scanned_history"`
	RemovedPublications int64   `json:"removed_publications"`
	RemovedStamps       int64   `json:"removed_stamps"`
	RemovedDirectories  int64   `json:"removed_directories"`
	RepairedCounters    int64   `json:"repaired_counters"`
	ItemsRead           int64   `json:"items_read" doc:"Items of the key-value store and objects that were read."`
	FalsePositives      float64 `json:"false_positive_rate" doc:"The greatest of any filter."`
	Failures            int64   `json:"failures" doc:"Blobs that could not be deleted now; the next round tries again."`
}

// Outcome puts a result into a client's terms.
func (r Result) Outcome() Outcome {
	t := r.Tally
	return Outcome{
		Type: TaskName, DrainedRepos: t.Drained, CleanedSessions: t.Sessions, ScannedArtifacts: t.Records, ScannedBlobs: t.References,
		DeletedReferences: t.Deleted, DeletedBlobs: t.Deleted + t.Orphans, DeletedBytes: t.DeletedBytes + t.OrphanBytes,
		Elapsed: r.Elapsed, DryRun: r.Dry, Condemned: t.Condemned, Waiting: t.Waiting, Acquitted: t.Acquitted, Candidates: t.Candidates,
		ScannedHistory: t.History, RemovedPublications: t.Publications, RemovedStamps: t.Stamps, RemovedDirectories: t.Markers,
		RepairedCounters: t.Repaired, ItemsRead: t.Read(), FalsePositives: r.Rate, Failures: t.Failures,
	}
}

func (r Result) summary() string {
	t, verb := r.Tally, "deleted"
	if r.Dry {
		verb = "would delete"
	}
	return fmt.Sprintf("%s %d blobs (%d bytes); %d more are condemned; %d artifacts and %d blobs looked at in %v",
		verb, t.Deleted+t.Orphans, t.DeletedBytes+t.OrphanBytes, t.Condemned, t.Records, t.References, time.Duration(r.Elapsed).Round(time.Millisecond))
}

// Task is rounds as a kind of task.
type Task struct {
	*Collector
	// Observer is told of each round that was closed. Optional.
	Observer Observer
}

// Observer counts what rounds do; telemetry is one.
type Observer interface {
	Collected(took time.Duration, candidates, references, blobs, bytes int64)
}

var (
	_ task.Kind     = Task{}
	_ task.Admitter = Task{}
)

// Name implements [task.Kind].
func (Task) Name() string { return TaskName }

func params(raw json.RawMessage) (p Params, err error) {
	if len(raw) > 0 && string(raw) != "null" {
		err = json.Unmarshal(raw, &p)
	}
	return p, err
}

// Admit refuses a round that is too early.
func (t Task) Admit(ctx context.Context, raw json.RawMessage) error {
	p, err := params(raw)
	if err != nil || p.Dry {
		return err
	}
	if err := t.Ready(); err != nil {
		return err
	}
	r, _, err := t.current(ctx, false)
	if err != nil || r == nil {
		return err
	}
	if err := t.early(r); err != nil {
		return fmt.Errorf("%w: %w", task.ErrTooSoon, err)
	}
	return nil
}

// Plan begins the round of a task, once.
func (t Task) Plan(ctx context.Context, at *task.Task) ([]string, error) {
	p, err := params(at.Params)
	if err != nil {
		return nil, err
	}
	r, err := t.Begin(ctx, Options{Dry: p.Dry, Asked: p.Asked || at.By != "", Task: at.ID})
	if err != nil {
		return nil, err
	}
	return r.Parts(), nil
}

// phase is the kind of a part.
func phase(part string) string {
	kind, _, _ := strings.Cut(part, "/")
	return kind
}

// beatEvery is how often a part that takes long says how far it is.
const beatEvery = 3 * time.Second

// Run implements [task.Kind].
func (t Task) Run(ctx context.Context, w *task.Work) error {
	p, err := params(w.Task.Params)
	if err != nil {
		return err
	}
	r, _, err := t.current(ctx, p.Dry)
	if err != nil {
		return err
	}
	if r == nil || r.Task != w.Task.ID {
		return ErrOver
	}
	progress, last := task.Progress{Phase: phase(w.Shard)}, t.Now()
	err = t.Part(ctx, p.Dry, r.ID, w.Shard, func(ctx context.Context, n int) error {
		if progress.Phase == partMark {
			progress.CheckedArtifacts += int64(n)
		} else {
			progress.CheckedBlobs += int64(n)
		}
		if t.Now().Sub(last).Abs() < beatEvery {
			return nil
		}
		last = t.Now()
		return w.Save(ctx, nil, progress)
	})
	w.Progress = progress
	if errors.Is(err, ErrNotYet) {
		return fmt.Errorf("%w: %w", task.ErrLater, err)
	}
	return err
}

// Finish closes the round.
func (t Task) Finish(ctx context.Context, at *task.Task, _ []task.ShardState) (any, string, error) {
	p, err := params(at.Params)
	if err != nil {
		return nil, "", err
	}
	r, _, err := t.current(ctx, p.Dry)
	if err != nil {
		return nil, "", err
	}
	if r == nil || r.Task != at.ID {
		return nil, "", ErrOver
	}
	first := r.Closed == 0
	res, err := t.Collector.Finish(ctx, p.Dry, r.ID)
	if err != nil {
		return nil, "", err
	}
	if first && t.Observer != nil && !p.Dry {
		n := res.Tally
		t.Observer.Collected(time.Duration(res.Elapsed), n.Waiting+n.Candidates, n.Deleted, n.Deleted+n.Orphans, n.DeletedBytes+n.OrphanBytes)
	}
	return res.Outcome(), res.summary(), nil
}

// Periodic starts rounds that are due.
func (t Task) Periodic() task.Periodic {
	return task.Periodic{Kind: TaskName, Due: func(ctx context.Context, _ time.Time) (bool, any, error) {
		due, err := t.Due(ctx)
		return due, Params{}, err
	}}
}
