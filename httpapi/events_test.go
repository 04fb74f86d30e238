package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"granary/auth"
	"granary/events"
	"granary/repo"
)

// follower reads an event stream.
type follower struct {
	t     *testing.T
	lines *bufio.Scanner
}

// streaming is a rig that listens and has a feed.
func streaming(t *testing.T) (*rig, *httptest.Server) {
	feed := events.New(events.Config{Every: func() time.Duration { return 50 * time.Millisecond }})
	r := newRig(t, func(c *Config) { c.REST.Events = feed })
	r.Service.Committed = func(c repo.Commit) { feed.Touch(c.Repository.Name) }
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { feed.Run(ctx); close(done) }()
	s := httptest.NewServer(r.handler)
	t.Cleanup(func() {
		cancel()
		<-done
		s.Close() // waits for the streams, which end with the feed
	})
	return r, s
}

func (r *rig) follow(s *httptest.Server, as, query string) *follower {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, s.URL+"/api/v1/events/stream"+query, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	password := "password"
	if as == "admin" {
		password = adminPassword
	}
	req.SetBasicAuth(as, password)
	res, err := s.Client().Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		r.t.Fatalf("status %d, type %q", res.StatusCode, res.Header.Get("Content-Type"))
	}
	return &follower{r.t, bufio.NewScanner(res.Body)}
}

// next returns the type, id and data of the next event; "" at the end.
func (f *follower) next() (kind, id string, data map[string]any) {
	f.t.Helper()
	for f.lines.Scan() {
		name, value, _ := strings.Cut(f.lines.Text(), ": ")
		switch name {
		case "event":
			kind = value
		case "id":
			id = value
		case "data":
			if err := json.Unmarshal([]byte(value), &data); err != nil {
				f.t.Fatalf("data %q: %v", value, err)
			}
		case "":
			if kind != "" {
				return kind, id, data
			}
		}
	}
	return "", "", nil
}

// until returns the first event of a type.
func (f *follower) until(want string) map[string]any {
	f.t.Helper()
	var seen []string
	for {
		kind, id, data := f.next()
		if kind == want {
			if kind != "snapshot" && fmt.Sprint(data["seq"]) != id {
				f.t.Errorf("id %s of the event %v", id, data)
			}
			return data
		}
		seen = append(seen, kind)
		if kind == "" {
			f.t.Fatalf("no %s, but %q", want, seen)
		}
	}
}

func TestEventStream(t *testing.T) {
	r, s := streaming(t)
	r.Create("files", "hosted", "raw", nil)
	r.do("admin", "HEAD", "/api/v1/events/stream", nil).status(200).header("Content-Type", "text/event-stream").is("")
	f := r.follow(s, "admin", "")
	snapshot := f.until("snapshot")
	for _, key := range []string{"seq", "repos", "stores", "tasks", "users", "roles", "settings", "health"} {
		if snapshot[key] == nil {
			t.Errorf("the snapshot lacks %s: %v", key, snapshot)
		}
	}
	r.json("admin", "POST", "/api/v1/repositories", `{"name":"more","repo_type":"hosted","format":"raw"}`).status(201)
	created := f.until("repo_created")
	event := created["event"].(map[string]any)
	if created["topic"] != "repos" || event["type"] != "repo_created" || event["repo"].(map[string]any)["name"] != "more" || created["timestamp"] == nil {
		t.Errorf("event %v", created)
	}
	r.do("admin", "PUT", "/repository/more/a.txt", strings.NewReader("12345")).status(201)
	event = f.until("repo_stats_updated")["event"].(map[string]any)
	if event["name"] != "more" || event["artifact_count"] != 1.0 || event["total_bytes"] != 5.0 {
		t.Errorf("event %v", event)
	}
	r.json("admin", "PUT", "/api/v1/repositories/more", `{"conflict_policy":"deny"}`).status(200)
	f.until("repo_updated")
	r.json("admin", "DELETE", "/api/v1/repositories/more", "").status(204)
	if event := f.until("repo_deleted")["event"].(map[string]any); event["name"] != "more" {
		t.Errorf("event %v", event)
	}
	r.user("somebody", "read", "files")
	f.until("user_created")
	r.json("admin", "PUT", "/api/v1/settings", `{"access_log":false}`).status(200)
	if event := f.until("settings_updated")["event"].(map[string]any); event["settings"].(map[string]any)["access_log"] != false {
		t.Errorf("event %v", event)
	}
}

func TestEventStreamRights(t *testing.T) {
	r, s := streaming(t)
	r.Create("files", "hosted", "raw", nil)
	r.Create("secret", "hosted", "raw", nil)
	r.user("reader", "read", "files")
	r.do("", "GET", "/api/v1/events/stream", nil).status(401)
	r.do("reader", "GET", "/api/v1/events/stream?topics=users,roles", nil).status(403)
	r.do("reader", "GET", "/api/v1/events/stream?topics=nonsense", nil).status(400)
	f := r.follow(s, "reader", "?topics=repos,users,settings")
	snapshot := f.until("snapshot")
	if got := fmt.Sprint(len(snapshot["repos"].([]any)), snapshot["users"], snapshot["settings"], len(snapshot["stores"].([]any))); got != "1 <nil> <nil> 0" {
		t.Errorf("snapshot %s", got)
	}
	r.do("admin", "PUT", "/repository/secret/a.txt", strings.NewReader("1")).status(201)
	r.do("admin", "PUT", "/repository/files/a.txt", strings.NewReader("1")).status(201)
	if kind, _, data := f.next(); kind != "repo_stats_updated" || data["event"].(map[string]any)["name"] != "files" {
		t.Errorf("%s %v", kind, data)
	}
	// Other people's users are nobody's business; a right that is lost ends
	// the stream.
	r.user("other", "read", "x")
	if _, err := r.auth.UpdateRole(t.Context(), "reader", auth.RoleChange{Capabilities: &[]auth.Capability{}}); err != nil {
		t.Fatal(err)
	}
	if kind, _, data := f.next(); kind != "resync" || data["event"].(map[string]any)["type"] != "resync" {
		t.Errorf("%s %v", kind, data)
	}
	if kind, _, _ := f.next(); kind != "" {
		t.Errorf("%s after the end", kind)
	}
}
