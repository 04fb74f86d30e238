package gc_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"granary/formats"
	"granary/gc"
	"granary/kv"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/record"
	"granary/repo/refs"
)

// slow lets rounds pass after an upload has found a place for its content and
// before its record is written.
func slow(t *testing.T, meanwhile func(r *rig)) *rig {
	h := &hook{}
	r := newRigOn(t, func(s kv.Store) kv.Store { h.Store = s; return h })
	h.before = func(key kv.Key) {
		if strings.HasPrefix(key.Partition, "a/") && strings.HasSuffix(key.Sort, "//slow") {
			h.before = nil
			meanwhile(r)
		}
	}
	return r
}

// collect lets the content of an upload that has not written its record be
// condemned and deleted.
func collect(r *rig) {
	for range 2 {
		r.later()
		r.round(gc.Options{})
	}
	r.later()
}

// An upload whose content was collected before its record was written is
// refused, and leaves nothing that can't be read.
func TestUploadThatOutlivesTwoRounds(t *testing.T) {
	r := slow(t, func(r *rig) {
		collect(r)
		r.wantStates("meanwhile", map[refs.State]int{})
	})
	r.Create("files", config.Hosted, "raw", nil)
	_, _, err := r.Send(t.Context(), "files", "PUT", "slow", body(1))
	if !errors.Is(err, refs.ErrGone) {
		t.Fatalf("the upload ended with %v, want ErrGone", err)
	}
	r.Refused(formats.ErrNotFound, "files", "GET", "slow", nil)
	r.soundPast("files")
	r.Put("files", "slow", body(1))
	r.same("files", "slow", body(1))
}

// What it replaced holds again.
func TestReplacementThatOutlivesTwoRounds(t *testing.T) {
	var h *hook
	r := newRigOn(t, func(s kv.Store) kv.Store { h = &hook{Store: s}; return h })
	r.Create("files", config.Hosted, "raw", nil)
	r.Put("files", "slow", body(2))
	h.before = func(key kv.Key) {
		if strings.HasPrefix(key.Partition, "a/") && strings.HasSuffix(key.Sort, "//slow") {
			h.before = nil
			collect(r)
		}
	}
	if _, _, err := r.Send(t.Context(), "files", "PUT", "slow", body(1)); !errors.Is(err, refs.ErrGone) {
		t.Fatalf("the upload ended with %v, want ErrGone", err)
	}
	r.same("files", "slow", body(2))
	r.soundPast("files")
}

// soundPast fails if the history of a repository names content that is not there.
func (r *rig) soundPast(name string) {
	r.t.Helper()
	c, err := r.Registry.Repository(r.t.Context(), name)
	if err != nil {
		r.t.Fatal(err)
	}
	sp := kv.Space{Repo: c.ID, Shards: c.Shards}
	for shard := range c.Shards {
		for item, err := range r.KV.Query(r.t.Context(), sp.History(shard), "", "", kv.Consistent) {
			if err != nil {
				r.t.Fatal(err)
			}
			x, ok, err := repo.ReadHistory(item)
			if err != nil || !ok {
				continue // of what has no content
			}
			if _, _, err := r.reference(x.Hash); err != nil {
				r.t.Errorf("history %s names content without a reference: %v", item.Sort, err)
			}
		}
	}
}

// An upload that meets a record of the same content, whose writer is about to
// take it back, is acknowledged only if the content is there; and then the
// record stays.
func TestUploadThatMeetsASlowOne(t *testing.T) {
	r := slow(t, func(r *rig) {
		collect(r)
		r.Put("files", "slow", body(1)) // stores the content anew
	})
	files := r.Create("files", config.Hosted, "raw", nil)
	if _, _, err := r.Send(t.Context(), "files", "PUT", "slow", body(1)); err != nil && !errors.Is(err, refs.ErrGone) {
		t.Fatal(err)
	}
	r.same("files", "slow", body(1))
	rec := r.recordOf(files, "", "slow")
	ref, _, err := r.reference(rec.Sums.BLAKE3)
	if err != nil || ref.Blob != rec.Blob {
		t.Errorf("the record names %s, the reference %v, %v", rec.Blob, ref, err)
	}
	for range 3 {
		r.later()
		r.round(gc.Options{Asked: true})
	}
	r.same("files", "slow", body(1))
}

// Copies are uses too: a clone, a promotion and a record that is put back are
// refused if what they copy is deleted and collected before they are written, and
// leave nothing that can't be read.
func TestCopiesThatOutliveTwoRounds(t *testing.T) {
	for name, copies := range map[string]func(r *rig, files, target *config.Repository) error{
		"clone": func(r *rig, files, target *config.Repository) error {
			c := repo.Clone{Source: files.ID, Target: target.ID}
			shards, err := r.PlanClone(r.t.Context(), c)
			for shard := 0; err == nil && shard < shards; shard++ {
				err = r.CloneShard(r.t.Context(), c, shard, "", func(string, repo.Copied) error { return nil })
			}
			return err
		},
		"promotion": func(r *rig, files, target *config.Repository) error {
			p := repo.Promotion{ID: "p", Source: files.ID, Target: target.ID, Paths: []string{"slow"}}
			return r.Promote(r.t.Context(), p, "", func(string, repo.Copied) error { return nil })
		},
		"restore": func(r *rig, files, _ *config.Repository) error {
			n := record.Named{Name: "slow", Record: r.recordOf(files, "", "slow")}
			r.delete("files", "slow")
			return r.RestoreRecord(r.t.Context(), files, n)
		},
	} {
		t.Run(name, func(t *testing.T) {
			var h *hook
			r := newRigOn(t, func(s kv.Store) kv.Store { h = &hook{Store: s}; return h })
			files := r.Create("files", config.Hosted, "raw", nil)
			target := r.Create("target", config.Hosted, "raw", nil)
			r.Put("files", "slow", body(1))
			r.Clock.Advance(time.Minute)
			into := map[string]string{"clone": target.ID, "promotion": target.ID, "restore": files.ID}[name]
			skip := name == "restore" // the removal is a write there, too
			h.before = func(key kv.Key) {
				if !strings.HasPrefix(key.Partition, "a/"+into+"/") || !strings.HasSuffix(key.Sort, "//slow") {
					return
				}
				if skip {
					skip = false
					return
				}
				h.before = nil
				if name != "restore" {
					r.delete("files", "slow")
				}
				r.forgetHistory(files)
				collect(r)
				r.wantStates("meanwhile", map[refs.State]int{})
			}
			if err := copies(r, files, target); !errors.Is(err, refs.ErrGone) {
				t.Errorf("it ended with %v, want ErrGone", err)
			}
			if h.before != nil {
				t.Error("it wrote nothing")
			}
			for _, name := range []string{"files", "target"} {
				r.Refused(formats.ErrNotFound, name, "GET", "slow", nil)
			}
		})
	}
}
