package formattest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"granary/formats"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/repotest"
)

// promotionDies: a promotion of a whole repository, by its directories, that dies
// at any of its writes shows all of it or nothing, files and documents, and is
// whole once it was gone on with.
func (s Sample) promotionDies(t *testing.T) {
	store := repotest.NewDying()
	r := s.rig(t, repotest.Options{KV: store})
	src := r.Create("staging", config.Hosted, s.name(), nil)
	s.fill(t, r, "staging", 0, 1, 2)
	want := keys(t, r, src)
	for step := 1; ; step++ {
		dst := r.Create(fmt.Sprint("release", step), config.Hosted, s.name(), nil)
		s.fill(t, r, dst.Name, 0)
		p := repo.Promotion{ID: fmt.Sprint("p", step), Source: src.ID, Target: dst.ID, Paths: tops(t, r, "staging")}
		cursor, crashed := "", false
		run := func() error {
			return r.Promote(t.Context(), p, cursor, func(next string, _ repo.Copied) error {
				cursor = next
				return nil
			})
		}
		store.Set(step)
		for err := run(); err != nil; err = run() {
			store.Set(-1)
			if !errors.Is(err, repotest.ErrDied) || crashed {
				t.Fatalf("step %d: %v", step, err)
			}
			crashed = true
			s.allOrNothing(t, r, dst.Name, step)
		}
		store.Set(-1)
		s.wants(t, r, dst.Name, 0, 1, 2)
		if got := keys(t, r, dst); !slices.Equal(got, want) {
			t.Fatalf("step %d: the target has %q, the source %q", step, got, want)
		}
		if t.Failed() || !crashed {
			return
		}
	}
}

// uploadDies: after an upload that died at any of its writes documents name no
// version whose first file can't be fetched, and the same upload again makes all
// of it whole, whatever the conflict policy.
func (s Sample) uploadDies(t *testing.T) {
	for _, policy := range []config.Policy{config.AllowIdentical, config.Deny} {
		store := repotest.NewDying()
		r := s.rig(t, repotest.Options{KV: store})
		for step := 1; ; step++ {
			name := fmt.Sprint("h", step)
			r.Create(name, config.Hosted, s.name(), func(c *config.Repository) { c.ConflictPolicy = policy })
			s.fill(t, r, name, 0)
			store.Set(step)
			err := s.publish(t, r, name, s.Upload(t, 1))
			store.Set(-1)
			if err != nil && !errors.Is(err, repotest.ErrDied) {
				t.Fatalf("%s, step %d: %v", policy, step, err)
			}
			s.namedIsThere(t, r, name, step)
			if again := s.publish(t, r, name, s.Upload(t, 1)); again != nil && (policy != config.Deny || !errors.Is(again, formats.ErrExists)) {
				t.Fatalf("%s, step %d: again: %v", policy, step, again)
			}
			s.wants(t, r, name, 0, 1)
			if t.Failed() {
				t.Fatalf("%s, step %d", policy, step)
			}
			if err == nil {
				break
			}
		}
	}
}

// removalDies: a removal that dies at any of its writes is done by the same one
// again, or was.
func (s Sample) removalDies(t *testing.T) {
	if s.Remove == nil {
		t.Skip("nothing is removed")
	}
	store := repotest.NewDying()
	r := s.rig(t, repotest.Options{KV: store})
	for step := 1; ; step++ {
		name := fmt.Sprint("h", step)
		r.Create(name, config.Hosted, s.name(), nil)
		s.fill(t, r, name, 0, 1)
		s.wants(t, r, name, 0, 1)
		store.Set(step)
		_, _, err := r.Send(t.Context(), name, "DELETE", s.Remove(1), nil)
		store.Set(-1)
		if err != nil && !errors.Is(err, repotest.ErrDied) {
			t.Fatalf("step %d: %v", step, err)
		}
		if _, _, again := r.Send(t.Context(), name, "DELETE", s.Remove(1), nil); again != nil && !errors.Is(again, formats.ErrNotFound) {
			t.Fatalf("step %d: again: %v", step, again)
		}
		s.wants(t, r, name, 0)
		for _, f := range s.Files(1) {
			r.Refused(formats.ErrNotFound, name, "GET", f, nil)
		}
		s.fill(t, r, name, 1) // nothing is in its way
		s.wants(t, r, name, 0, 1)
		if t.Failed() {
			t.Fatalf("step %d", step)
		}
		if err == nil {
			return
		}
	}
}

// namedIsThere fails if a document names version 1 and its first file is not
// there.
func (s Sample) namedIsThere(t *testing.T, r *repotest.Rig, repository string, step int) {
	t.Helper()
	for _, doc := range s.Docs {
		for _, f := range s.First {
			r.Get(repository, f)
		}
		if !strings.Contains(s.text(t, r.Get(repository, doc)), s.Named(1)) {
			continue
		}
		if _, _, err := r.Send(t.Context(), repository, "GET", s.Files(1)[0], nil); err != nil {
			t.Errorf("step %d: %s names version 1, and %v", step, doc, err)
		}
	}
}

// allOrNothing fails unless versions 1 and 2 are there or neither, and documents
// name what is.
func (s Sample) allOrNothing(t *testing.T, r *repotest.Rig, repository string, step int) {
	t.Helper()
	files := slices.Concat(s.Files(1), s.Files(2))
	seen := 0
	for _, f := range files {
		switch _, _, err := r.Send(t.Context(), repository, "GET", f, nil); {
		case err == nil:
			seen++
		case !errors.Is(err, formats.ErrNotFound):
			t.Fatalf("step %d: %s: %v", step, f, err)
		}
	}
	switch seen {
	case 0:
		s.named(t, r, repository, 0)
	case len(files):
		s.notHalf(t, r, repository, step)
	default:
		t.Fatalf("step %d: %d of %d files are seen", step, seen, len(files))
	}
}

// notHalf: until the documents are told of a promotion they may be those of
// before.
func (s Sample) notHalf(t *testing.T, r *repotest.Rig, repository string, step int) {
	t.Helper()
	for _, doc := range s.Docs {
		for _, f := range s.First {
			r.Get(repository, f)
		}
		text := s.text(t, r.Get(repository, doc))
		if strings.Contains(text, s.Named(1)) != strings.Contains(text, s.Named(2)) {
			t.Errorf("step %d: half a promotion in %s:\n%.2000s", step, doc, text)
		}
	}
}
