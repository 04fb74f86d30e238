package repo_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/all"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/record"
	"granary/repo/repotest"
)

// A promotion that dies at any write shows all or nothing, files and documents,
// and is whole once it was gone on with.
func TestPromotionCrashesAnywhere(t *testing.T) {
	paths := []string{module + "/@v/v1.1.0.zip", module + "/@v/v1.2.0.zip"}
	for step := 1; ; step++ {
		store := repotest.NewDying()
		r := repotest.New(t, repotest.Options{Formats: all.Formats, KV: store})
		src := r.Create("staging", config.Hosted, "golang", nil)
		dst := r.Create("release", config.Hosted, "golang", nil)
		for _, v := range []string{"v1.0.0", "v1.1.0", "v1.2.0"} {
			if err := publish(t, r, "staging", v); err != nil {
				t.Fatal(err)
			}
		}
		if err := publish(t, r, "release", "v1.0.0"); err != nil {
			t.Fatal(err)
		}
		list := func() string { return string(r.Get("release", module+"/@v/list")) }
		if list() != "v1.0.0\n" {
			t.Fatalf("list before: %q", list())
		}
		p := repo.Promotion{ID: fmt.Sprint("p", step), Source: src.ID, Target: dst.ID, Paths: paths}
		cursor, crashed := "", false
		run := func() error {
			return r.Promote(t.Context(), p, cursor, func(next string, _ repo.Copied) error {
				cursor = next
				return nil
			})
		}
		store.Set(step)
		for err := run(); err != nil; err = run() {
			if !errors.Is(err, repotest.ErrDied) {
				t.Fatal(err)
			}
			store.Set(-1)
			crashed = true
			seen := 0
			for _, path := range paths {
				if _, _, err := r.Send(t.Context(), "release", http.MethodGet, path, nil); err == nil {
					seen++
				} else if !errors.Is(err, formats.ErrNotFound) {
					t.Fatal(err)
				}
			}
			if seen != 0 && seen != len(paths) {
				t.Fatalf("step %d: %d of %d files are seen", step, seen, len(paths))
			}
			if got := list(); got != "v1.0.0\n" && got != "v1.0.0\nv1.1.0\nv1.2.0\n" {
				t.Fatalf("step %d: half a promotion in the list: %q", step, got)
			}
		}
		store.Set(-1)
		if got := list(); got != "v1.0.0\nv1.1.0\nv1.2.0\n" {
			t.Fatalf("step %d: list %q", step, got)
		}
		if got := string(r.Get("release", module+"/@latest")); !strings.Contains(got, "v1.2.0") {
			t.Fatalf("step %d: latest %q", step, got)
		}
		n := 0
		for range contents(t, r, "release") {
			n++
		}
		if n != 9 {
			t.Errorf("step %d: %d files, want 9", step, n)
		}
		if !crashed {
			return
		}
	}
}

// What the target's policy refuses makes the whole of a promotion come to
// nothing, also where it would have replaced something.
func TestRefusedPromotion(t *testing.T) {
	r := newRig(t)
	src := r.Create("staging", config.Hosted, "raw", nil)
	dst := r.Create("release", config.Hosted, "raw", func(c *config.Repository) { c.ConflictPolicy = config.AllowIdentical })
	r.Put("staging", "a/new", []byte("new"))
	r.Put("staging", "a/same", []byte("same"))
	r.Put("staging", "z/other", []byte("new"))
	r.Put("release", "a/same", []byte("same"))
	r.Put("release", "z/other", []byte("old"))
	promote := func(id string, paths ...string) error {
		return r.Promote(t.Context(), repo.Promotion{ID: id, Source: src.ID, Target: dst.ID, Paths: paths}, "", func(string, repo.Copied) error { return nil })
	}
	if err := promote("p1", "a", "z"); !errors.Is(err, formats.ErrExists) {
		t.Errorf("promotion over other bytes: %v", err)
	}
	r.Refused(formats.ErrNotFound, "release", http.MethodGet, "a/new", nil)
	if err := promote("p2", "a", "none"); !errors.Is(err, formats.ErrNotFound) {
		t.Errorf("promotion of what is not there: %v", err)
	}
	r.Refused(formats.ErrNotFound, "release", http.MethodGet, "a/new", nil)
	if err := promote("p3", "a"); err != nil {
		t.Fatal(err)
	}
	if got := string(r.Get("release", "a/new")); got != "new" {
		t.Errorf("promoted %q", got)
	}
	page, err := r.Open("release").Browse(t.Context(), "", 0, 10)
	if err != nil || len(page.Entries) != 2 || page.Entries[0].Count != 2 {
		t.Errorf("root %+v, %v", page, err)
	}

	// A policy that lets it replaces, all at once, and the past stays.
	free := r.Create("free", config.Hosted, "raw", nil)
	r.Put("free", "z/other", []byte("old"))
	r.Clock.Advance(time.Minute)
	before := r.Clock.Now().Format(time.RFC3339Nano)
	r.Clock.Advance(time.Minute)
	err = r.Promote(t.Context(), repo.Promotion{ID: "p4", Source: src.ID, Target: free.ID, Paths: []string{"z/other", "a"}}, "", func(next string, _ repo.Copied) error {
		if next == "commit" {
			if got := string(r.Get("free", "z/other")); got != "old" {
				t.Errorf("before the commit %q", got)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, was := string(r.Get("free", "z/other")), string(r.Get("free@"+before, "z/other")); got != "new" || was != "old" {
		t.Errorf("after the promotion %q, before it %q", got, was)
	}
	// A file written while a promotion waits is judged by what is seen.
	r.Put("free", "z/other", []byte("newer"))
	if got := string(r.Get("free", "z/other")); got != "newer" {
		t.Errorf("written after the promotion %q", got)
	}
}

// A worker that others took for dead commits nothing once the promotion was
// taken back, and adds nothing to it.
func TestPromotionIsTakenBackForGood(t *testing.T) {
	r := repotest.New(t, repotest.Options{Formats: all.Formats})
	src := r.Create("staging", config.Hosted, "raw", nil)
	dst := r.Create("release", config.Hosted, "raw", nil)
	r.Put("staging", "a/f", []byte("new"))
	r.Put("staging", "b/f", []byte("new"))
	r.Put("release", "a/f", []byte("old"))
	p := repo.Promotion{ID: "p", Source: src.ID, Target: dst.ID, Paths: []string{"a/f", "b/f"}}
	err := r.Promote(t.Context(), p, "", func(next string, _ repo.Copied) error {
		if next != "commit" {
			return nil
		}
		return r.AbandonPromotion(t.Context(), p) // by the node that took over
	})
	if !errors.Is(err, record.ErrRefused) {
		t.Errorf("the late worker's commit: %v, want ErrRefused", err)
	}
	if err := r.Promote(t.Context(), p, "", func(string, repo.Copied) error { return nil }); err == nil {
		t.Error("another late worker has promoted it")
	}
	if got := string(r.Get("release", "a/f")); got != "old" {
		t.Errorf("a/f is %q", got)
	}
	r.Refused(formats.ErrNotFound, "release", "GET", "b/f", nil)
	if err := r.AbandonPromotion(t.Context(), p); err != nil {
		t.Errorf("taken back again: %v", err)
	}
}
