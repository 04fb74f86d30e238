package rest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"time"

	"github.com/google/uuid"

	"granary/cluster/task"
	"granary/formats"
	"granary/httpapi/exchange"
	"granary/httpapi/fault"
)

// Tasks is what the routes ask of the tasks; [task.Service] is one.
type Tasks interface {
	Start(ctx context.Context, kind string, params any, by string) (task.Task, error)
	Get(ctx context.Context, id string) (task.Task, error)
	List(ctx context.Context) ([]task.Task, error)
	Cancel(ctx context.Context, id, by string) error
	Delete(ctx context.Context, id, by string) error
	LastStarted(ctx context.Context, slot string) (time.Time, error)
	Held(ctx context.Context) (map[string]int, error)
}

// The kinds of tasks that are started here.
const (
	kindCheck   = "check"
	kindGC      = "blob_gc"
	kindRebuild = "rebuild_dir_entries"
)

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

// CheckRequest starts an audit.
type CheckRequest struct {
	DryRun           optional[bool] `json:"dry_run,omitempty"`
	VerifyBlobHashes optional[bool] `json:"verify_blob_hashes,omitempty"`
}

// GCRequest starts a round of garbage collection.
type GCRequest struct {
	DryRun optional[bool] `json:"dry_run,omitempty"`
}

// Scheduler tells when garbage is collected.
type Scheduler struct {
	GCLastStartedAt   Timestamp `json:"gc_last_started_at"`
	GCIntervalSecs    int64     `json:"gc_interval_secs"`
	GCMinIntervalSecs int64     `json:"gc_min_interval_secs"`
}

// oneTask is the input of an operation on a task.
type oneTask struct {
	ID string `path:"id"`
}

func (a *api) tasks() {
	if a.Tasks == nil {
		return
	}
	const tag = "tasks"
	// Fixed paths first: they are matched in this order.
	register(a, operation{id: "get-scheduler", method: http.MethodGet, path: "/tasks/scheduler", summary: "Tell when garbage is collected", tag: tag}, a.getScheduler)
	register(a, operation{
		id: "start-check", method: http.MethodPost, path: "/tasks/check", summary: "Check that what is stored is there and is what it was", tag: tag,
		status: http.StatusCreated, reads: reflect.TypeFor[CheckRequest](), bodyless: true,
	}, a.startCheck)
	register(a, operation{
		id: "start-gc", method: http.MethodPost, path: "/tasks/gc", summary: "Collect garbage", tag: tag,
		status: http.StatusCreated, reads: reflect.TypeFor[GCRequest](), bodyless: true,
	}, a.startGC)
	register(a, operation{
		id: "start-rebuild-dir-entries", method: http.MethodPost, path: "/tasks/rebuild-dir-entries", tag: tag,
		summary: "Put directories and counters right", status: http.StatusCreated,
	}, a.startRebuild)
	register(a, operation{id: "list-tasks", method: http.MethodGet, path: "/tasks", summary: "List the tasks, the latest first", tag: tag}, a.listTasks)
	register(a, operation{id: "get-task", method: http.MethodGet, path: "/tasks/{id}", summary: "Get a task", tag: tag}, a.getTask)
	register(a, operation{
		id: "delete-task", method: http.MethodDelete, path: "/tasks/{id}", summary: "Cancel a task, or remove one that is over", tag: tag, status: http.StatusNoContent,
	}, a.deleteTask)
	register(a, operation{
		id: "cancel-task", method: http.MethodPost, path: "/tasks/{id}/cancel", summary: "Cancel a task", tag: tag, status: http.StatusNoContent,
	}, a.cancelTask)
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

func (a *api) listTasks(ctx context.Context, x *exchange.Exchange, _ *none) (*answer[[]*Task], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	all, err := a.Tasks.List(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]*Task, 0, len(all))
	for i := range all {
		out = append(out, showTask(&all[i]))
	}
	return &answer[[]*Task]{out}, nil
}

// taskID is an id that was looked at before anything is looked up.
func taskID(in *oneTask) (string, error) {
	s, err := segment(in.ID)
	if err != nil {
		return "", err
	}
	id, err := uuid.Parse(s)
	if err != nil || len(s) != len(id.String()) {
		return "", formats.BadRequest("%.60q is no id of a task", s)
	}
	return id.String(), nil
}

// getTask answers who started the task, too.
func (a *api) getTask(ctx context.Context, x *exchange.Exchange, in *oneTask) (*answer[*Task], error) {
	refused := x.Administer()
	if refused != nil && x.LoggedIn() != nil {
		return nil, refused
	}
	id, err := taskID(in)
	if err != nil && refused != nil {
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	t, err := a.Tasks.Get(ctx, id)
	if refused != nil && (err != nil || t.By != x.Identity.Name) {
		return nil, refused
	}
	if err != nil {
		return nil, err
	}
	return &answer[*Task]{showTask(&t)}, nil
}

func (a *api) deleteTask(ctx context.Context, x *exchange.Exchange, in *oneTask) (*none, error) {
	return a.endTask(ctx, x, in, a.Tasks.Delete)
}

func (a *api) cancelTask(ctx context.Context, x *exchange.Exchange, in *oneTask) (*none, error) {
	return a.endTask(ctx, x, in, a.Tasks.Cancel)
}

func (a *api) endTask(ctx context.Context, x *exchange.Exchange, in *oneTask, end func(ctx context.Context, id, by string) error) (*none, error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	id, err := taskID(in)
	if err != nil {
		return nil, err
	}
	if err := end(ctx, id, x.Identity.Name); err != nil {
		return nil, err
	}
	return &none{}, nil
}

// choices reads a body that may be absent.
func (a *api) choices(x *exchange.Exchange, v any) error {
	r := x.Request()
	if r.ContentLength == 0 {
		return nil
	}
	if r.ContentLength < 0 && r.Header.Get("Content-Type") == "" {
		var one [1]byte
		if n, err := io.ReadFull(r.Body, one[:]); n == 0 && errors.Is(err, io.EOF) {
			return nil
		}
		return &fault.Fault{Status: http.StatusUnsupportedMediaType, Code: fault.BadRequest, Message: "Content-Type: must be application/json"}
	}
	p, err := a.read(x, maxBody)
	if err != nil {
		return err
	}
	return p.decode(v)
}

func (a *api) startCheck(ctx context.Context, x *exchange.Exchange, _ *none) (*answer[*Task], error) {
	in := CheckRequest{}
	return a.start(ctx, x, kindCheck, &in, func() any {
		p := struct {
			DryRun bool `json:"dry_run"`
			Verify bool `json:"verify_blob_hashes"`
		}{true, true}
		plain(in.DryRun, &p.DryRun, true)
		plain(in.VerifyBlobHashes, &p.Verify, true)
		return p
	})
}

func (a *api) startGC(ctx context.Context, x *exchange.Exchange, _ *none) (*answer[*Task], error) {
	in := GCRequest{}
	return a.start(ctx, x, kindGC, &in, func() any {
		p := struct {
			DryRun bool `json:"dry_run"`
		}{}
		plain(in.DryRun, &p.DryRun, false)
		return p
	})
}

func (a *api) startRebuild(ctx context.Context, x *exchange.Exchange, _ *none) (*answer[*Task], error) {
	return a.start(ctx, x, kindRebuild, nil, func() any { return struct{}{} })
}

// start starts a task with what the body says; in is nil where none is read.
func (a *api) start(ctx context.Context, x *exchange.Exchange, kind string, in any, params func() any) (*answer[*Task], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	if in != nil {
		if err := a.choices(x, in); err != nil {
			return nil, err
		}
	}
	t, err := a.Tasks.Start(ctx, kind, params(), x.Identity.Name)
	if err != nil {
		return nil, err
	}
	return &answer[*Task]{showTask(&t)}, nil
}

func (a *api) getScheduler(ctx context.Context, x *exchange.Exchange, _ *none) (*answer[Scheduler], error) {
	if err := x.Administer(); err != nil {
		return nil, err
	}
	last, err := a.Tasks.LastStarted(ctx, kindGC)
	if err != nil {
		return nil, err
	}
	s := a.Registry.Settings()
	return &answer[Scheduler]{Scheduler{Timestamp(last), s.GCInterval, s.GCMinInterval}}, nil
}
