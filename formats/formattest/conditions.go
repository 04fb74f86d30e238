package formattest

import (
	"errors"
	"fmt"
	"testing"

	"granary/formats"
	"granary/repo/config"
	"granary/repo/repotest"
)

// conditions: If-Match and If-None-Match of an upload or a removal are about the
// file, whatever else the format writes or removes before or after it.
func (s Sample) conditions(t *testing.T) {
	r := s.rig(t, repotest.Options{})
	r.Create("r", config.Hosted, s.name(), func(c *config.Repository) { c.ConflictPolicy = config.Allow })
	put := func(u Upload, header ...string) error {
		for k := range u.Header {
			header = append(header, k, u.Header.Get(k))
		}
		_, _, err := r.Send(t.Context(), "r", u.Method, u.Target, u.Body, header...)
		return err
	}
	tag := func() string {
		c, _, err := r.Send(t.Context(), "r", "GET", s.Files(0)[0], nil)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%q", fmt.Sprintf("%x", c.Sums.BLAKE3))
	}
	other := s.Conflict
	if other == nil {
		other = s.Upload
	}
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, formats.ErrPrecondition) {
			t.Errorf("%s: %v, want %v", what, err, formats.ErrPrecondition)
		}
	}
	done := func(what string, err error) {
		t.Helper()
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("If-Match: * on nothing", put(s.Upload(t, 0), "If-Match", "*"))
	done("If-None-Match: * on nothing", put(s.Upload(t, 0), "If-None-Match", "*"))
	was := tag()
	refused("If-None-Match: * on something", put(other(t, 0), "If-None-Match", "*"))
	refused("If-None-Match with its tag", put(other(t, 0), "If-None-Match", was))
	refused("If-Match with another tag", put(other(t, 0), "If-Match", `"0"`))
	if now := tag(); now != was {
		t.Errorf("refused uploads made %s of %s", now, was)
	}
	done("If-Match with its tag", put(s.Upload(t, 0), "If-Match", was))
	if s.Remove == nil {
		return
	}
	remove := func(header, value string) error {
		_, _, err := r.Send(t.Context(), "r", "DELETE", s.Remove(0), nil, header, value)
		return err
	}
	refused("removal If-Match with another tag", remove("If-Match", `"0"`))
	if now := tag(); now != was {
		t.Errorf("a refused removal made %s of %s", now, was)
	}
	done("removal If-Match with its tag", remove("If-Match", was))
}
