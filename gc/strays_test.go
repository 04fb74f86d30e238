package gc_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"granary/formats"
	"granary/gc"
	"granary/kv"
	"granary/kv/mem"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/refs"
	"granary/repo/repotest"
)

// Faults that are not the collector's: of who copies, of the store's versions,
// and of what documents are published by.

// A file is moved to and fro between two repositories, each time from where a
// mark has not been to where it has, and the history of the old place goes. The
// first time its content is condemned; the move back must be a use.
func harmOfIdleMove(t *testing.T, plant simPlant) string {
	h := &hook{}
	r := newRigOn(t, func(s kv.Store) kv.Store { h.Store = plant.keeper(s); return h })
	r.gc = gc.New(gc.Config{KV: h, Registry: r.Registry, Store: r.Service.Store, Records: r.Records, Refs: r.Refs, Now: r.Clock.Now})
	first, second := r.Create("a", config.Hosted, "raw", nil), r.Create("b", config.Hosted, "raw", nil)
	if first.ID > second.ID { // a mark reads them in this order
		first, second = second, first
	}
	r.Put(second.Name, "d/f", body(1))
	moves := 0
	move := func(from, to *config.Repository) {
		moves++
		p := repo.Promotion{ID: fmt.Sprint("move", moves), Source: from.ID, Target: to.ID, Paths: []string{"d/f"}}
		if err := r.Promote(plant.moving(t.Context()), p, "", func(string, repo.Copied) error { return nil }); err != nil {
			t.Fatal(err)
		}
		r.delete(from.Name, "d/f")
		r.forgetHistory(from)
	}
	sp := kv.Space{Repo: second.ID, Shards: second.Shards}
	while := func() {
		r.later()
		round := r.begin()
		h.query = func(partition string) error {
			if partition == sp.Records(sp.Shard("d")) {
				h.query = nil
				move(second, first)
			}
			return nil
		}
		r.parts(round, "mark")
		if h.query != nil {
			t.Fatal("the mark has not read the records of " + second.Name)
		}
		r.finish(round)
	}
	while()
	move(first, second)
	while()
	return r.lostFrom(first.Name, "d/f")
}

// lostFrom tells whether content 1 can't be read.
func (r *rig) lostFrom(repository, path string) string {
	_, got, err := r.Send(r.t.Context(), repository, "GET", path, nil)
	if err != nil || string(got) != string(body(1)) {
		return fmt.Sprintf("%s/%s can't be read: %v", repository, path, err)
	}
	return ""
}

// A worker falls asleep before it removes a reference whose blob it has deleted.
// Another one does so, the content is uploaded anew, condemned and used; and then
// the first one wakes up.
func harmOfRestart(t *testing.T, plant simPlant) string {
	h := &hook{}
	r := newRigOn(t, func(s kv.Store) kv.Store {
		h.Store = s
		if plant.stray == strayRestart {
			h.Store = newRestarting(s)
		}
		return h
	})
	files := r.garbage()
	r.Put("files", "first", body(1))
	hash := r.recordOf(files, "", "first").Sums.BLAKE3
	r.delete("files", "first")
	r.forgetHistory(files)
	r.later()
	r.round(gc.Options{})
	r.later()
	round := r.begin()
	r.parts(round, "mark")
	slept := false
	h.remove = func(key kv.Key) {
		if !strings.HasPrefix(key.Partition, "b/") {
			return
		}
		h.remove, slept = nil, true
		for _, part := range round.Parts() {
			if strings.HasPrefix(part, "sweep/") {
				if err := r.collector().Part(t.Context(), false, round.ID, part, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		r.Put("files", "again", body(1))
		ref, item, err := r.reference(hash)
		if err == nil {
			_, _, err = r.Refs.Condemn(t.Context(), item, ref)
		}
		if err != nil {
			t.Fatal(err)
		}
		r.Put("files", "used", body(1))
	}
	r.finish(round)
	if !slept {
		t.Fatal("nothing was removed")
	}
	if ref, _, err := r.reference(hash); err != nil || ref.State != refs.Live {
		return fmt.Sprintf("the reference to what was uploaded is %v, %v", ref.State, err)
	}
	return ""
}

// The first stamp of a scope lands once more after the second.
func harmOfBlindStamp(t *testing.T, plant simPlant) string {
	var r *rig
	now := func() time.Time {
		if r == nil {
			return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
		}
		return r.Clock.Now()
	}
	sent := 0
	twice := func(n int) int { // the first of all, a second later
		if n != 10 {
			return 0
		}
		sent++
		return sent - 1
	}
	r = newRigWith(t, mem.New(mem.Options{Blind: plant.blind()}), func(s kv.Store) kv.Store {
		if plant.stray == strayBlindStamp {
			return newBlindStamps(s, now, twice)
		}
		return s
	})
	r.Create("led", config.Hosted, ledger{}.Name(), nil)
	r.Put("led", "all/a", body(1))
	r.Get("led", "all/index")
	r.Put("led", "all/b", body(2))
	r.Clock.Advance(2 * time.Second)
	r.Create("files", config.Hosted, "raw", nil)
	r.Put("files", "f", body(3)) // meanwhile
	if got := string(r.Get("led", "all/index")); !strings.Contains(got, "b ") {
		return fmt.Sprintf("the document does not list what was acknowledged: %q", got)
	}
	return ""
}

// Two nodes render a document for the same stamp, one of them after a record was
// written that is not stamped yet. Both have sent it.
func harmOfOverwriting(t *testing.T, plant simPlant) (lost string) {
	memory := mem.New(mem.Options{Blind: plant.blind()})
	store := &referee{Store: memory, fail: func(format string, args ...any) { lost = fmt.Sprintf(format, args...) }}
	wrap := func(h *hook) func(kv.Store) kv.Store {
		return func(s kv.Store) kv.Store {
			h.Store = few{s}
			if plant.stray == strayOverwrite {
				h.Store = few{overwriting{s}}
			}
			return h
		}
	}
	one, two := &hook{}, &hook{}
	r := newRigWith(t, store, wrap(one))
	r.Create("led", config.Hosted, ledger{}.Name(), nil)
	r.Put("led", "all/a", body(1))
	other := repotest.New(t, repotest.Options{KV: store, Blobs: r.blobs, Wrap: wrap(two), Formats: func(func() time.Time) []formats.Format {
		return []formats.Format{ledger{}}
	}})
	one.before = func(key kv.Key) {
		if !published(key) {
			return
		}
		one.before = nil
		two.before = func(key kv.Key) {
			if strings.HasSuffix(key.Sort, "//stamp") {
				two.before = nil
				other.Get("led", "all/index")
			}
		}
		other.Put("led", "all/b", body(2))
	}
	r.Get("led", "all/index")
	if one.before != nil || two.before != nil {
		t.Fatal("the document was not rendered twice")
	}
	return lost
}
