package gc_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"granary/gc"
	"granary/kv"
	"granary/repo/config"
	"granary/repo/refs"
)

func TestDeletedRepositoryIsDrained(t *testing.T) {
	r := newRig(t)
	gone := r.Create("gone", config.Hosted, "raw", nil)
	r.Create("stays", config.Hosted, "raw", nil)
	for i := range 30 {
		r.Put("gone", fmt.Sprintf("d%d/%d", i%4, i), body(i))
	}
	r.Put("gone", "d1/1", body(100)) // history
	r.Put("stays", "shared", body(3))
	if _, err := r.Registry.DeleteRepository(t.Context(), "gone"); err != nil {
		t.Fatal(err)
	}
	r.later()
	first := r.round(gc.Options{})
	if first.Tally.Drained != 1 || first.Tally.DrainedItems < 31 {
		t.Errorf("the first round came to %+v", first.Tally)
	}
	r.later()
	r.round(gc.Options{})
	r.wantStates("after two rounds", map[refs.State]int{refs.Live: 1})
	r.same("stays", "shared", body(3))
	// A write that was under way lands late.
	sp := kv.Space{Repo: gone.ID, Shards: gone.Shards}
	late := kv.Item{Key: sp.Record("d", "late"), Value: []byte{0xa0}, Version: kv.NewVersion()}
	if err := r.KV.PutIf(t.Context(), late, ""); err != nil {
		t.Fatal(err)
	}
	r.later()
	if res := r.round(gc.Options{}); res.Tally.DrainedItems != 1 {
		t.Errorf("the late write: %+v", res.Tally)
	}
	drains := 0
	for range 4 {
		r.Clock.Advance(25 * time.Hour)
		round, err := r.gc.Begin(t.Context(), gc.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range round.Parts() {
			if strings.HasPrefix(part, "drain/") {
				drains++
			}
			if err := r.gc.Part(t.Context(), false, round.ID, part, nil); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := r.gc.Finish(t.Context(), false, round.ID); err != nil {
			t.Fatal(err)
		}
	}
	if drains != 2 {
		t.Errorf("it was looked at %d more times, want twice, a day apart", drains)
	}
}

// Directory markers go when they were empty in two rounds, an hour apart at the
// least, and not if anything was written in between.
func TestEmptyDirectoriesGo(t *testing.T) {
	r := newRig(t)
	files := r.Create("files", config.Hosted, "raw", nil)
	sp := kv.Space{Repo: files.ID, Shards: files.Shards}
	r.Put("files", "a/b/f", []byte("1"))
	r.Put("files", "c/f", []byte("1"))
	r.delete("files", "a/b/f")
	r.flush()
	markers := func() string {
		var out []string
		for _, m := range [][2]string{{"", "a"}, {"a", "b"}, {"", "c"}} {
			if _, err := r.KV.Get(t.Context(), sp.Marker(m[0], m[1]), kv.Consistent); err == nil {
				out = append(out, m[1])
			}
		}
		return strings.Join(out, "")
	}
	r.later()
	r.round(gc.Options{})
	if got := markers(); got != "abc" {
		t.Errorf("after the first round there are %q", got)
	}
	r.later()
	r.Put("files", "a/g", []byte("1"))
	r.delete("files", "a/g")
	r.flush()
	r.round(gc.Options{})
	if got := markers(); got != "ac" {
		t.Errorf("after a write to a there are %q", got)
	}
	r.later()
	r.round(gc.Options{})
	if got := markers(); got != "c" {
		t.Errorf("after the third round there are %q", got)
	}
	r.Put("files", "a/h", []byte("1"))
	r.flush()
	if got := markers(); got != "ac" {
		t.Errorf("after another upload there are %q", got)
	}
}

// flush writes counters.
func (r *rig) flush() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.t.Context()), time.Minute)
	defer cancel()
	if err := r.Records.Close(ctx); err != nil {
		r.t.Fatal(err)
	}
}

// Counters that went wrong are put right.
func TestCountersAreRepaired(t *testing.T) {
	r := newRig(t)
	files := r.Create("files", config.Hosted, "raw", nil)
	for i := range 5 {
		r.Put("files", fmt.Sprint(i), []byte("12"))
	}
	r.flush()
	wrong := kv.Item{Key: kv.Counter(files.ID, "a-node-that-died"), Value: []byte{0xa1, 0x01, 0x07}, Version: kv.NewVersion()}
	if err := r.KV.PutIf(t.Context(), wrong, ""); err != nil {
		t.Fatal(err)
	}
	if n, _, err := r.Usage(t.Context(), files.ID); err != nil || n != 12 {
		t.Fatalf("before: %d, %v", n, err)
	}
	r.later()
	if res := r.round(gc.Options{}); res.Tally.Repaired != 1 {
		t.Errorf("came to %+v", res.Tally)
	}
	if n, b, err := r.Usage(t.Context(), files.ID); err != nil || n != 5 || b != 10 {
		t.Errorf("after: %d records, %d bytes, %v", n, b, err)
	}
	r.later()
	if res := r.round(gc.Options{}); res.Tally.Repaired != 0 {
		t.Errorf("right counters were repaired: %+v", res.Tally)
	}
}

// A reference whose reference is being deleted is finished by the next sweep, also
// if the worker died in between.
func TestDeletingIsFinished(t *testing.T) {
	r := newRig(t)
	files := r.Create("files", config.Hosted, "raw", nil)
	r.Put("files", "a", body(1))
	rec := r.recordOf(files, "", "a")
	r.delete("files", "a")
	r.forgetHistory(files)
	ref, item, err := r.reference(rec.Sums.BLAKE3)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := r.Refs.Doom(t.Context(), item, ref); err != nil || !ok {
		t.Fatal(ok, err)
	}
	r.later()
	r.round(gc.Options{})
	r.wantStates("after the next round", map[refs.State]int{})
	if r.there(rec.Blob) {
		t.Error("the blob is there still")
	}
}
