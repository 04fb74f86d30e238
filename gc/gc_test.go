package gc_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"granary/blob"
	"granary/gc"
	"granary/kv"
	"granary/repo/config"
	"granary/repo/refs"
)

// Content that nothing names is condemned by one round and gone after the next;
// what is named stays through any number of rounds.
func TestWhatNothingNamesGoes(t *testing.T) {
	r := newRig(t)
	files := r.Create("files", config.Hosted, "raw", nil)
	for i := range 40 {
		r.Put("files", fmt.Sprintf("d%d/f%d", i%3, i), body(i))
	}
	for i := range 10 {
		r.delete("files", fmt.Sprintf("d%d/f%d", i%3, i))
	}
	usage := func(when string, want int64) {
		t.Helper()
		kept, ok, err := r.gc.Usage(t.Context(), r.store)
		if err != nil || !ok || kept != (gc.Content{Blobs: want, Bytes: want * 20 << 10}) {
			t.Errorf("%s the store keeps %+v, %v, %v; want %d blobs", when, kept, ok, err, want)
		}
	}
	if kept, ok, err := r.gc.Usage(t.Context(), r.store); ok || err != nil {
		t.Errorf("before the first round: %+v, %v, %v", kept, ok, err)
	}
	r.later()
	first := r.round(gc.Options{})
	usage("after the first round", 40)
	r.wantStates("while history names it", map[refs.State]int{refs.Live: 40})
	if first.Tally.Records != 30 || first.Tally.History != 10 || first.Tally.References != 40 {
		t.Errorf("the first round has read %+v", first.Tally)
	}
	r.forgetHistory(files)
	r.later()
	second := r.round(gc.Options{})
	r.wantStates("after the first look", map[refs.State]int{refs.Live: 30, refs.Condemned: 10})
	if second.Tally.Condemned != 10 || second.Tally.Deleted != 0 || r.objects() != 40 {
		t.Errorf("the second round came to %+v, %d objects", second.Tally, r.objects())
	}
	r.later()
	third := r.round(gc.Options{})
	r.wantStates("after the second look", map[refs.State]int{refs.Live: 30})
	if third.Tally.Deleted != 10 || third.Tally.DeletedBytes != 10*20<<10 || r.objects() != 30 {
		t.Errorf("the third round came to %+v, %d objects", third.Tally, r.objects())
	}
	r.Clock.Advance(10 * time.Second) // it is remembered for a moment
	usage("after the third round", 30)
	for range 3 {
		r.later()
		r.round(gc.Options{})
	}
	for i := 10; i < 40; i++ {
		r.same("files", fmt.Sprintf("d%d/f%d", i%3, i), body(i))
	}
	for info := range r.blobs.List(t.Context(), blob.WorkFolder) {
		t.Errorf("%s is left over", info.ID)
	}
}

func TestTooEarly(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	r.Put("files", "a", body(1))
	r.round(gc.Options{})
	_, err := r.gc.Begin(t.Context(), gc.Options{Asked: true})
	if !errors.Is(err, gc.ErrEarly) || err.Error() != "GC grace not elapsed (3600s remaining)" {
		t.Errorf("within the grace: %v", err)
	}
	// Another node has not seen the round's end before: its grace begins now.
	r.Clock.Advance(40 * time.Minute)
	other := r.collector()
	if err := other.Observe(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.Clock.Advance(21 * time.Minute)
	if _, err := other.Begin(t.Context(), gc.Options{}); !errors.Is(err, gc.ErrEarly) {
		t.Errorf("who saw the end 21 minutes ago: %v", err)
	}
	if _, err := r.gc.Begin(t.Context(), gc.Options{}); err != nil {
		t.Errorf("who saw the end 61 minutes ago: %v", err)
	}
	r.settings(func(s *config.Settings) { s.GCMinInterval, s.GCGrace = 7200, 0 })
	r.Clock.Advance(time.Hour)
	_, err = r.gc.Begin(t.Context(), gc.Options{})
	if !errors.Is(err, gc.ErrEarly) || !strings.HasPrefix(err.Error(), "GC minimum interval not elapsed (3600s remaining)") {
		t.Errorf("within the minimum interval: %v", err)
	}
	if _, err := r.gc.Begin(t.Context(), gc.Options{Dry: true}); err != nil {
		t.Errorf("a dry run: %v", err)
	}
}

// A use between two rounds makes a condemned reference live, whether or not its
// record is there when the mark looks.
func TestUseBetweenRounds(t *testing.T) {
	r := newRig(t)
	files := r.Create("files", config.Hosted, "raw", nil)
	r.Put("files", "a", body(1))
	hash := r.recordOf(files, "", "a").Sums.BLAKE3
	r.delete("files", "a")
	r.forgetHistory(files)
	r.later()
	r.round(gc.Options{})
	r.wantStates("condemned", map[refs.State]int{refs.Condemned: 1})
	if _, err := r.Refs.Use(t.Context(), r.store, hash); err != nil {
		t.Fatal(err)
	}
	r.later()
	r.round(gc.Options{})
	r.wantStates("used, but named by nothing yet", map[refs.State]int{refs.Condemned: 1})
	r.Put("files", "b", body(1))
	r.later()
	r.round(gc.Options{})
	r.later()
	r.round(gc.Options{})
	r.wantStates("named", map[refs.State]int{refs.Live: 1})
	r.same("files", "b", body(1))
}

// A reference that was condemned while a slow writer had it is live again once
// a mark has met the writer's record.
func TestAcquittal(t *testing.T) {
	r := newRig(t)
	files := r.Create("files", config.Hosted, "raw", nil)
	sp := kv.Space{Repo: files.ID, Shards: files.Shards}
	r.Put("files", "a", body(1))
	rec := r.recordOf(files, "", "a")
	r.delete("files", "a")
	r.forgetHistory(files)
	held, err := r.Refs.Use(t.Context(), r.store, rec.Sums.BLAKE3)
	if err != nil {
		t.Fatal(err)
	}
	r.later()
	r.round(gc.Options{})
	r.wantStates("while it writes", map[refs.State]int{refs.Condemned: 1})
	rec.Blob = held.Blob
	if _, err := r.Records.Put(t.Context(), sp, "", "b", rec, nil); err != nil {
		t.Fatal(err)
	}
	r.later()
	if res := r.round(gc.Options{}); res.Tally.Acquitted != 1 {
		t.Errorf("came to %+v", res.Tally)
	}
	r.wantStates("after the next round", map[refs.State]int{refs.Live: 1})
	if err := r.Refs.Confirm(t.Context(), held); err != nil {
		t.Errorf("the writer hears %v", err)
	}
}

// After healing, old records name the blob that was lost: the reference to their
// content is kept all the same.
func TestHealedContentIsKept(t *testing.T) {
	r := newRig(t)
	files := r.Create("files", config.Hosted, "raw", nil)
	r.Put("files", "a", body(1))
	before := r.recordOf(files, "", "a")
	if err := r.blobs.Delete(t.Context(), before.Blob); err != nil {
		t.Fatal(err)
	}
	if err := r.Refs.MarkLost(t.Context(), r.store, before.Sums.BLAKE3, before.Blob); err != nil {
		t.Fatal(err)
	}
	r.Put("files", "b", body(1)) // heals
	r.delete("files", "b")
	r.forgetHistory(files)
	ref, _, err := r.reference(before.Sums.BLAKE3)
	if err != nil || ref.Blob == before.Blob {
		t.Fatalf("not healed: %v %v", ref, err)
	}
	for range 4 {
		r.later()
		r.round(gc.Options{Asked: true})
		r.Clock.Advance(25 * time.Hour)
	}
	r.same("files", "a", body(1))
}

// A round whose filters can't be had whole ends without a sweep.
func TestFilterThatIsNotWhole(t *testing.T) {
	for name, harm := range map[string]func(ctx context.Context, r *rig, id blob.ID) error{
		"missing": func(ctx context.Context, r *rig, id blob.ID) error { return r.blobs.Delete(ctx, id) },
		"damaged": func(ctx context.Context, r *rig, id blob.ID) error {
			info, err := r.blobs.Stat(ctx, id)
			if err == nil {
				err = r.blobs.Delete(ctx, id)
			}
			if err != nil {
				return err
			}
			w, err := r.blobs.Create(ctx, id, info.Size)
			if err == nil {
				_, err = w.Write(make([]byte, info.Size))
			}
			if err == nil {
				err = w.Commit(ctx)
			}
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.Create("files", config.Hosted, "raw", nil)
			for i := range 20 {
				r.Put("files", fmt.Sprint(i), body(i))
			}
			r.later()
			round, err := r.gc.Begin(t.Context(), gc.Options{})
			if err != nil {
				t.Fatal(err)
			}
			marks := 0
			for _, part := range round.Parts() {
				if strings.HasPrefix(part, "mark/") {
					marks++
					if err := r.gc.Part(t.Context(), false, round.ID, part, nil); err != nil {
						t.Fatal(err)
					}
				}
			}
			harmed := 0
			for info, err := range r.blobs.List(t.Context(), blob.WorkFolder) {
				if err == nil {
					err = harm(t.Context(), r, info.ID)
				}
				if err != nil {
					t.Fatal(err)
				}
				harmed++
			}
			if marks == 0 || harmed == 0 {
				t.Fatalf("%d parts of a mark, %d filters", marks, harmed)
			}
			for _, part := range round.Parts() {
				if strings.HasPrefix(part, "sweep/") {
					if err := r.gc.Part(t.Context(), false, round.ID, part, nil); !errors.Is(err, gc.ErrFilter) {
						t.Errorf("%s: %v, want ErrFilter", part, err)
					}
				}
			}
			if _, err := r.gc.Finish(t.Context(), false, round.ID); !errors.Is(err, gc.ErrNotYet) {
				t.Errorf("the round was closed: %v", err)
			}
			r.wantStates("without a sweep", map[refs.State]int{refs.Live: 20})
			// The next round does it all again.
			r.round(gc.Options{})
			r.wantStates("after another round", map[refs.State]int{refs.Live: 20})
		})
	}
}

// A sweep waits for every part of the mark.
func TestSweepWaitsForTheMark(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	r.Put("files", "a", body(1))
	round, err := r.gc.Begin(t.Context(), gc.Options{Asked: true})
	if err != nil {
		t.Fatal(err)
	}
	if round.Batches < 2 {
		t.Fatalf("%d batches", round.Batches)
	}
	for i, part := range round.Parts() {
		kind, _, _ := strings.Cut(part, "/")
		err := r.gc.Part(t.Context(), false, round.ID, part, nil)
		switch {
		case kind == "sweep" || kind == "bucket":
			if !errors.Is(err, gc.ErrNotYet) {
				t.Errorf("%s: %v, want ErrNotYet", part, err)
			}
		case err != nil:
			t.Error(err)
		}
		if i == 0 {
			// One part of the mark stays open.
			if err := r.KV.DeleteIf(t.Context(), kv.RoundPart(string(round.ID), part), version(t, r, kv.RoundPart(string(round.ID), part))); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func version(t *testing.T, r *rig, key kv.Key) kv.Version {
	t.Helper()
	item, err := r.KV.Get(t.Context(), key, kv.Consistent)
	if err != nil {
		t.Fatal(err)
	}
	return item.Version
}

// A dry run says what would happen, and changes nothing.
func TestDryRun(t *testing.T) {
	r := newRig(t)
	files := r.Create("files", config.Hosted, "raw", nil)
	for i := range 10 {
		r.Put("files", fmt.Sprint(i), body(i))
	}
	for i := range 4 {
		r.delete("files", fmt.Sprint(i))
	}
	r.forgetHistory(files)
	r.later()
	if got := r.round(gc.Options{Dry: true}); got.Tally.Condemned != 4 || !got.Dry {
		t.Errorf("the first dry run came to %+v", got)
	}
	r.wantStates("after a dry run", map[refs.State]int{refs.Live: 10})
	r.round(gc.Options{})
	r.later()
	if got := r.round(gc.Options{Dry: true}); got.Tally.Deleted != 4 || got.Tally.DeletedBytes != 4*20<<10 {
		t.Errorf("the second dry run came to %+v", got)
	}
	r.wantStates("after a dry run", map[refs.State]int{refs.Live: 6, refs.Condemned: 4})
	if got := r.round(gc.Options{}); got.Tally.Deleted != 4 {
		t.Errorf("the round after it came to %+v", got)
	}
}

// Objects that nothing names go after two looks, not before they are a day old.
func TestObjectsThatNothingNames(t *testing.T) {
	r := newRig(t)
	files := r.Create("files", config.Hosted, "raw", nil)
	r.Put("files", "a", body(1))
	r.Put("files", "b", body(2))
	// The reference of b is gone, which must never happen; its record is there.
	rec := r.recordOf(files, "", "b")
	_, item, err := r.reference(rec.Sums.BLAKE3)
	if err == nil {
		err = r.KV.DeleteIf(t.Context(), item.Key, item.Version)
	}
	if err != nil {
		t.Fatal(err)
	}
	id := r.putObject()
	for i, want := range []bool{true, true, false} {
		res := r.round(gc.Options{Asked: true})
		if got := r.there(id); got != want {
			t.Fatalf("after look %d, %v after it was written: there is %v, want %v", i+1, r.Clock.Now(), got, want)
		}
		if i == 2 && (res.Tally.Orphans != 1 || res.Tally.OrphanBytes != 3) {
			t.Errorf("came to %+v", res.Tally)
		}
		r.Clock.Advance(13 * time.Hour)
	}
	r.same("files", "a", body(1))
	r.same("files", "b", body(2))
}

func TestDue(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	due := func() bool {
		t.Helper()
		d, err := r.gc.Due(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	if due() {
		t.Error("due right after the start")
	}
	r.later()
	if !due() {
		t.Error("not due although there was none")
	}
	for i := range 150 {
		r.Put("files", fmt.Sprint(i), []byte("1"))
	}
	r.flush()
	r.round(gc.Options{})
	r.later()
	if due() {
		t.Error("due after an hour without a change")
	}
	r.delete("files", "1")
	r.flush()
	if due() {
		t.Error("due after less than 1 % of changes")
	}
	r.Put("files", "2", []byte("2"))
	r.flush()
	if !due() {
		t.Error("not due after 1 % of changes")
	}
	r.round(gc.Options{})
	if due() {
		t.Error("due within the grace")
	}
	r.Clock.Advance(25 * time.Hour)
	if !due() {
		t.Error("not due after the interval")
	}
}
