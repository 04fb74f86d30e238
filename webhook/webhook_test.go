package webhook_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"granary/events"
	"granary/formats"
	"granary/formats/raw"
	"granary/integration/leak"
	"granary/repo/config"
	"granary/repo/repotest"
	"granary/repo/upstream"
	"granary/webhook"
)

func TestMain(m *testing.M) { leak.Verify(m) }

// receiver answers as a test says and keeps what it was sent.
type receiver struct {
	*httptest.Server

	mu       sync.Mutex
	statuses []int // of the next answers; then 204; guarded by mu
	got      chan message
}

type message struct {
	header http.Header
	body   []byte
	json   struct {
		ID, Topic string
		Event     map[string]any
	}
}

func receive(t *testing.T, statuses ...int) *receiver {
	r := &receiver{statuses: statuses, got: make(chan message, 1000)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		b, _ := io.ReadAll(req.Body)
		m := message{header: req.Header, body: b}
		if err := json.Unmarshal(b, &m.json); err != nil {
			t.Errorf("body %q: %v", b, err)
		}
		r.mu.Lock()
		status := 204
		if len(r.statuses) > 0 {
			status, r.statuses = r.statuses[0], r.statuses[1:]
		}
		r.mu.Unlock()
		w.WriteHeader(status)
		r.got <- m
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) next(t *testing.T) message {
	t.Helper()
	select {
	case m := <-r.got:
		return m
	case <-time.After(time.Minute):
		t.Fatal("nothing was sent")
	}
	return message{}
}

type rig struct {
	*repotest.Rig
	feed   *events.Feed
	sender *webhook.Sender
	stop   func()
}

// newRig has a sender that is not run yet.
func newRig(t *testing.T, wait ...time.Duration) *rig {
	r := &rig{Rig: repotest.New(t, repotest.Options{Formats: func(func() time.Time) []formats.Format { return []formats.Format{raw.New()} }})}
	client := upstream.New(upstream.Config{})
	t.Cleanup(client.Close)
	r.feed = events.New(events.Config{Every: func() time.Duration { return 10 * time.Millisecond }})
	r.feed.Source(func(context.Context, map[string]bool) (events.State, error) {
		repos := map[string]events.Object{}
		for _, c := range r.Registry.Repositories() {
			repos[c.Name] = events.Object{Body: json.RawMessage(fmt.Sprintf(`{"name":%q}`, c.Name))}
		}
		return events.State{events.Repos: repos}, nil
	})
	r.sender = webhook.New(webhook.Config{KV: r.KV, Registry: r.Registry, Post: client.Post, Feed: r.feed, Wait: wait})
	r.Service.Committed = r.sender.Committed
	r.Create("files", "hosted", "raw", nil)
	r.stop = func() {}
	return r
}

func (r *rig) run(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { r.feed.Run(ctx) })
	work.Go(func() { r.sender.Run(ctx) })
	r.stop = sync.OnceFunc(func() { cancel(); work.Wait() })
	t.Cleanup(func() { r.stop() })
}

func (r *rig) hook(t *testing.T, url string, fill func(*config.Webhook)) *config.Webhook {
	t.Helper()
	w, err := r.Registry.CreateWebhook(t.Context(), func(w *config.Webhook) error {
		w.Name, w.URL = "hook", url
		if fill != nil {
			fill(w)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// until waits for a delivery in a state.
func (r *rig) until(t *testing.T, hook string, good func(webhook.Delivery) bool) webhook.Delivery {
	t.Helper()
	var list []webhook.Delivery
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		var err error
		if list, err = r.sender.Deliveries(t.Context(), hook); err != nil {
			t.Fatal(err)
		}
		for _, d := range list {
			if good(d) {
				return d
			}
		}
	}
	t.Fatalf("deliveries %+v", list)
	return webhook.Delivery{}
}

func TestCommitsAreTold(t *testing.T) {
	r, to := newRig(t), receive(t)
	r.run(t)
	w := r.hook(t, to.URL, func(w *config.Webhook) {
		w.Topics, w.Repos, w.Secret = []string{webhook.Artifacts}, []string{"fi*"}, config.NewSecret("key")
	})
	r.hook(t, to.URL, func(w *config.Webhook) { w.Enabled = false })
	r.hook(t, to.URL, func(w *config.Webhook) { w.Repos = []string{"other"} })
	r.Put("files", "d/a.txt", []byte("hello"))
	m := to.next(t)
	if got, want := m.header.Get("X-Granary-Signature-256"), webhook.Sign("key", m.body); got != want || !strings.HasPrefix(got, "sha256=") {
		t.Errorf("signature %q, want %q", got, want)
	}
	if m.header.Get(webhook.EventHeader) != "artifacts_changed" || m.header.Get(webhook.DeliveryHeader) != m.json.ID || m.json.Topic != "artifacts" {
		t.Errorf("header %v, body %s", m.header, m.body)
	}
	created := m.json.Event["created"].([]any)[0].(map[string]any)
	if m.json.Event["repo"] != "files" || created["path"] != "d/a.txt" || created["size"] != 5.0 || len(created["sha256"].(string)) != 64 {
		t.Errorf("event %v", m.json.Event)
	}
	r.Put("files", "d/a.txt", []byte("hello")) // the same: nothing has changed
	if _, _, err := r.Send(t.Context(), "files", "DELETE", "d/a.txt", nil); err != nil {
		t.Fatal(err)
	}
	if m := to.next(t); fmt.Sprint(m.json.Event["deleted"]) != "[d/a.txt]" {
		t.Errorf("event %v", m.json.Event)
	}
	r.until(t, w.ID, func(d webhook.Delivery) bool { return d.Delivered() && d.Attempts == 1 && d.Status == 204 })
	select {
	case m := <-to.got:
		t.Errorf("told of %s too", m.body)
	default:
	}
}

func TestChangesAreTold(t *testing.T) {
	r, to := newRig(t), receive(t)
	r.hook(t, to.URL, func(w *config.Webhook) { w.Topics = []string{"repos"} })
	r.run(t)
	// The feed is followed a moment after the start.
	for i := 0; ; i++ {
		r.Create(fmt.Sprintf("more%d", i), "hosted", "raw", nil)
		select {
		case m := <-to.got:
			if m.json.Event["type"] != "repo_created" || m.json.Topic != "repos" {
				t.Errorf("event %s", m.body)
			}
			return
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func TestFailuresAreRepeated(t *testing.T) {
	r, to := newRig(t, time.Millisecond, time.Millisecond), receive(t, 500, 302)
	w := r.hook(t, to.URL, nil)
	r.run(t)
	r.Put("files", "a", []byte("1"))
	for range 3 {
		to.next(t)
	}
	d := r.until(t, w.ID, webhook.Delivery.Delivered)
	if d.Attempts != 3 || d.Error != "" {
		t.Errorf("delivery %+v", d)
	}
	to.mu.Lock()
	to.statuses = []int{500, 500, 500}
	to.mu.Unlock()
	r.Put("files", "b", []byte("1"))
	d = r.until(t, w.ID, func(d webhook.Delivery) bool { return !d.Ended.IsZero() && !d.Delivered() })
	if d.Attempts != 3 || d.Status != 500 || d.Error != "answered 500 Internal Server Error" {
		t.Errorf("delivery %+v", d)
	}
}

// What a node has written down and not made is made by whoever comes next.
func TestDeliveriesSurviveTheirNode(t *testing.T) {
	r, to := newRig(t, time.Hour), receive(t, 500)
	w := r.hook(t, to.URL, nil)
	r.run(t)
	r.Put("files", "a", []byte("1"))
	first := to.next(t)
	r.until(t, w.ID, func(d webhook.Delivery) bool { return d.Attempts == 1 && d.Ended.IsZero() })
	r.stop()

	client := upstream.New(upstream.Config{})
	t.Cleanup(client.Close)
	r.sender = webhook.New(webhook.Config{
		KV: r.KV, Registry: r.Registry, Post: client.Post, Now: func() time.Time { return time.Now().Add(2 * time.Hour) },
	})
	r.run(t)
	if m := to.next(t); m.json.ID != first.json.ID {
		t.Errorf("delivery %s, want %s", m.json.ID, first.json.ID)
	}
	r.until(t, w.ID, func(d webhook.Delivery) bool { return d.Delivered() && d.Attempts == 2 })
}

func TestTest(t *testing.T) {
	r, to := newRig(t), receive(t, 200, 418)
	w := r.hook(t, to.URL, func(w *config.Webhook) { w.Enabled = false })
	if d, err := r.sender.Test(t.Context(), w.ID); err != nil || !d.Delivered() || d.Status != 200 || d.Event != "ping" {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err := r.sender.Test(t.Context(), w.ID); err != nil || d.Delivered() || d.Status != 418 || d.Ended.IsZero() {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := r.sender.Test(t.Context(), "none"); !errors.Is(err, config.ErrNotFound) {
		t.Errorf("a webhook that is not there: %v", err)
	}
	// The guard of upstreams holds here too.
	for _, url := range []string{"http://169.254.169.254/latest/", "http://[::ffff:169.254.1.1]/", "http://0.0.0.0/"} {
		bad := r.hook(t, url, nil)
		if d, err := r.sender.Test(t.Context(), bad.ID); err != nil || d.Delivered() || d.Status != 0 || d.Error == "" {
			t.Errorf("%s: %+v, %v", url, d, err)
		}
	}
}

func TestWebhookRules(t *testing.T) {
	r := newRig(t)
	for name, fill := range map[string]func(*config.Webhook){
		"topics": func(w *config.Webhook) { w.Topics = []string{"nonsense"} },
		"repos":  func(w *config.Webhook) { w.Repos = []string{"[a"} },
		"name":   func(w *config.Webhook) { w.Name = " " },
		"url":    func(w *config.Webhook) { w.URL = "ftp://example.com/" },
	} {
		_, err := r.Registry.CreateWebhook(t.Context(), func(w *config.Webhook) error {
			w.Name, w.URL = "x", "https://example.com/"
			fill(w)
			return nil
		})
		var field *config.FieldError
		if !errors.As(err, &field) || field.Field != name {
			t.Errorf("%s: %v", name, err)
		}
	}
}
