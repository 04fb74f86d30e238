package formattest

import (
	"errors"
	"fmt"
	"regexp"
	"testing"
	"time"

	"granary/repo"
	"granary/repo/config"
	"granary/repo/repotest"
)

// policies: what a rule hides is in no index and can't be downloaded, and the
// refusal has its reason.
func (s Sample) policies(t *testing.T) {
	if s.Release == nil {
		t.Fatal("the sample of a format with releases does not name them")
	}
	r := s.rig(t, repotest.Options{})
	for _, name := range []string{"origin", "h"} {
		r.Create(name, config.Hosted, s.name(), nil)
	}
	up := r.Serve(t)
	r.Cache("c", s.name(), up.URL+"/origin"+s.Upstream, 0)
	r.Group("g", s.name(), "c")
	s.fill(t, r, "origin", 0)
	r.Clock.Advance(10 * 24 * time.Hour)
	s.fill(t, r, "origin", 1)
	s.wants(t, r, "c", 0, 1)

	rules := func(patterns []string, days *int64) {
		t.Helper()
		_, err := r.Registry.UpdateRepository(t.Context(), "c", func(c *config.Repository) error {
			c.BlockPatterns, c.MinimumAgeDays = patterns, days
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	rules([]string{"^" + regexp.QuoteMeta(s.Release(1)) + "$"}, nil)
	s.hides(t, r, repo.ReasonBlocked, s.Verbatim, false)
	week := int64(7)
	rules(nil, &week)
	s.hides(t, r, repo.ReasonTooYoung, s.Verbatim || s.Undated, s.Undated)
	r.Clock.Advance(8 * 24 * time.Hour)
	s.wants(t, r, "c", 0, 1)
	s.wants(t, r, "g", 0, 1)
	rules(nil, nil)

	r.Claiming("claiming", s.name(), "c", "h")
	s.wants(t, r, "claiming", 0, 1)
	s.fill(t, r, "h", 2)
	s.wants(t, r, "claiming", 2)
	for _, f := range s.Files(0) {
		if got := s.reason(t, r, "claiming", f); !s.Verbatim && got != repo.ReasonClaimed {
			t.Errorf("%s of a claimed name: %s", f, got)
		}
	}
	s.wants(t, r, "c", 0, 1)
}

// hides fails unless version 1, and no other, is refused for a reason, from the
// cache and from the group, and not named. cached and grouped: their documents
// name it all the same.
func (s Sample) hides(t *testing.T, r *repotest.Rig, reason string, cached, grouped bool) {
	t.Helper()
	for name, named := range map[string]bool{"c": cached, "g": grouped} {
		versions := []int{0}
		if named {
			versions = append(versions, 1)
		}
		s.named(t, r, name, versions...)
		for _, f := range s.Files(0) {
			r.Get(name, f)
		}
		for _, f := range s.Files(1) {
			if got := s.reason(t, r, name, f); got != reason {
				t.Errorf("%s/%s: %s, want %s", name, f, got, reason)
			}
		}
	}
}

// reason is why a file is refused.
func (s Sample) reason(t *testing.T, r *repotest.Rig, repository, path string) string {
	t.Helper()
	_, _, err := r.Send(t.Context(), repository, "GET", path, nil)
	var p *repo.PolicyError
	if errors.As(err, &p) {
		return p.Reason
	}
	return fmt.Sprint(err)
}
