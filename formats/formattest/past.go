package formattest

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"granary/formats"
	"granary/repo/config"
	"granary/repo/repotest"
)

// asItWas reads hosted, cached and grouped repositories as of times and
// snapshots, files and documents alike, whatever was published and removed
// since.
func (s Sample) asItWas(t *testing.T) {
	up, r := s.rig(t, repotest.Options{}), s.rig(t, repotest.Options{})
	server := up.Serve(t)
	up.Create("u", config.Hosted, s.name(), nil)
	r.Create("h", config.Hosted, s.name(), nil)
	r.Create("other", config.Hosted, s.name(), nil)
	r.Cache("c", s.name(), server.URL+"/u"+s.Upstream, 0)
	r.Group("g", s.name(), "h", "c")
	r.Group("outer", s.name(), "g")

	before := r.Clock.Now().Format(time.RFC3339Nano)
	r.Clock.Advance(time.Hour)
	s.fill(t, r, "h", 0)
	s.fill(t, up, "u", 1)
	s.wants(t, r, "outer", 0, 1)
	s.wants(t, r, "c", 1) // documents that a cache passes on are other ones than those that it merges
	s.snapshot(t, r, "h", "first")
	s.snapshot(t, r, "outer", "first")
	r.Clock.Advance(time.Hour)
	between := r.Clock.Now().Format(time.RFC3339Nano)
	r.Clock.Advance(time.Hour)

	s.fill(t, r, "h", 2)
	s.fill(t, up, "u", 3)
	s.wants(t, r, "outer", 0, 1, 2, 3)
	s.wants(t, r, "c", 1, 3)
	s.snapshot(t, r, "c", "second")
	if s.Remove != nil {
		if _, _, err := r.Send(t.Context(), "h", http.MethodDelete, s.Remove(0), nil); err != nil {
			t.Fatal(err)
		}
	}
	// The group is another one by now.
	id := r.Registry.Known()
	_, err := r.Registry.UpdateRepository(t.Context(), "g", func(c *config.Repository) error {
		for _, o := range id.Repositories {
			if o.Name == "other" {
				c.Members, c.WriteMember = []string{o.ID}, ""
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	server.Kill()
	// Twice: what is still young is not stored, what is settled is.
	for range 2 {
		for _, at := range []string{"h@first", "h@" + between} {
			s.wants(t, r, at, 0)
		}
		s.wants(t, r, "outer@first", 0, 1)
		s.wants(t, r, "c@"+between, 1)
		s.wants(t, r, "c@second", 1, 3)
		for _, d := range s.Docs {
			if _, body, err := r.Send(t.Context(), "h@"+before, http.MethodGet, d, nil); err == nil && strings.Contains(s.text(t, body), s.Named(0)) {
				t.Errorf("%s of a time before all names version 0: %s", d, body)
			}
		}
		for _, f := range s.Files(0) {
			r.Refused(formats.ErrNotFound, "h@"+before, http.MethodGet, f, nil)
		}
		for _, f := range s.Files(3) {
			r.Refused(formats.ErrNotFound, "c@first", http.MethodGet, f, nil)
			r.Refused(formats.ErrNotFound, "c@"+between, http.MethodGet, f, nil)
		}
		r.Clock.Advance(time.Hour)
	}
	u := s.Upload(t, 4)
	r.Refused(formats.ErrNotAllowed, "h@first", u.Method, u.Target, u.Body)
}

func (s Sample) snapshot(t *testing.T, r *repotest.Rig, repository, name string) {
	t.Helper()
	if _, err := r.Snapshot(t.Context(), repository, name, "tester"); err != nil {
		t.Fatal(err)
	}
}
