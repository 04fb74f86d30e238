package formattest

import (
	"errors"
	"testing"

	"granary/formats"
	"granary/repo/config"
	"granary/repo/repotest"
)

// quarantined puts a version away by the path that clients fetch it from:
// documents and downloads agree, in a hosted repository and in a group of it,
// and it comes back. A cache refuses the download, whatever its upstream's
// documents say.
func (s Sample) quarantined(t *testing.T) {
	r := s.rig(t, repotest.Options{})
	for _, name := range []string{"h", "origin"} {
		r.Create(name, config.Hosted, s.name(), nil)
		s.fill(t, r, name, 0, 1)
	}
	r.Group("g", s.name(), "h")
	r.Cache("c", s.name(), r.Serve(t).URL+"/origin"+s.Upstream, -1)
	all := func() {
		t.Helper()
		for _, name := range []string{"h", "g", "c"} {
			s.wants(t, r, name, 0, 1)
		}
	}
	put := func(items ...config.Quarantined) {
		t.Helper()
		for _, name := range []string{"h", "c"} {
			_, err := r.Registry.UpdateRepository(t.Context(), name, func(c *config.Repository) error {
				c.Quarantine = items
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	all()
	path := s.Files(1)[0]
	put(config.Quarantined{Item: path, Reason: "why"})
	s.wants(t, r, "h", 0)
	s.wants(t, r, "g", 0)
	r.Refused(formats.ErrBlocked, "h", "GET", path, nil)
	r.Refused(formats.ErrNotFound, "g", "GET", path, nil)
	if _, _, err := r.Send(t.Context(), "c", "GET", path, nil); !errors.Is(err, formats.ErrBlocked) {
		t.Errorf("the cache's copy: %v", err)
	}
	put()
	all()
}
