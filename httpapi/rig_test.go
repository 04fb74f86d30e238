package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"granary/auth"
	"granary/cluster/task"
	"granary/formats"
	"granary/formats/all"
	"granary/formats/docker"
	"granary/gc"
	"granary/httpapi/registry"
	"granary/httpapi/rest"
	"granary/repo"
	"granary/repo/repotest"
	"granary/telemetry"
)

const adminPassword = "admin-password"

// rig is the surface on repositories in memory.
type rig struct {
	*repotest.Rig
	t       *testing.T
	auth    *auth.Service
	handler http.Handler
	metrics *telemetry.Metrics
	log     *lockedBuffer
	probe   *probe
	formats []formats.Format
	tasks   *task.Service // nobody runs them but in working
	tokens  []string      // made by furnished
	gc      *gc.Collector

	mu    sync.Mutex
	ready error // guarded by mu
}

func newRig(t *testing.T, change ...func(*Config)) *rig {
	t.Helper()
	p := &probe{}
	r := &rig{t: t, probe: p, log: &lockedBuffer{}}
	r.Rig = repotest.New(t, repotest.Options{Formats: func(now func() time.Time) []formats.Format {
		r.formats = append(all.Formats(now), p)
		return r.formats
	}})
	var err error
	r.auth, err = auth.Open(auth.Options{
		KV: r.KV, AdminPassword: adminPassword, Cost: auth.Cost{Memory: 64, Time: 1, Threads: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.auth.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	if r.metrics, err = telemetry.NewMetrics(); err != nil {
		t.Fatal(err)
	}
	if r.tasks, err = newTasks(r); err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.NewJSONHandler(r.log, nil))
	c := Config{
		Auth: r.auth, Repositories: r.Service, Formats: r.formats, Settings: r.Registry.Settings, Expand: repo.Expand, Version: "0.1.0",
		REST:    rest.Config{Auth: r.auth, Registry: r.Registry, Repositories: r.Service, Tasks: r.tasks, Ready: r.isReady, Explainer: newExplainer(r)},
		Metrics: r.metrics, Log: log, RequestLog: log, Ready: r.isReady, Stall: 10 * time.Second,
	}
	if c.Registry, err = registry.New(registry.Config{
		Format: docker.New(), Repositories: r.Service, Registry: r.Registry, Users: r.auth, Settings: r.Registry.Settings, Now: r.Clock.Now,
	}); err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(&c)
	}
	if r.handler, err = New(c); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) isReady() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ready
}

func (r *rig) setReady(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ready = err
}

// user makes a user with a right on a glob of repositories.
func (r *rig) user(name string, grants ...string) {
	r.t.Helper()
	var caps []auth.Capability
	for i := 0; i < len(grants); i += 2 {
		caps = append(caps, auth.Capability{Capability: grants[i], Repo: grants[i+1]})
	}
	if _, err := r.auth.CreateRole(r.t.Context(), auth.NewRole{Name: name, Capabilities: caps}); err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.auth.CreateUser(r.t.Context(), auth.NewUser{Username: name, Password: "password", Roles: []string{name}}); err != nil {
		r.t.Fatal(err)
	}
}

// anyone gives anonymous a right.
func (r *rig) anyone(verb, glob string) {
	r.t.Helper()
	if _, err := r.auth.CreateRole(r.t.Context(), auth.NewRole{Name: "anyone", Capabilities: []auth.Capability{{Capability: verb, Repo: glob}}}); err != nil {
		r.t.Fatal(err)
	}
	roles := []string{"anyone"}
	if _, err := r.auth.UpdateUser(r.t.Context(), auth.AnonymousUser, auth.UserChange{Roles: &roles}); err != nil {
		r.t.Fatal(err)
	}
}

// as says who sends a request: "" is anonymous.
func (r *rig) do(as, method, target string, body io.Reader, header ...string) *answer {
	r.t.Helper()
	req := httptest.NewRequestWithContext(r.t.Context(), method, target, body)
	switch as {
	case "":
	case "admin":
		req.SetBasicAuth("admin", adminPassword)
	default:
		req.SetBasicAuth(as, "password")
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, req)
	return &answer{r.t, method + " " + target + " as " + as, w.Result(), w.Body.String()}
}

// json sends a JSON body.
func (r *rig) json(as, method, target, body string) *answer {
	r.t.Helper()
	return r.do(as, method, target, strings.NewReader(body), "Content-Type", "application/json")
}

type answer struct {
	t    *testing.T
	what string
	*http.Response
	text string
}

func (a *answer) status(want int) *answer {
	a.t.Helper()
	if a.StatusCode != want {
		a.t.Errorf("%s: status %d, want %d: %s", a.what, a.StatusCode, want, a.text)
	}
	return a
}

// fails wants an error body.
func (a *answer) fails(status int, code, part string) *answer {
	a.t.Helper()
	a.status(status)
	var b struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal([]byte(a.text), &b); err != nil || a.Header.Get("Content-Type") != "application/json" {
		a.t.Errorf("%s: %q of type %q is no error body: %v", a.what, a.text, a.Header.Get("Content-Type"), err)
	}
	if b.Error.Code != code || !strings.Contains(b.Error.Message, part) {
		a.t.Errorf("%s: code %q, message %q, want %q and %q", a.what, b.Error.Code, b.Error.Message, code, part)
	}
	return a
}

func (a *answer) header(name, want string) *answer {
	a.t.Helper()
	if got := a.Header.Get(name); got != want {
		a.t.Errorf("%s: %s is %q, want %q", a.what, name, got, want)
	}
	return a
}

func (a *answer) is(body string) *answer {
	a.t.Helper()
	if a.text != body {
		a.t.Errorf("%s: body %q, want %q", a.what, a.text, body)
	}
	return a
}

func (a *answer) decode(v any) *answer {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.text), v); err != nil {
		a.t.Fatalf("%s: %v in %s", a.what, err, a.text)
	}
	return a
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer // guarded by mu
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// probe is a format whose answers a test chooses. Paths: "call" is a call that
// needs reading by POST, "native/…" has error bodies of its own, "form" answers
// writes itself.
type probe struct {
	accept func(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error
	call   func(w http.ResponseWriter, r *http.Request) error
}

func (*probe) Name() string { return "probe" }

func (*probe) Route(req formats.Req) (formats.Op, bool) {
	switch {
	case strings.HasPrefix(req.Path, "nothing"):
		return formats.Op{}, false
	case req.Path == "call" && (req.Method == http.MethodPost || req.Method == http.MethodGet):
		return formats.Op{Kind: formats.Call, Label: "call", Verb: formats.VerbRead}, true
	case req.Method == http.MethodPost:
		return formats.Op{Kind: formats.Write, Label: "upload", Name: req.Path}, true
	case req.Method == http.MethodDelete:
		// Like cargo's yank: a DELETE that writes.
		return formats.Op{Kind: formats.Write, Label: "yank", Name: req.Path}, true
	case req.Method == http.MethodGet || req.Method == http.MethodHead:
		return formats.Op{Kind: formats.File, Label: "file", Name: req.Path}, true
	}
	return formats.Op{}, false
}

func (p *probe) Accept(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
	return p.accept(ctx, op, up, tx)
}

func (p *probe) Call(w http.ResponseWriter, r *http.Request, _ formats.Op, _ formats.View) error {
	return p.call(w, r)
}

func (*probe) Fail(w http.ResponseWriter, r *http.Request, status int, message string) bool {
	if !strings.Contains(r.URL.Path, "/native") {
		return false
	}
	w.Header().Set("Content-Type", "application/vnd.probe")
	w.WriteHeader(status)
	fmt.Fprintf(w, "probe: %s", message)
	return true
}

func (*probe) Answer(w http.ResponseWriter, _ *http.Request, op formats.Op, _ []formats.Record) bool {
	if op.Name != "form" {
		return false
	}
	w.WriteHeader(http.StatusOK)
	return true
}

func (*probe) Credential(r *http.Request) (string, bool) {
	if token := r.Header.Get("X-Probe-Key"); token != "" {
		return token, true
	}
	token := r.Header.Get("Authorization")
	return token, token != "" && !strings.Contains(token, " ")
}

var errSecret = errors.New("a secret of the inside")
