package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"granary/cluster"
	"granary/cluster/task"
	"granary/kv/mem"
	"granary/repo"
)

// slowKind is a kind whose shards end when they are told to.
type slowKind struct {
	name string
	end  chan struct{}
}

func (k *slowKind) Name() string { return k.name }

func (k *slowKind) Plan(context.Context, *task.Task) ([]string, error) { return []string{"one"}, nil }

func (k *slowKind) Run(ctx context.Context, w *task.Work) error {
	if err := w.Save(ctx, nil, task.Progress{TotalBlobs: 5, CheckedBlobs: 2, Phase: "content"}); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-k.end:
		return nil
	}
}

func (k *slowKind) Finish(_ context.Context, t *task.Task, _ []task.ShardState) (any, string, error) {
	return map[string]any{"params": t.Params, "elapsed_ns": int64(9007199254740993)}, "all well", nil
}

// refusingKind may not be started.
type refusingKind struct{ slowKind }

func (refusingKind) Admit(context.Context, json.RawMessage) error {
	return fmt.Errorf("GC minimum interval not elapsed (7s remaining)%w", silent{task.ErrTooSoon})
}

// silent says nothing of its own.
type silent struct{ error }

func (silent) Error() string   { return "" }
func (s silent) Unwrap() error { return s.error }

// aloneNode is a cluster without nodes.
type aloneNode struct{}

func (aloneNode) ID() string                                          { return "alone" }
func (aloneNode) Nodes(context.Context) ([]cluster.Info, error)       { return nil, nil }
func (aloneNode) Leases(context.Context) ([]cluster.LeaseInfo, error) { return nil, nil }
func (aloneNode) Lease(context.Context, string, time.Duration) (func(), error) {
	return nil, cluster.ErrHeld
}

// idleTasks are tasks that nobody works on.
func idleTasks() *task.Service {
	s, err := task.New(task.Config{KV: mem.New(mem.Options{}), Members: aloneNode{}})
	if err != nil {
		panic(err)
	}
	return s
}

func newTaskRig(t *testing.T) (*rig, *slowKind, *task.Service) {
	t.Helper()
	check := &slowKind{"check", make(chan struct{})}
	var member *cluster.Node
	var service *task.Service
	r := newRig(t, func(c *Config) {
		store := c.REST.Repositories.(*repo.Service).KV
		var err error
		if member, err = cluster.Join(t.Context(), cluster.Config{KV: store, Version: "1.2.3", Embedded: true}); err != nil {
			t.Fatal(err)
		}
		service, err = task.New(task.Config{
			KV: store, Members: member, Poll: 20 * time.Millisecond,
			Kinds: []task.Kind{check, &slowKind{"rebuild_dir_entries", check.end}, &refusingKind{slowKind{"blob_gc", nil}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		c.REST.Tasks, c.REST.Members = service, member
	})
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); service.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		<-ended
		if err := member.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return r, check, service
}

// until asks until the answer is as wanted.
func (r *rig) until(path string, ok func(map[string]any) bool) map[string]any {
	r.t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if got := r.do("admin", "GET", path, nil).status(200).object(); ok(got) {
			return got
		}
	}
	r.t.Fatalf("%s does not become what it should", path)
	return nil
}

const tasksPath = "/api/v1/tasks"

func TestTasks(t *testing.T) {
	r, check, service := newTaskRig(t)
	if got := r.do("admin", "GET", tasksPath, nil).status(200).text; strings.TrimSpace(got) != "[]" {
		t.Errorf("no tasks: %s", got)
	}
	got := r.do("admin", "POST", tasksPath+"/check", nil).status(201).object()
	id, _ := got["id"].(string)
	if len(id) != 36 || got["status"] != "pending" || got["started_at"] != nil || got["result"] != nil || got["error"] != nil || got["summary"] != nil {
		t.Errorf("created: %v", got)
	}
	if d := cmp.Diff(map[string]any{"type": "check"}, got["kind"]); d != "" {
		t.Errorf("kind %s", d)
	}
	r.do("admin", "POST", tasksPath+"/check", nil).fails(409, "CONFLICT", "already running")
	got = r.until(tasksPath+"/"+id, func(m map[string]any) bool { return m["progress"].(map[string]any)["total_blobs"] != 0.0 })
	if d := cmp.Diff(map[string]any{
		"total_repos": 0.0, "completed_repos": 0.0, "total_blobs": 5.0, "checked_blobs": 2.0, "failed_blobs": 0.0, "bytes_read": 0.0,
		"total_bytes": 0.0, "total_artifacts": 0.0, "checked_artifacts": 0.0, "phase": "content",
	}, got["progress"]); d != "" || got["status"] != "running" {
		t.Errorf("running: %v %s", got, d)
	}
	var keys []string
	for k := range got {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	if d := cmp.Diff(strings.Fields("completed_at created_at error id kind log progress result started_at status summary"), keys); d != "" {
		t.Errorf("fields %s", d)
	}
	nodes := r.do("admin", "GET", "/api/v1/cluster", nil).status(200).object()["nodes"].([]any)
	n := nodes[0].(map[string]any)
	if len(nodes) != 1 || n["version"] != "1.2.3" || n["alive"] != true || n["self"] != true || n["task_shards"] != 1.0 {
		t.Errorf("nodes %v", nodes)
	}
	close(check.end)
	got = r.until(tasksPath+"/"+id, func(m map[string]any) bool { return m["status"] == "completed" })
	text := r.do("admin", "GET", tasksPath+"/"+id, nil).status(200).text
	result := got["result"].(map[string]any)
	if d := cmp.Diff(map[string]any{"dry_run": true, "verify_blob_hashes": true}, result["params"]); d != "" || result["type"] != "check" || got["summary"] != "all well" {
		t.Errorf("over: %v %s", got, d)
	}
	if !strings.Contains(text, "9007199254740993") {
		t.Errorf("a long number is rounded: %s", text)
	}
	line := got["log"].([]any)[0].(map[string]any)
	if _, err := time.Parse(time.RFC3339, line["timestamp"].(string)); err != nil || line["message"] != "created" {
		t.Errorf("log %v, %v", line, err)
	}

	// Who started a task may read it, and nobody else who is no admin.
	r.user("ann", "read", "*")
	r.user("bob", "read", "*")
	own, err := service.Start(t.Context(), "check", nil, "ann")
	if err != nil {
		t.Fatal(err)
	}
	r.do("ann", "GET", tasksPath+"/"+own.ID, nil).status(200)
	r.do("bob", "GET", tasksPath+"/"+own.ID, nil).status(403)
	r.do("ann", "GET", tasksPath+"/"+id, nil).status(403)
	r.do("ann", "GET", tasksPath+"/00000000-0000-0000-0000-000000000000", nil).status(403)
	r.do("ann", "DELETE", tasksPath+"/"+own.ID, nil).status(403)
	r.do("ann", "GET", tasksPath, nil).status(403)

	for _, c := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/x", 400},
		{"DELETE", "/x", 400},
		{"POST", "/x/cancel", 400},
		{"GET", "/00000000-0000-0000-0000-000000000000", 404},
		{"DELETE", "/00000000-0000-0000-0000-000000000000", 404},
		{"POST", "/00000000-0000-0000-0000-000000000000/cancel", 404},
		{"DELETE", "/" + id, 204},
		{"GET", "/" + id, 404},
	} {
		r.do("admin", c.method, tasksPath+c.path, nil).status(c.want)
	}
}

func TestTaskBodies(t *testing.T) {
	r, check, _ := newTaskRig(t)
	r.json("admin", "POST", tasksPath+"/check", `{"dry_run":"x"}`).status(422)
	r.json("admin", "POST", tasksPath+"/check", `[]`).status(422)
	r.json("admin", "POST", tasksPath+"/check", `{`).status(400)
	id := r.json("admin", "POST", tasksPath+"/check", `{"dry_run":false,"verify_blob_hashes":false}`).status(201).object()["id"].(string)
	r.do("admin", "POST", tasksPath+"/"+id+"/cancel", nil).status(204)
	r.until(tasksPath+"/"+id, func(m map[string]any) bool { return m["status"] == "cancelled" })
	close(check.end)
	id = r.json("admin", "POST", tasksPath+"/check", `{"dry_run":false}`).status(201).object()["id"].(string)
	got := r.until(tasksPath+"/"+id, func(m map[string]any) bool { return m["status"] == "completed" })
	if d := cmp.Diff(map[string]any{"dry_run": false, "verify_blob_hashes": true}, got["result"].(map[string]any)["params"]); d != "" {
		t.Errorf("parameters %s", d)
	}
	time.Sleep(2 * time.Millisecond) // the list goes by milliseconds
	r.do("admin", "POST", tasksPath+"/rebuild-dir-entries", nil).status(201)
	if text := r.do("admin", "POST", tasksPath+"/gc", nil).status(409).text; !strings.Contains(text, "GC minimum interval not elapsed (7s remaining)") {
		t.Errorf("too soon: %s", text)
	}
	s := r.do("admin", "GET", tasksPath+"/scheduler", nil).status(200).object()
	if s["gc_last_started_at"] != nil || s["gc_interval_secs"] == nil || s["gc_min_interval_secs"] == nil || len(s) != 3 {
		t.Errorf("scheduler %v", s)
	}
	if got := r.do("admin", "GET", tasksPath, nil).status(200).text; strings.Index(got, "rebuild_dir_entries") > strings.Index(got, `"check"`) {
		t.Errorf("the latest is not the first: %s", got)
	}
}
