package repo_test

import (
	"bytes"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"granary/formats"
	"granary/repo/config"
	"granary/repo/repotest"
)

func TestCacheFillsOnceAndServesOffline(t *testing.T) {
	r := newRig(t)
	r.Create("origin", config.Hosted, "raw", nil)
	up := r.Serve(t)
	r.Cache("c", "raw", up.URL+"/origin", 60)
	for i, size := range []int{0, 1, 10_000, 500_000, 3 << 20, 12 << 20} {
		body := filled(size, byte('a'+i))
		path := fmt.Sprintf("d/f%d", i)
		r.Put("origin", path, body)
		before := up.Requests()
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				_, got, err := r.Send(t.Context(), "c", "GET", path, nil)
				if err != nil || !bytes.Equal(got, body) {
					t.Errorf("%d bytes: received %d, %v", size, len(got), err)
				}
			})
		}
		wg.Wait()
		if n := up.Requests() - before; n != 1 {
			t.Errorf("%d bytes: 50 clients made %d requests to the upstream", size, n)
		}
	}
	up.Kill()
	r.Clock.Advance(time.Hour)
	for i := range 6 {
		r.Get("c", fmt.Sprintf("d/f%d", i))
	}
	r.Refused(formats.ErrUpstream, "c", "GET", "d/never", nil)
}

func TestCacheTTL(t *testing.T) {
	r := newRig(t)
	r.Create("origin", config.Hosted, "raw", nil)
	up := r.Serve(t)
	r.Cache("always", "raw", up.URL+"/origin", 0)
	r.Cache("minute", "raw", up.URL+"/origin", 60)
	r.Cache("never", "raw", up.URL+"/origin", -1)
	caches := []string{"always", "minute", "never"}
	r.Put("origin", "f", []byte("one"))
	for _, c := range caches {
		if got := r.Get(c, "f"); string(got) != "one" {
			t.Fatalf("%s: %q", c, got)
		}
	}
	r.Put("origin", "f", []byte("two"))
	for c, want := range map[string]string{"always": "two", "minute": "one", "never": "one"} {
		if got := r.Get(c, "f"); string(got) != want {
			t.Errorf("%s before its TTL: %q, want %q", c, got, want)
		}
	}
	r.Clock.Advance(61 * time.Second)
	if got := string(r.Get("minute", "f")); got != "one" && got != "two" {
		t.Errorf("past its TTL: %q", got)
	}
	eventually(t, func() bool { return string(r.Get("minute", "f")) == "two" })
	if got := r.Get("never", "f"); string(got) != "one" {
		t.Errorf("never: %q", got)
	}

	// The upstream in trouble: the copy serves, and says that it is old.
	for _, status := range []int{500, 503, 429, 403} {
		up.Misbehave(repotest.Down(status))
		c, got, err := r.Send(t.Context(), "always", "GET", "f", nil)
		if err != nil || string(got) != "two" || c.Warning == "" {
			t.Errorf("upstream answers %d: %q, %v", status, got, err)
		}
	}
	up.Misbehave(nil)
}

func TestCacheNegative(t *testing.T) {
	r := newRig(t)
	r.Create("origin", config.Hosted, "raw", nil)
	up := r.Serve(t)
	r.Cache("c", "raw", up.URL+"/origin", 600)
	r.Refused(formats.ErrNotFound, "c", "GET", "f", nil)
	before := up.Requests()
	r.Refused(formats.ErrNotFound, "c", "GET", "f", nil)
	if n := up.Requests() - before; n != 0 {
		t.Errorf("a remembered 404 made %d requests", n)
	}
	r.Put("origin", "f", []byte("now"))
	r.Clock.Advance(61 * time.Second)
	if got := r.Get("c", "f"); string(got) != "now" {
		t.Errorf("after the negative TTL: %q", got)
	}
	// "Could not ask" is never a 404, but a remembered 404 stays one.
	r.Refused(formats.ErrNotFound, "c", "GET", "g", nil)
	r.Clock.Advance(2 * time.Minute)
	up.Misbehave(repotest.Down(500))
	r.Refused(formats.ErrNotFound, "c", "GET", "g", nil)
	r.Refused(formats.ErrUpstream, "c", "GET", "h", nil)
}

func TestLyingUpstreams(t *testing.T) {
	r := newRig(t)
	r.Create("origin", config.Hosted, "raw", nil)
	up := r.Serve(t)
	for name, size := range map[string]int{"short": 1000, "long": 5 << 20} {
		r.Cache("c-"+name, "raw", up.URL+"/origin", 60)
		up.Misbehave(func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Length", fmt.Sprint(size))
			w.Write(filled(size/2, 'h')) //nolint:errcheck // half of it
			panic(http.ErrAbortHandler)
		})
		_, _, err := r.Send(t.Context(), "c-"+name, "GET", "f", nil)
		if err == nil {
			t.Errorf("%s: half a body was passed on as whole", name)
		}
		up.Misbehave(nil)
		r.Refused(formats.ErrNotFound, "c-"+name, "GET", "f", nil) // nothing of it was kept
	}
}
