package rest

import (
	"bytes"
	"context"
	"encoding/json"

	"granary/cluster/task"
)

// Tasks is what the routes ask of the tasks; [task.Service] is one.
type Tasks interface {
	Start(ctx context.Context, kind string, params any, by string) (task.Task, error)
}

// Task is a task as clients see it.
type Task struct {
	ID          string         `json:"id" format:"uuid"`
	Kind        TaskKind       `json:"kind"`
	Status      task.Status    `json:"status" enum:"pending,running,completed,failed,cancelled"`
	CreatedAt   Timestamp      `json:"created_at"`
	StartedAt   Timestamp      `json:"started_at"`
	CompletedAt Timestamp      `json:"completed_at"`
	Progress    TaskProgress   `json:"progress"`
	Result      map[string]any `json:"result" nullable:"true" doc:"By its type; null until the task is over."`
	Error       *string        `json:"error"`
	Summary     *string        `json:"summary"`
	Log         []TaskLog      `json:"log" nullable:"false"`
}

// TaskKind is what a task does, and to what.
type TaskKind struct {
	Type   string `json:"type"`
	Repo   string `json:"repo,omitempty"`
	Prefix string `json:"prefix,omitempty"`
	Source string `json:"source,omitempty"`
	Target string `json:"target,omitempty"`
}

// TaskProgress counts what is done; what a kind does not count is 0.
type TaskProgress struct {
	TotalRepos       int64  `json:"total_repos"`
	CompletedRepos   int64  `json:"completed_repos"`
	TotalBlobs       int64  `json:"total_blobs"`
	CheckedBlobs     int64  `json:"checked_blobs"`
	FailedBlobs      int64  `json:"failed_blobs"`
	BytesRead        int64  `json:"bytes_read"`
	TotalBytes       int64  `json:"total_bytes"`
	TotalArtifacts   int64  `json:"total_artifacts"`
	CheckedArtifacts int64  `json:"checked_artifacts"`
	Phase            string `json:"phase,omitempty"`
}

// TaskLog is a line of a task's log.
type TaskLog struct {
	Timestamp Timestamp `json:"timestamp"`
	Message   string    `json:"message"`
}

// showTask is a task as clients see it. Parameters that name what it is about
// are told with the kind.
func showTask(t *task.Task) *Task {
	out := &Task{
		ID: t.ID, Status: t.Status, Progress: TaskProgress(t.Progress), Log: make([]TaskLog, 0, len(t.Log)),
		CreatedAt: Timestamp(t.Created), StartedAt: Timestamp(t.Started), CompletedAt: Timestamp(t.Completed),
		Error: filled(t.Error), Summary: filled(t.Summary),
	}
	// Parameters of another shape name nothing.
	json.Unmarshal(t.Params, &out.Kind) //nolint:errcheck // see above
	out.Kind.Type = t.Kind
	for _, l := range t.Log {
		out.Log = append(out.Log, TaskLog{Timestamp(l.Time), l.Message})
	}
	if len(t.Result) > 0 {
		dec := json.NewDecoder(bytes.NewReader(t.Result))
		dec.UseNumber()
		if err := dec.Decode(&out.Result); err == nil && out.Result != nil {
			out.Result["type"] = t.Kind
		}
	}
	return out
}
