package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"granary/cluster"
	"granary/cluster/task"
	"granary/gc/retention"
	"granary/repo/config"
	"granary/repo/jobs"
)

// alone is a cluster of one node.
type alone struct{}

func (alone) ID() string { return "n1" }

func (alone) Nodes(context.Context) ([]cluster.Info, error) {
	return []cluster.Info{{ID: "n1", Alive: true, Self: true}}, nil
}

func (alone) Lease(context.Context, string, time.Duration) (func(), error) { return func() {}, nil }

// newTasks prepares the tasks of a rig; working runs them.
func newTasks(r *rig) (*task.Service, error) {
	planner := &retention.Planner{Repositories: r.Service, Records: r.Records, Now: r.Clock.Now}
	kinds := append(jobs.Kinds(r.Service, r.Registry), retention.NewKind(planner, r.Registry, nil))
	return task.New(task.Config{KV: r.KV, Members: alone{}, Kinds: kinds, Now: r.Clock.Now, Poll: 10 * time.Millisecond})
}

// working is a rig on which tasks run.
func working(t *testing.T) (*rig, *task.Service) {
	t.Helper()
	r := newRig(t)
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); r.tasks.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return r, r.tasks
}

// started is a task as it was answered.
type started struct {
	ID     string
	Kind   map[string]any
	Status string
}

// finish waits for the end of the task that an answer tells of.
func finish(t *testing.T, tasks *task.Service, a *answer) task.Task {
	t.Helper()
	var s started
	a.status(http.StatusCreated).decode(&s)
	for {
		now, err := tasks.Get(t.Context(), s.ID)
		if err != nil {
			t.Fatal(err)
		}
		if now.Status.Over() {
			return now
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestJobs(t *testing.T) {
	r, tasks := working(t)
	r.Create("files", config.Hosted, "raw", nil)
	r.Create("group", config.Proxy, "raw", func(c *config.Repository) {
		ids, err := r.Registry.MemberIDs(t.Context(), "members", []string{"files"})
		if err != nil {
			t.Fatal(err)
		}
		c.Members = ids
	})
	for i := range 5 {
		r.do("admin", "PUT", fmt.Sprintf("/repository/files/d/%d", i), strings.NewReader(strings.Repeat("x", 1000*(i+1)))).status(201)
	}
	const files = "/api/v1/repositories/files/"

	// clone
	r.json("admin", "POST", files+"clone", `{"new_name":""}`).fails(400, "BAD_REQUEST", "new_name")
	r.json("admin", "POST", files+"clone", `{"new_name":"files"}`).fails(400, "BAD_REQUEST", "new_name")
	r.json("admin", "POST", files+"clone", `{"new_name":"group"}`).fails(409, "CONFLICT", "group")
	r.json("admin", "POST", "/api/v1/repositories/none/clone", `{"new_name":"copy"}`).fails(404, "NOT_FOUND", "none")
	a := r.json("admin", "POST", files+"clone", `{"new_name":"copy"}`)
	var s started
	a.decode(&s)
	if s.Kind["type"] != "repo_clone" || s.Kind["source"] != "files" || s.Kind["target"] != "copy" {
		t.Errorf("task %+v", s)
	}
	done := finish(t, tasks, a)
	if done.Status != task.Completed || !strings.Contains(string(done.Result), `"copied_artifacts":5`) {
		t.Errorf("clone: %+v with %s", done, done.Result)
	}
	r.do("admin", "GET", "/repository/copy/d/4", nil).status(200).is(strings.Repeat("x", 5000))
	r.do("admin", "PUT", "/repository/copy/d/4", strings.NewReader("of its own")).status(201)
	r.do("admin", "GET", "/repository/files/d/4", nil).status(200).is(strings.Repeat("x", 5000))

	// bulk-delete
	r.json("admin", "POST", files+"bulk-delete", `{"prefix":"a/../b"}`).fails(400, "BAD_REQUEST", "prefix")
	r.json("admin", "POST", files+"bulk-delete", `{}`).status(422)
	r.json("admin", "POST", "/api/v1/repositories/group/bulk-delete", `{"prefix":""}`).fails(405, "NOT_ALLOWED", "")
	r.do("admin", "PUT", "/repository/copy/dd/x", strings.NewReader("stays")).status(201)
	done = finish(t, tasks, r.json("admin", "POST", "/api/v1/repositories/copy/bulk-delete", `{"prefix":"d"}`))
	if !strings.Contains(string(done.Result), `"deleted_artifacts":5`) {
		t.Errorf("bulk delete: %+v with %s", done, done.Result)
	}
	r.do("admin", "GET", "/repository/copy/d/1", nil).status(404)
	r.do("admin", "GET", "/repository/copy/dd/x", nil).status(200)

	// promote
	r.json("admin", "POST", files+"promote", `{"target":"files","paths":["d"]}`).fails(400, "BAD_REQUEST", "target")
	r.json("admin", "POST", files+"promote", `{"target":"none","paths":["d"]}`).fails(400, "BAD_REQUEST", "target")
	r.json("admin", "POST", files+"promote", `{"target":"group","paths":["d"]}`).fails(405, "NOT_ALLOWED", "")
	r.json("admin", "POST", files+"promote", `{"target":"copy","paths":[]}`).fails(400, "BAD_REQUEST", "paths")
	done = finish(t, tasks, r.json("admin", "POST", "/api/v1/repositories/group/promote", `{"target":"copy","paths":["d/0","d/1"]}`))
	if done.Status != task.Completed || !strings.Contains(string(done.Result), `"copied_artifacts":2`) {
		t.Errorf("promotion: %+v with %s", done, done.Result)
	}
	r.do("admin", "GET", "/repository/copy/d/1", nil).status(200)
	r.do("admin", "GET", "/repository/copy/d/2", nil).status(404)
	done = finish(t, tasks, r.json("admin", "POST", files+"promote", `{"target":"copy","paths":["d/2","none"]}`))
	if done.Status != task.Failed || !strings.Contains(done.Error, "files/none: not found") {
		t.Errorf("promotion of what is not there: %+v", done)
	}
	r.do("admin", "GET", "/repository/copy/d/2", nil).status(404)

	// clean
	r.json("admin", "POST", files+"clean", `{}`).fails(400, "BAD_REQUEST", "no rule")
	r.json("admin", "PUT", "/api/v1/repositories/files", `{"cleanup_keep_last":3,"cleanup_name_pattern":"["}`).fails(400, "BAD_REQUEST", "cleanup_name_pattern")
	r.json("admin", "PUT", "/api/v1/repositories/files", `{"cleanup_keep_last":3,"cleanup_keep_latest":true,"cleanup_name_pattern":"^d$"}`).status(200)
	done = finish(t, tasks, r.json("admin", "POST", files+"clean", `{"dry_run":true}`))
	if res := string(done.Result); !strings.Contains(res, `"expired_artifacts":1`) || strings.Count(res, `"action":"keep"`) != 4 || strings.Count(res, "beyond the last 3") != 1 ||
		!strings.Contains(res, "the latest version") {
		t.Errorf("dry run: %s", res)
	}
	r.do("admin", "GET", "/repository/files/d/0", nil).status(200)
	done = finish(t, tasks, r.do("admin", "POST", files+"clean", nil))
	if res := string(done.Result); !strings.Contains(res, `"expired_artifacts":1`) {
		t.Errorf("clean: %s", res)
	}

	// move
	r.json("admin", "POST", files+"move", `{"store":"none"}`).fails(400, "BAD_REQUEST", "store")
	if _, err := r.Registry.CreateStore(t.Context(), "other", func(s *config.Store) error {
		s.Type, s.Root, s.Sync, s.IOSize = config.File, "/elsewhere", true, 1024
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	r.do("admin", "PUT", "/repository/files/big", strings.NewReader(strings.Repeat("b", 100_000))).status(201)
	done = finish(t, tasks, r.json("admin", "POST", files+"move", `{"store":"other"}`))
	if done.Status != task.Completed || !strings.Contains(string(done.Result), `"moved_records":1`) {
		t.Errorf("move: %+v with %s", done, done.Result)
	}
	r.do("admin", "GET", "/repository/files/big", nil).status(200).is(strings.Repeat("b", 100_000))
	if a := r.do("admin", "GET", "/api/v1/repositories/files", nil).status(200); a.object()["store"] != "other" {
		t.Errorf("the repository after the move: %s", a.text)
	}

	// What nobody can ask for any more is pruned.
	r.Clock.Advance(3 * time.Hour)
	pruned, err := tasks.Start(t.Context(), jobs.HistoryKind, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	for !pruned.Status.Over() {
		if pruned, err = tasks.Get(t.Context(), pruned.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
	if pruned.Status != task.Completed || strings.Contains(string(pruned.Result), `"removed":0`) {
		t.Errorf("pruning: %+v with %s", pruned, pruned.Result)
	}
}

// Promoting needs reading of what is promoted, in each member of a group, and
// writing where it goes.
func TestPromoteRights(t *testing.T) {
	r, _ := working(t)
	for _, name := range []string{"src", "secret", "dst"} {
		r.Create(name, config.Hosted, "raw", nil)
	}
	r.Group("all", "raw", "src", "secret")
	r.Put("src", "a/x", []byte("x"))
	r.user("reader", "read", "src")
	r.user("writer", "read", "src", "write", "dst")
	r.user("grouped", "read", "all", "read", "src", "write", "dst")
	const body = `{"target":"dst","paths":["a"]}`
	r.json("", "POST", "/api/v1/repositories/src/promote", body).status(401)
	r.json("reader", "POST", "/api/v1/repositories/src/promote", body).fails(403, "FORBIDDEN", "dst")
	r.json("grouped", "POST", "/api/v1/repositories/all/promote", body).fails(403, "FORBIDDEN", "member")
	r.json("writer", "POST", "/api/v1/repositories/secret/promote", body).fails(403, "FORBIDDEN", "secret")
	r.json("writer", "POST", "/api/v1/repositories/src/promote", body).status(201)
}

// TestRefusedMove: the second move of a repository hears 409 and changes
// nothing; where new bytes go is the first one's.
func TestRefusedMove(t *testing.T) {
	r := newRig(t) // nobody runs the tasks
	r.Create("files", config.Hosted, "raw", nil)
	for _, name := range []string{"one", "two"} {
		if _, err := r.Registry.CreateStore(t.Context(), name, func(s *config.Store) error {
			s.Type, s.Root, s.Sync, s.IOSize = config.File, "/"+name, true, 1024
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	const path = "/api/v1/repositories/files"
	r.json("admin", "POST", path+"/move", `{"store":"one"}`).status(201)
	r.json("admin", "POST", path+"/move", `{"store":"two"}`).fails(409, "CONFLICT", "already running")
	if got := r.do("admin", "GET", path, nil).object()["store"]; got == "two" {
		t.Errorf("the store is %q after a move there was refused", got)
	}
}
