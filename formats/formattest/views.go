package formattest

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"granary/formats"
	"granary/kv/mem"
	"granary/repo/config"
	"granary/repo/repotest"
)

// Upload is a request that publishes something.
type Upload struct {
	Method, Target string
	Header         http.Header
	Body           []byte
}

// Sample is what [Views] needs to know of a format: how a version is published
// and what clients then find. Versions are numbered from 0.
type Sample struct {
	New func(now func() time.Time) formats.Format
	// Upload publishes version n. It returns the same bytes each time.
	Upload func(t testing.TB, n int) Upload
	// Conflict publishes version n with other bytes. Optional: nil where that
	// is allowed.
	Conflict func(t testing.TB, n int) Upload
	// Files are the paths that version n is fetched from, those that need a
	// document of the upstream too.
	Files func(n int) []string
	// Docs are the paths of the documents that name all versions. Optional.
	Docs []string
	// First are the paths that clients read before each of Docs. Optional.
	First []string
	// Text makes a document readable, such as one that is compressed. Optional.
	Text func(t testing.TB, doc []byte) string
	// Named is what these documents say of version n.
	Named func(n int) string
	// Checked are files of version 0 of which a cache notices that an upstream
	// sends other bytes. Optional.
	Checked []string
	// Release is "package@version" of version n; for formats that are Releasers.
	Release func(n int) string
	// Verbatim: a cache passes the upstream's documents on as they are, so that
	// its rules hold for files alone, and in a group for both.
	Verbatim bool
	// Undated: the documents name versions without their times, so that rules of
	// age hold for files alone.
	Undated bool
	// Remove deletes version n. Optional.
	Remove func(n int) string
	// Empty: the documents are there, and name nothing, before anything is
	// published.
	Empty bool
	// Upstream is what a cache's upstream URL has after that of the repository,
	// such as "/simple/". Optional.
	Upstream string
}

// Views runs a format through hosted, cache, group and nested group
// repositories, with upstreams that are down or lie, and with publishers on two
// nodes: what every format must do whatever it is about.
func Views(t *testing.T, s Sample) {
	t.Run("hosted", s.hosted)
	t.Run("cost", s.cost)
	t.Run("cache", s.cache)
	t.Run("group", s.group)
	t.Run("wrong bytes", s.wrongBytes)
	t.Run("upstream down", s.upstreamDown)
	t.Run("upstream unreadable", s.upstreamUnreadable)
	t.Run("upstream replaces", s.upstreamReplaces)
	t.Run("upstream replaces, cache dies", s.replacedAndDied)
	t.Run("two nodes", s.twoNodes)
	t.Run("conditions", s.conditions)
	t.Run("promoted", s.promoted)
	t.Run("promotion dies", s.promotionDies)
	t.Run("upload dies", s.uploadDies)
	t.Run("removal dies", s.removalDies)
	t.Run("as it was", s.asItWas)
	if _, ok := s.New(time.Now).(formats.Releaser); ok {
		t.Run("policies", s.policies)
	}
	t.Run("bytes gone bad", s.goneBad)
	t.Run("bytes rot", s.rots)
	t.Run("quarantine", s.quarantined)
}

func (s Sample) rig(t *testing.T, o repotest.Options) *repotest.Rig {
	o.Formats = func(now func() time.Time) []formats.Format { return []formats.Format{s.New(now)} }
	return repotest.New(t, o)
}

func (s Sample) text(t testing.TB, doc []byte) string {
	if s.Text == nil {
		return string(doc)
	}
	return s.Text(t, doc)
}

func (s Sample) name() string { return s.New(time.Now).Name() }

func (s Sample) publish(t *testing.T, r *repotest.Rig, repository string, u Upload) error {
	t.Helper()
	var header []string
	for k := range u.Header {
		header = append(header, k, u.Header.Get(k))
	}
	_, _, err := r.Send(t.Context(), repository, u.Method, u.Target, u.Body, header...)
	return err
}

func (s Sample) fill(t *testing.T, r *repotest.Rig, repository string, versions ...int) {
	t.Helper()
	for _, n := range versions {
		if err := s.publish(t, r, repository, s.Upload(t, n)); err != nil {
			t.Fatalf("publish version %d to %s: %v", n, repository, err)
		}
	}
}

// wants fails unless the repository has just these versions, files and
// documents alike.
func (s Sample) wants(t *testing.T, r *repotest.Rig, repository string, versions ...int) {
	t.Helper()
	for _, n := range versions {
		for _, f := range s.Files(n) {
			if b := r.Get(repository, f); len(b) == 0 {
				t.Errorf("%s/%s is empty", repository, f)
			}
		}
	}
	s.named(t, r, repository, versions...)
}

// named fails unless the documents of a repository name just these versions.
func (s Sample) named(t *testing.T, r *repotest.Rig, repository string, versions ...int) {
	t.Helper()
	for _, d := range s.Docs {
		for _, f := range s.First {
			r.Get(repository, f)
		}
		doc := s.text(t, r.Get(repository, d))
		for n := range 40 {
			has, want := strings.Contains(doc, s.Named(n)), contains(versions, n)
			if has != want {
				t.Errorf("%s/%s names version %d: %v, want %v:\n%.2000s", repository, d, n, has, want, doc)
			}
		}
	}
}

func contains(versions []int, n int) bool {
	for _, v := range versions {
		if v == n {
			return true
		}
	}
	return false
}

func (s Sample) hosted(t *testing.T) {
	r := s.rig(t, repotest.Options{})
	r.Create("h", config.Hosted, s.name(), nil)
	for _, f := range s.Files(0) {
		r.Refused(formats.ErrNotFound, "h", "GET", f, nil)
	}
	for _, d := range s.Docs {
		if s.Empty {
			r.Get("h", d)
		} else {
			r.Refused(formats.ErrNotFound, "h", "GET", d, nil)
		}
	}
	s.fill(t, r, "h", 0, 1, 2)
	s.wants(t, r, "h", 0, 1, 2)
	s.fill(t, r, "h", 1) // the same bytes again
	s.wants(t, r, "h", 0, 1, 2)
	if s.Conflict != nil {
		was := r.Get("h", s.Files(1)[0])
		if err := s.publish(t, r, "h", s.Conflict(t, 1)); !errors.Is(err, formats.ErrExists) {
			t.Errorf("other bytes of a published version: %v, want ErrExists", err)
		}
		if !bytes.Equal(was, r.Get("h", s.Files(1)[0])) {
			t.Error("a refused upload changed what is published")
		}
	}
	// Documents that nothing changed cost one read.
	for _, d := range s.Docs {
		r.KV.Reset()
		r.Get("h", d)
		if r.KV.Reads() != 1 || r.KV.Writes() != 0 {
			t.Errorf("%s unchanged cost %v, want one read", d, r.KV.Calls())
		}
	}
	if s.Remove != nil {
		if _, _, err := r.Send(t.Context(), "h", "DELETE", s.Remove(1), nil); err != nil {
			t.Fatalf("delete version 1: %v", err)
		}
		s.wants(t, r, "h", 0, 2)
		r.Refused(formats.ErrNotFound, "h", "DELETE", s.Remove(1), nil)
	}
}

// cost: publishing does not become dearer with what was published before.
func (s Sample) cost(t *testing.T) {
	r := s.rig(t, repotest.Options{})
	r.Create("h", config.Hosted, s.name(), nil)
	var costs []string
	for n := range 40 {
		r.KV.Reset()
		s.fill(t, r, "h", n)
		costs = append(costs, fmt.Sprint(r.KV.Calls()))
	}
	if costs[2] != costs[39] {
		t.Errorf("the third upload cost %s, the fortieth %s", costs[2], costs[39])
	}
}

func (s Sample) cache(t *testing.T) {
	r := s.rig(t, repotest.Options{})
	r.Create("origin", config.Hosted, s.name(), nil)
	up := r.Serve(t)
	r.Cache("c", s.name(), up.URL+"/origin"+s.Upstream, 0)
	s.fill(t, r, "origin", 0, 1)
	s.wants(t, r, "c", 0, 1)
	s.fill(t, r, "origin", 2)
	s.wants(t, r, "c", 0, 1, 2)
	if err := s.publish(t, r, "c", s.Upload(t, 3)); !errors.Is(err, formats.ErrNotAllowed) {
		t.Errorf("an upload to a cache: %v, want ErrNotAllowed", err)
	}
	for _, f := range s.Files(9) {
		r.Refused(formats.ErrNotFound, "c", "GET", f, nil)
	}
	var wg sync.WaitGroup
	r.Cache("c2", s.name(), up.URL+"/origin"+s.Upstream, 60)
	before := up.Requests()
	for range 50 {
		wg.Go(func() {
			if _, _, err := r.Send(t.Context(), "c2", "GET", s.Files(0)[0], nil); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := up.Requests() - before; n > 3 {
		t.Errorf("50 clients at once made %d requests to the upstream", n)
	}
	up.Kill()
	s.wants(t, r, "c", 0, 1, 2)
}

func (s Sample) group(t *testing.T) {
	r := s.rig(t, repotest.Options{})
	for _, name := range []string{"origin", "one", "two"} {
		r.Create(name, config.Hosted, s.name(), nil)
	}
	up := r.Serve(t)
	r.Cache("c", s.name(), up.URL+"/origin"+s.Upstream, 0)
	r.Group("g", s.name(), "one", "c")
	r.Group("nested", s.name(), "two", "g")
	s.fill(t, r, "origin", 0)
	s.fill(t, r, "one", 1)
	s.fill(t, r, "two", 2)
	s.wants(t, r, "g", 0, 1)
	s.wants(t, r, "nested", 0, 1, 2)
	s.fill(t, r, "one", 3)
	s.wants(t, r, "nested", 0, 1, 2, 3)
	if s.Conflict != nil {
		// The first member that has a version wins.
		if err := s.publish(t, r, "two", s.Conflict(t, 1)); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(r.Get("nested", s.Files(1)[0]), r.Get("two", s.Files(1)[0])) {
			t.Error("a later member's file was served")
		}
	}
	up.Misbehave(repotest.Down(http.StatusInternalServerError))
	s.wants(t, r, "nested", 0, 1, 2, 3)
}

func (s Sample) wrongBytes(t *testing.T) {
	r := s.rig(t, repotest.Options{})
	r.Create("origin", config.Hosted, s.name(), nil)
	up := r.Serve(t)
	r.Cache("c", s.name(), up.URL+"/origin"+s.Upstream, 60)
	s.fill(t, r, "origin", 0)
	for _, f := range s.Checked {
		good := r.Get("origin", f)
		up.Misbehave(func(w http.ResponseWriter, req *http.Request) bool {
			if !strings.HasSuffix(req.URL.Path, "/"+f) {
				return false
			}
			bad := bytes.Clone(good)
			for i := len(bad) / 4; i < len(bad)*3/4; i++ {
				bad[i] ^= 0x55
			}
			w.Write(bad) //nolint:errcheck // a test server
			return true
		})
		r.Refused(formats.ErrUpstream, "c", "GET", f, nil)
		up.Misbehave(nil)
		if !bytes.Equal(r.Get("c", f), good) {
			t.Errorf("%s was not fetched again after wrong bytes", f)
		}
	}
}

// upstreamDown: that the upstream could not be asked is never "not found".
func (s Sample) upstreamDown(t *testing.T) {
	for _, status := range []int{401, 403, 429, 500, 502, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			r := s.rig(t, repotest.Options{})
			r.Create("origin", config.Hosted, s.name(), nil)
			up := r.Serve(t)
			up.Misbehave(repotest.Down(status))
			r.Cache("c", s.name(), up.URL+"/origin"+s.Upstream, 60)
			for _, f := range append(s.Files(0), s.Docs...) {
				_, _, err := r.Send(t.Context(), "c", "GET", f, nil)
				if err == nil || errors.Is(err, formats.ErrNotFound) {
					t.Errorf("%s with the upstream answering %d: %v", f, status, err)
				}
			}
		})
	}
}

// upstreamUnreadable: what is no document of the format is not taken for one
// that names nothing, by a group either; and it does not stand in the way of the
// other members, whose document says what it lacks.
func (s Sample) upstreamUnreadable(t *testing.T) {
	if len(s.Docs) == 0 {
		return
	}
	r := s.rig(t, repotest.Options{})
	r.Create("origin", config.Hosted, s.name(), nil)
	r.Create("own", config.Hosted, s.name(), nil)
	up := r.Serve(t)
	r.Cache("c", s.name(), up.URL+"/origin"+s.Upstream, 0)
	r.Group("alone", s.name(), "c")
	r.Group("g", s.name(), "c", "own")
	s.fill(t, r, "origin", 0)
	s.fill(t, r, "own", 1)
	up.Misbehave(func(w http.ResponseWriter, _ *http.Request) bool {
		w.Write([]byte("\x00 { under maintenance")) //nolint:errcheck // a test server
		return true
	})
	for _, d := range s.Docs {
		if _, _, err := r.Send(t.Context(), "c", "GET", d, nil); !errors.Is(err, formats.ErrUpstream) {
			continue // nothing says that this is no document
		}
		r.Refused(formats.ErrUpstream, "alone", "GET", d, nil)
		s.named(t, r, "g", 1)
		if c, _, err := r.Send(t.Context(), "g", "GET", d, nil); err != nil || c != nil && c.Warning == "" { // a Call has no content to say it with
			t.Errorf("g/%s does not say that it lacks a member: %v", d, err)
		}
	}
	up.Misbehave(nil)
	s.named(t, r, "g", 0, 1)
	for _, d := range s.Docs {
		if c, _, err := r.Send(t.Context(), "g", "GET", d, nil); err != nil || c != nil && c.Warning != "" {
			t.Errorf("g/%s with all members: %v, %+v", d, err, c)
		}
	}
}

// twoNodes: twenty publishers on two nodes lose nothing.
func (s Sample) twoNodes(t *testing.T) {
	shared := mem.New(mem.Options{Misuse: func(err error) { t.Error(err) }})
	a := s.rig(t, repotest.Options{KV: shared})
	b := s.rig(t, repotest.Options{KV: shared, Blobs: a.Blobs})
	a.Create("h", config.Hosted, s.name(), nil)
	if err := b.Registry.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var all []int
	for n := range 20 {
		all = append(all, n)
		node := []*repotest.Rig{a, b}[n%2]
		u := s.Upload(t, n)
		wg.Go(func() {
			if err := s.publish(t, node, "h", u); err != nil {
				t.Errorf("publish version %d: %v", n, err)
			}
			// What is answered is in the next document, on the other node too.
			for _, d := range s.Docs {
				for _, r := range []*repotest.Rig{a, b} {
					_, doc, err := r.Send(t.Context(), "h", "GET", d, nil)
					if err != nil || !strings.Contains(s.text(t, doc), s.Named(n)) {
						t.Errorf("%s does not name version %d right after it was published (%v)", d, n, err)
					}
				}
			}
		})
	}
	wg.Wait()
	s.wants(t, a, "h", all...)
	s.wants(t, b, "h", all...)
}
