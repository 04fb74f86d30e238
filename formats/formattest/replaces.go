package formattest

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"granary/formats"
	"granary/repo/config"
	"granary/repo/repotest"
)

// upstreamReplaces: a file that an upstream has removed and published again with
// other bytes is what a cache's documents say, also where the old one had been
// fetched; so is what lies beside it. Other files are not fetched again.
func (s Sample) upstreamReplaces(t *testing.T) {
	if _, ok := s.New(time.Now).(formats.Promiser); !ok || s.Conflict == nil || s.Remove == nil || len(s.Docs) == 0 {
		t.Skip("its documents promise no digests")
	}
	r := s.rig(t, repotest.Options{})
	r.Create("origin", config.Hosted, s.name(), nil)
	up := r.Serve(t)
	r.Cache("c", s.name(), up.URL+"/origin"+s.Upstream, 0)
	r.Create("h", config.Hosted, s.name(), nil)
	r.Group("g", s.name(), "h", "c")
	s.fill(t, r, "origin", 0, 1)
	s.wants(t, r, "g", 0, 1)
	if _, _, err := r.Send(t.Context(), "origin", "DELETE", s.Remove(1), nil); err != nil {
		t.Fatal(err)
	}
	s.named(t, r, "c", 0)
	for _, f := range s.Files(1) {
		r.Get("c", f) // what was fetched stays
	}
	if err := s.publish(t, r, "origin", s.Conflict(t, 1)); err != nil {
		t.Fatal(err)
	}
	s.named(t, r, "g", 0, 1)
	for _, f := range s.Files(1) {
		if got := r.Get("g", f); !bytes.Equal(got, r.Get("origin", f)) {
			t.Errorf("%s is what the upstream had before", f)
		}
	}
	for _, f := range s.Checked {
		s.replacedMeanwhile(t, r, up, f)
	}
	up.Kill()
	s.wants(t, r, "c", 0, 1)
	if _, _, err := r.Send(t.Context(), "c", "GET", s.Files(9)[0], nil); err == nil || errors.Is(err, formats.ErrCorrupt) {
		t.Errorf("a version that never was: %v", err)
	}
}

// replacedAndDied: a cache that dies at any of its writes while it learns that the
// upstream has replaced a file gives the new one afterwards.
func (s Sample) replacedAndDied(t *testing.T) {
	if _, ok := s.New(time.Now).(formats.Promiser); !ok || s.Conflict == nil || s.Remove == nil || len(s.Docs) == 0 {
		t.Skip("its documents promise no digests")
	}
	store := repotest.NewDying()
	r := s.rig(t, repotest.Options{KV: store})
	up := r.Serve(t)
	for step := 1; ; step++ {
		origin, cache := fmt.Sprint("origin", step), fmt.Sprint("cache", step)
		r.Create(origin, config.Hosted, s.name(), nil)
		r.Cache(cache, s.name(), up.URL+"/"+origin+s.Upstream, 0)
		s.fill(t, r, origin, 0, 1)
		s.wants(t, r, cache, 0, 1)
		if _, _, err := r.Send(t.Context(), origin, "DELETE", s.Remove(1), nil); err != nil {
			t.Fatal(err)
		}
		if err := s.publish(t, r, origin, s.Conflict(t, 1)); err != nil {
			t.Fatal(err)
		}
		s.named(t, r, origin, 0, 1) // so that the upstream has nothing to write
		store.Set(step)
		for _, doc := range slices.Concat(s.First, s.Docs) {
			// It may fail, or answer with what was there.
			r.Send(t.Context(), cache, "GET", doc, nil) //nolint:errcheck // see above
		}
		died := store.Died()
		store.Set(-1)
		s.wants(t, r, cache, 0, 1)
		for _, f := range s.Files(1) {
			if !bytes.Equal(r.Get(cache, f), r.Get(origin, f)) {
				t.Errorf("step %d: %s is what the upstream had before", step, f)
			}
		}
		if t.Failed() || !died {
			return
		}
	}
}

// replacedMeanwhile: a fetch that began by the index of before, and ends after
// another is there, does not leave the bytes of before.
func (s Sample) replacedMeanwhile(t *testing.T, r *repotest.Rig, up *repotest.Upstream, file string) {
	t.Helper()
	r.Create("moving", config.Hosted, s.name(), nil)
	r.Cache("slow", s.name(), up.URL+"/moving"+s.Upstream, 0)
	s.fill(t, r, "moving", 0, 1)
	s.named(t, r, "slow", 0, 1)
	r.Get("slow", s.Files(1)[0]) // so that a copy is there
	old := r.Get("moving", file)
	began, goOn := make(chan struct{}), make(chan struct{})
	var once sync.Once
	up.Misbehave(func(w http.ResponseWriter, req *http.Request) bool {
		if !strings.HasSuffix(req.URL.Path, "/"+file) {
			return false
		}
		once.Do(func() { close(began) })
		<-goOn
		w.Write(old) //nolint:errcheck // a test server
		return true
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, _, err := r.Send(t.Context(), "slow", "GET", file, nil); err != nil {
			t.Errorf("the fetch that began before: %v", err)
		}
	})
	<-began
	if _, _, err := r.Send(t.Context(), "moving", "DELETE", s.Remove(0), nil); err != nil {
		t.Error(err)
	}
	if err := s.publish(t, r, "moving", s.Conflict(t, 0)); err != nil {
		t.Error(err)
	}
	s.named(t, r, "slow", 0, 1)
	close(goOn)
	wg.Wait()
	up.Misbehave(nil)
	if !bytes.Equal(r.Get("slow", file), r.Get("moving", file)) {
		t.Errorf("%s is what the upstream had when a fetch of it began", file)
	}
}
