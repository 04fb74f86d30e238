package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"granary/events"
	"granary/kv/mem"
	"granary/webhook"
)

// run runs f for the length of the test.
func run(t *testing.T, f func(ctx context.Context)) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f(ctx) }()
	t.Cleanup(func() { stop(); <-done })
}

// A task is told of from its start to its removal, to administrators only.
func TestTaskEvents(t *testing.T) {
	r, s := streaming(t)
	r.Create("files", "hosted", "raw", nil)
	for i := range 3 {
		r.Put("files", fmt.Sprintf("d/%d", i), []byte("x"))
	}
	r.user("reader", "read", "*", "delete", "*")
	f := r.follow(s, "admin", "?topics=tasks")
	if tasks := f.until("snapshot")["tasks"].([]any); len(tasks) != 0 {
		t.Errorf("tasks %v", tasks)
	}
	other := r.follow(s, "reader", "")
	if tasks := other.until("snapshot")["tasks"].([]any); len(tasks) != 0 {
		t.Errorf("tasks %v", tasks)
	}
	r.do("reader", "GET", "/api/v1/events/stream?topics=tasks", nil).status(403)

	var begun started
	// Who starts a task hears no more of tasks than others.
	r.json("reader", "POST", "/api/v1/repositories/files/bulk-delete", `{"prefix":"d"}`).status(201).decode(&begun)
	is := func(kind, status string) map[string]any {
		t.Helper()
		event := f.until(kind)["event"].(map[string]any)
		task := event["task"].(map[string]any)
		if event["type"] != kind || task["id"] != begun.ID || task["kind"].(map[string]any)["type"] != "bulk_delete" || task["status"] != status {
			t.Errorf("event %v", event)
		}
		return task
	}
	is("task_created", "pending")
	if tasks := r.follow(s, "admin", "?topics=tasks").until("snapshot")["tasks"].([]any); len(tasks) != 1 || tasks[0].(map[string]any)["id"] != begun.ID {
		t.Errorf("tasks %v", tasks)
	}
	run(t, r.tasks.Run)
	for {
		task := f.until("task_updated")["event"].(map[string]any)["task"].(map[string]any)
		if task["status"] == "completed" {
			if result := task["result"].(map[string]any); result["deleted_artifacts"] != 3.0 {
				t.Errorf("result %v", result)
			}
			break
		}
	}
	r.do("admin", "DELETE", "/api/v1/tasks/"+begun.ID, nil).status(204)
	if event := f.until("task_deleted")["event"].(map[string]any); event["id"] != begun.ID {
		t.Errorf("event %v", event)
	}
	r.Create("last", "hosted", "raw", nil)
	for {
		kind, _, data := other.next()
		if strings.HasPrefix(kind, "task") || kind == "" {
			t.Fatalf("the reader heard %q %v", kind, data)
		}
		if kind == "repo_created" {
			break
		}
	}
}

// What changes by itself while a task goes on is told apart.
func TestTaskProgressIsToldApart(t *testing.T) {
	feed := events.New(events.Config{})
	r := newRig(t, func(c *Config) { c.REST.Events = feed })
	r.Create("files", "hosted", "raw", nil)
	r.json("admin", "POST", "/api/v1/repositories/files/bulk-delete", `{"prefix":"d"}`).status(201)
	state, _, sub, err := feed.Subscribe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	if len(state[events.Tasks]) != 1 {
		t.Fatalf("tasks %v", state[events.Tasks])
	}
	for id, o := range state[events.Tasks] {
		var counts struct {
			ID       string
			Progress map[string]any
		}
		if err := json.Unmarshal(o.Counts, &counts); err != nil || counts.ID != id || counts.Progress["total_artifacts"] == nil || o.Label != "task_progress" {
			t.Errorf("counts %s as %s, %v", o.Counts, o.Label, err)
		}
	}
}

// Webhooks hear of tasks as the event stream does, without their progress.
func TestTasksAreToldToWebhooks(t *testing.T) {
	heard := make(chan map[string]any, 100)
	feed := events.New(events.Config{Every: func() time.Duration { return 50 * time.Millisecond }})
	var sender *webhook.Sender
	r := newRig(t, func(c *Config) {
		sender = webhook.New(webhook.Config{
			KV: mem.New(mem.Options{}), Registry: c.REST.Registry, Feed: feed,
			Post: func(_ context.Context, _ string, h http.Header, body []byte) (int, error) {
				var b map[string]any
				if err := json.Unmarshal(body, &b); err != nil || b["topic"] != "tasks" || h.Get(webhook.SignatureHeader) != webhook.Sign("s3cret", body) {
					t.Errorf("delivery %s with %v: %v", body, h, err)
				}
				heard <- b["event"].(map[string]any)
				return 204, nil
			},
		})
		c.REST.Events, c.REST.Webhooks = feed, sender
	})
	run(t, feed.Run)
	run(t, sender.Run)
	run(t, r.tasks.Run)
	r.Create("files", "hosted", "raw", nil)
	r.json("admin", "POST", "/api/v1/webhooks", `{"name":"x","url":"https://example.com/","secret":"s3cret","topics":["tasks"]}`).status(201)
	// The feed is followed a moment after the webhook was made.
	for {
		r.Put("files", "d/x", []byte("x"))
		finish(t, r.tasks, r.json("admin", "POST", "/api/v1/repositories/files/bulk-delete", `{"prefix":"d"}`))
		select {
		case event := <-heard:
			task := event["task"].(map[string]any)
			if kind := event["type"]; kind != "task_created" && kind != "task_updated" || task["kind"].(map[string]any)["type"] != "bulk_delete" {
				t.Errorf("event %v", event)
			}
			if task["status"] == "completed" {
				return
			}
		case <-time.After(200 * time.Millisecond):
		}
	}
}
