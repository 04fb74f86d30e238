package repotest

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"granary/formats"
)

// Upstream serves the repositories of a rig over HTTP, and misbehaves when it
// is told to.
type Upstream struct {
	URL string // of a repository: URL + "/" + name

	rig      *Rig
	server   *httptest.Server
	requests atomic.Int64

	mu  sync.Mutex
	bad func(w http.ResponseWriter, r *http.Request) bool // guarded by mu
}

// Serve makes an upstream of the rig's repositories.
func (r *Rig) Serve(t testing.TB) *Upstream {
	u := &Upstream{rig: r}
	u.server = httptest.NewServer(u)
	u.URL = u.server.URL
	t.Cleanup(u.server.Close)
	return u
}

// Kill makes the upstream refuse connections.
func (u *Upstream) Kill() { u.server.Close() }

// Requests is how many were received.
func (u *Upstream) Requests() int64 { return u.requests.Load() }

// Misbehave hands requests to f first, until it is called with nil; f returns
// false to have the request answered well.
func (u *Upstream) Misbehave(f func(w http.ResponseWriter, r *http.Request) bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.bad = f
}

// Down answers every request with a status.
func Down(status int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(status)
		return true
	}
}

func (u *Upstream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.requests.Add(1)
	u.mu.Lock()
	bad := u.bad
	u.mu.Unlock()
	if bad != nil && bad(w, r) {
		return
	}
	name, target, _ := strings.Cut(strings.TrimPrefix(r.URL.EscapedPath(), "/"), "/")
	if r.URL.RawQuery != "" {
		target += "?" + r.URL.RawQuery
	}
	ctx := formats.WithSite(r.Context(), formats.Site{URL: u.URL + "/" + name, Public: true})
	var header []string
	if accept := r.Header.Get("Accept"); accept != "" {
		header = append(header, "Accept", accept)
	}
	c, b, err := u.rig.Send(ctx, name, r.Method, target, nil, header...)
	switch {
	case errors.Is(err, formats.ErrNotFound):
		http.NotFound(w, r)
		return
	case err != nil:
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	case c == nil:
		w.Write(b) //nolint:errcheck // the client is gone
		return
	}
	if c.Expand { // Send has put another server's URL into it
		b = bytes.ReplaceAll(b, []byte("http://registry.example.com/repository/"), []byte(u.URL+"/"))
	}
	w.Header().Set("Content-Type", c.Type)
	w.Header().Set("ETag", `"`+hex.EncodeToString(c.Sums.BLAKE3)+`"`)
	if !c.Time.IsZero() {
		w.Header().Set("Last-Modified", c.Time.UTC().Format(http.TimeFormat))
	}
	if r.Header.Get("If-None-Match") == w.Header().Get("ETag") {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Write(b) //nolint:errcheck // the client is gone
}
