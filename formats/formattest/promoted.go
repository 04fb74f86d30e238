package formattest

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"granary/formats"
	"granary/kv"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/record"
	"granary/repo/repotest"
)

// promoted: a repository that is promoted by its directories is listed in the
// target as one that was published there, also after the promotion was repeated,
// and what is removed from the target is listed there no more.
func (s Sample) promoted(t *testing.T) {
	r := s.rig(t, repotest.Options{})
	src := r.Create("staging", config.Hosted, s.name(), nil)
	dst := r.Create("release", config.Hosted, s.name(), nil)
	const versions = 3
	for n := range versions {
		if err := s.publish(t, r, "staging", s.Upload(t, n)); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"first", "again"} {
		p := repo.Promotion{ID: id, Source: src.ID, Target: dst.ID, Paths: tops(t, r, "staging")}
		if err := r.Promote(t.Context(), p, "", func(string, repo.Copied) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if got, want := keys(t, r, dst), keys(t, r, src); !slices.Equal(got, want) {
			t.Errorf("the target has %q, the source %q", got, want)
		}
		s.lists(t, r, "release", 0, versions)
		for n := range versions {
			for _, path := range s.Files(n) {
				r.Get("release", path)
			}
		}
	}
	if s.Remove == nil {
		return
	}
	if _, _, err := r.Send(t.Context(), "release", "DELETE", s.Remove(0), nil); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Send(t.Context(), "release", "GET", s.Files(0)[0], nil); !errors.Is(err, formats.ErrNotFound) {
		t.Errorf("%s after its removal: %v", s.Files(0)[0], err)
	}
	s.lists(t, r, "release", 1, versions)
}

// tops are the files and directories that a repository has at its top.
func tops(t *testing.T, r *repotest.Rig, repository string) []string {
	t.Helper()
	paths := map[string]bool{}
	for rec, err := range r.Open(repository).Walk(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		top, _, _ := strings.Cut(rec.Key(), "/")
		paths[top] = true
	}
	return slices.Sorted(maps.Keys(paths))
}

// keys are the names of all records, those that nobody browses too.
func keys(t *testing.T, r *repotest.Rig, c *config.Repository) []string {
	t.Helper()
	var out []string
	sp := kv.Space{Repo: c.ID, Shards: c.Shards}
	for shard := range sp.Shards {
		for n, err := range r.Records.Shard(t.Context(), sp, shard, "", record.Consistent) {
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, n.Scope+"//"+n.Name)
		}
	}
	slices.Sort(out)
	return out
}

// lists wants the documents to name just the versions from first to before end.
func (s Sample) lists(t *testing.T, r *repotest.Rig, repository string, first, end int) {
	t.Helper()
	for _, doc := range s.Docs {
		for _, path := range s.First {
			r.Get(repository, path)
		}
		text := s.text(t, r.Get(repository, doc))
		for n := range end {
			if got, want := strings.Contains(text, s.Named(n)), n >= first; got != want {
				t.Errorf("%s of %s names version %d: %v, want %v", doc, repository, n, got, want)
			}
		}
	}
}
