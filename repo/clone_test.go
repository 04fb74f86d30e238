package repo_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/all"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/repotest"
)

// contents is what a repository holds, path by path.
func contents(t *testing.T, r *repotest.Rig, repository string) map[string]string {
	t.Helper()
	out := map[string]string{}
	h := r.Open(repository)
	for rec, err := range h.Walk(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		c, err := h.Content(t.Context(), rec)
		if err != nil {
			t.Fatal(err)
		}
		b, err := repotest.ReadContent(t.Context(), c, "")
		if err != nil {
			t.Fatal(err)
		}
		out[rec.Key()] = string(b)
	}
	return out
}

// clone does what the task does, from wherever an earlier try ended.
type cloning struct {
	c       repo.Clone
	planned bool
	shards  int
	cursors map[int]string
	done    map[int]bool
	copied  repo.Copied
}

func (c *cloning) run(t *testing.T, r *repotest.Rig) error {
	if !c.planned {
		n, err := r.PlanClone(t.Context(), c.c)
		if err != nil {
			return err
		}
		c.planned, c.shards, c.cursors, c.done = true, n, map[int]string{}, map[int]bool{}
	}
	for shard := range c.shards {
		if c.done[shard] {
			continue
		}
		err := r.CloneShard(t.Context(), c.c, shard, c.cursors[shard], func(cursor string, done repo.Copied) error {
			c.cursors[shard], c.copied = cursor, c.copied.Add(done)
			return nil
		})
		if err != nil {
			return err
		}
		c.done[shard] = true
	}
	return r.EndClone(t.Context(), r.Registry, c.c)
}

// A clone that dies at any write and is gone on with is the source as it was
// when it was planned, whatever is written there meanwhile; until it is whole
// nobody finds it.
func TestCloneCrashesAnywhere(t *testing.T) {
	for step := 1; ; step += 3 {
		store := repotest.NewDying()
		r := repotest.New(t, repotest.Options{Formats: all.Formats, KV: store})
		r.Create("src", config.Hosted, "raw", nil)
		random := rand.New(rand.NewPCG(1, uint64(step)))
		for i := range 12 {
			r.Put("src", fmt.Sprintf("d%d/f%d", i%3, i), filled(10+i*3000, byte('a'+i)))
		}
		r.Clock.Advance(time.Minute)
		c := &cloning{}
		var err error
		if c.c, err = r.BeginClone(t.Context(), r.Registry, "src", "copy"); err != nil {
			t.Fatal(err)
		}
		want := contents(t, r, "src")
		store.Set(step)
		crashes := 0
		for err = c.run(t, r); err != nil; err = c.run(t, r) {
			if !errors.Is(err, repotest.ErrDied) {
				t.Fatal(err)
			}
			crashes++
			store.Set(-1)
			if c.planned {
				// The source goes on.
				r.Put("src", fmt.Sprintf("d%d/f%d", random.IntN(3), random.IntN(12)), []byte("later"))
				r.Put("src", "new/file", []byte("later"))
			}
			if _, err := r.Service.Open(t.Context(), "copy", repo.Everything); !errors.Is(err, formats.ErrNotFound) && !c.done[c.shards-1] {
				t.Fatalf("an unfinished clone is opened: %v", err)
			}
		}
		store.Set(-1)
		if got := contents(t, r, "copy"); !maps.Equal(got, want) {
			t.Fatalf("step %d: clone holds %d files %q, want %d", step, len(got), slices.Sorted(maps.Keys(got)), len(want))
		}
		page, err := r.Open("copy").Browse(t.Context(), "", 0, 100)
		if err != nil || len(page.Entries) != 3 || page.Entries[0].Count != 4 {
			t.Errorf("step %d: root of the clone %+v, %v", step, page, err)
		}
		if crashes == 0 {
			return // the step is beyond the last write
		}
	}
}

// What a clone holds is a use: it stays readable when the source is gone, and
// a name that is being cloned to is taken.
func TestClone(t *testing.T) {
	r := newRig(t)
	r.Create("src", config.Hosted, "golang", nil)
	r.Create("group", config.Proxy, "golang", func(c *config.Repository) {
		id, err := r.Registry.MemberIDs(t.Context(), "members", []string{"src"})
		if err != nil {
			t.Fatal(err)
		}
		c.Members = id
	})
	for _, source := range []string{"src", "group"} {
		c := &cloning{}
		var err error
		if c.c, err = r.BeginClone(t.Context(), r.Registry, source, source+"-copy"); err != nil {
			t.Fatal(err)
		}
		if _, err := r.BeginClone(t.Context(), r.Registry, source, source+"-copy"); !errors.Is(err, config.ErrExists) {
			t.Errorf("a second clone to the name: %v", err)
		}
		if err := c.run(t, r); err != nil {
			t.Fatal(err)
		}
		if all, err := r.Snapshots(t.Context(), source); err != nil || len(all) != 0 {
			t.Errorf("snapshots after the clone: %v, %v", all, err)
		}
		r.Open(source + "-copy")
	}
	c := &cloning{}
	var err error
	if c.c, err = r.BeginClone(t.Context(), r.Registry, "src", "late"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Registry.DeleteRepository(t.Context(), "src"); err != nil {
		t.Fatal(err)
	}
	if err := c.run(t, r); !errors.Is(err, config.ErrNotFound) {
		t.Errorf("clone of a deleted repository: %v", err)
	}
}

// late is a registry whose Publish comes after somebody else has given the clone
// up, and the other way round.
type late struct {
	*config.Registry
	before func(id string)
}

func (l late) Publish(ctx context.Context, id string) (*config.Repository, error) {
	l.before(id)
	return l.Registry.Publish(ctx, id)
}

func (l late) Abandon(ctx context.Context, id string) error {
	l.before(id)
	return l.Registry.Abandon(ctx, id)
}

// Of a worker that finishes a clone and one that gives it up, each of which takes
// the other for dead, one wins: a clone that was finished is not deleted.
func TestCloneIsFinishedOrGivenUp(t *testing.T) {
	for _, finished := range []bool{true, false} {
		r := repotest.New(t, repotest.Options{Formats: all.Formats})
		r.Create("files", config.Hosted, "raw", nil)
		r.Put("files", "f", []byte("1"))
		c, err := r.BeginClone(t.Context(), r.Registry, "files", "copy")
		if err != nil {
			t.Fatal(err)
		}
		shards, err := r.PlanClone(t.Context(), c)
		for s := 0; s < shards && err == nil; s++ {
			err = r.CloneShard(t.Context(), c, s, "", func(string, repo.Copied) error { return nil })
		}
		if err != nil {
			t.Fatal(err)
		}
		nothing := late{r.Registry, func(string) {}}
		finish := func(reg late) error { return r.EndClone(t.Context(), reg, c) }
		giveUp := func(reg late) error { return r.AbandonClone(t.Context(), reg, c) }
		if finished {
			err = giveUp(late{r.Registry, func(string) {
				if err := finish(nothing); err != nil {
					t.Error(err)
				}
			}})
			if err != nil || string(r.Get("copy", "f")) != "1" {
				t.Errorf("given up after it was finished: %v", err)
			}
			continue
		}
		err = finish(late{r.Registry, func(string) {
			if err := giveUp(nothing); err != nil {
				t.Error(err)
			}
		}})
		if !errors.Is(err, config.ErrNotFound) {
			t.Errorf("finished after it was given up: %v, want ErrNotFound", err)
		}
		if _, err := r.Registry.Repository(t.Context(), "copy"); !errors.Is(err, config.ErrNotFound) {
			t.Errorf("its name: %v, want ErrNotFound", err)
		}
	}
}
