package gc_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"granary/blob"
	"granary/gc"
	"granary/kv"
	"granary/kv/chaos"
	"granary/repo/config"
	"granary/repo/refs"
)

// Faults of the collector that are planted, each with a run of events in which it
// does harm. Without the fault the same events do none; with it they must, or the
// test that is to catch it could not.

// planted is a rule and what its absence does.
type planted struct {
	plant simPlant
	// harm runs the events and tells what was lost, "" for nothing.
	harm func(t *testing.T, plant simPlant) string
}

// collected is for faults of the collector itself.
func collected(harm func(*testing.T, gc.Plant) string) func(*testing.T, simPlant) string {
	return func(t *testing.T, p simPlant) string { return harm(t, p.gc) }
}

var faults = map[string]planted{
	"the grace runs from the condemning":         {simPlant{gc: gc.PlantGrace}, collected(harmOfGrace)},
	"deletion by state, not by listed version":   {simPlant{gc: gc.PlantState}, collected(harmOfState)},
	"a mark shard resumed at a cursor":           {simPlant{gc: gc.PlantCursor}, collected(harmOfCursor)},
	"history scanned before records":             {simPlant{gc: gc.PlantHistoryFirst}, collected(harmOfOrder)},
	"a move that is no use":                      {simPlant{stray: strayIdleMove}, harmOfIdleMove},
	"a sweep that ignores a missing filter":      {simPlant{gc: gc.PlantNoFilter}, collected(harmOfMissingFilter)},
	"a version counter that restarts":            {simPlant{stray: strayRestart}, harmOfRestart},
	"a stamp written blindly and delayed":        {simPlant{stray: strayBlindStamp}, harmOfBlindStamp},
	"a publication overwritten under its key":    {simPlant{stray: strayOverwrite}, harmOfOverwriting},
	"a late holder that writes into a new round": {simPlant{gc: gc.PlantLate}, collected(harmOfLateHolder)},
	"a mark with stale reads":                    {simPlant{gc: gc.PlantStaleMark}, collected(harmOfStaleMark)},
	"a bucket pass that trusts references":       {simPlant{gc: gc.PlantBucket}, collected(harmOfBucket)},
}

func TestPlantedFaults(t *testing.T) {
	for name, f := range faults {
		t.Run(name, func(t *testing.T) {
			if lost := f.harm(t, simPlant{}); lost != "" {
				t.Errorf("without the fault: %s", lost)
			}
			if f.harm(t, f.plant) == "" {
				t.Error("the fault does no harm, so that nothing can catch it")
			}
		})
	}
}

// watched is a rig whose reads and writes events can be put before.
func watched(t *testing.T, plant gc.Plant) (*rig, *hook) {
	h := &hook{}
	r := newRigOn(t, func(s kv.Store) kv.Store { h.Store = s; return h })
	r.gc = gc.New(gc.Config{KV: h, Registry: r.Registry, Store: r.Service.Store, Records: r.Records, Refs: r.Refs, Now: r.Clock.Now})
	r.gc.SetPlant(plant)
	return r, h
}

func (h *hook) Query(ctx context.Context, partition, from, to string, opts ...kv.ReadOption) iter.Seq2[kv.Item, error] {
	return func(yield func(kv.Item, error) bool) {
		if h.query != nil {
			if err := h.query(partition); err != nil {
				yield(kv.Item{}, err)
				return
			}
		}
		h.Store.Query(ctx, partition, from, to, opts...)(yield)
	}
}

// parts does those of a round that are of some kinds.
func (r *rig) parts(round *gc.Round, kinds ...string) {
	r.t.Helper()
	for _, part := range round.Parts() {
		kind, _, _ := strings.Cut(part, "/")
		for _, k := range kinds {
			if k != kind {
				continue
			}
			if err := r.gc.Part(r.t.Context(), false, round.ID, part, nil); err != nil {
				r.t.Fatal(err)
			}
		}
	}
}

func (r *rig) begin() *gc.Round {
	r.t.Helper()
	round, err := r.gc.Begin(r.t.Context(), gc.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	return round
}

func (r *rig) finish(round *gc.Round) {
	r.t.Helper()
	r.parts(round, "drain", "multipart", "sweep", "bucket")
	if _, err := r.gc.Finish(r.t.Context(), false, round.ID); err != nil {
		r.t.Fatal(err)
	}
}

// lost tells whether an acknowledged file can't be read.
func (r *rig) lost(path string, want int) string {
	_, got, err := r.Send(r.t.Context(), "files", "GET", path, nil)
	if err != nil || string(got) != string(body(want)) {
		return fmt.Sprintf("%s can't be read: %v", path, err)
	}
	return ""
}

// garbage leaves content 1 without a name, live.
func (r *rig) garbage() *config.Repository {
	files := r.Create("files", config.Hosted, "raw", nil)
	r.Put("files", "first", body(1))
	r.delete("files", "first")
	r.forgetHistory(files)
	r.later()
	return files
}

// during puts content 1 at a path, and events before its record is written.
func (r *rig) during(h *hook, path string, events func()) {
	r.t.Helper()
	name := path[strings.LastIndexByte(path, '/')+1:]
	h.before = func(key kv.Key) {
		if strings.HasPrefix(key.Partition, "a/") && strings.HasSuffix(key.Sort, "//"+name) {
			h.before = nil
			events()
		}
	}
	r.Put("files", path, body(1))
}

// An upload has found its content live when the sweep of a slow round condemns
// it, and the next mark reads its place before it has written.
func harmOfGrace(t *testing.T, plant gc.Plant) string {
	r, h := watched(t, plant)
	r.garbage()
	round := r.begin()
	r.parts(round, "mark")
	r.later()
	var next *gc.Round
	r.during(h, "late", func() {
		r.finish(round)
		var err error
		if next, err = r.gc.Begin(t.Context(), gc.Options{}); err == nil {
			r.parts(next, "mark")
		} else if !errors.Is(err, gc.ErrEarly) {
			t.Fatal(err)
		}
	})
	if next != nil {
		r.finish(next)
	}
	return r.lost("late", 1)
}

// A round is given up after it has condemned what an upload has just found live,
// and the next one begins at once.
func harmOfState(t *testing.T, plant gc.Plant) string {
	r, h := watched(t, plant)
	r.garbage()
	r.round(gc.Options{})
	r.Put("files", "other", body(1)) // live again
	files, err := r.Registry.Repository(t.Context(), "files")
	if err != nil {
		t.Fatal(err)
	}
	r.delete("files", "other")
	r.forgetHistory(files)
	r.later()
	given := r.begin()
	r.parts(given, "mark")
	var next *gc.Round
	r.during(h, "late", func() {
		r.parts(given, "sweep")
		r.wantStates("after the sweep of a round that is given up", map[refs.State]int{refs.Condemned: 1})
		next = r.begin()
		r.parts(next, "mark")
	})
	r.finish(next)
	return r.lost("late", 1)
}

// A mark is interrupted in the midst of a part, and done again.
func harmOfCursor(t *testing.T, plant gc.Plant) (lost string) {
	r, h := watched(t, plant)
	for i := range 8 {
		name := fmt.Sprint("files", i)
		r.Create(name, config.Hosted, "raw", nil)
		r.Put(name, "f", body(i))
	}
	for range 2 {
		r.later()
		round := r.begin()
		for _, part := range round.Parts() {
			if !strings.HasPrefix(part, "mark/") {
				continue
			}
			first, failed := "", false
			h.query = func(partition string) error {
				repo, records := strings.CutPrefix(partition, "a/")
				repo, _, _ = strings.Cut(repo, "/")
				if records && first == "" {
					first = repo
				}
				if records && !failed && repo != first {
					failed = true
					return kv.ErrThrottled
				}
				return nil
			}
			for try := 0; ; try++ {
				err := r.gc.Part(t.Context(), false, round.ID, part, nil)
				if err == nil {
					break
				}
				if try > 1 {
					t.Fatal(err)
				}
			}
			if !failed {
				t.Fatalf("%s was not interrupted", part)
			}
		}
		h.query = nil
		r.finish(round)
	}
	for i := range 8 {
		if _, _, err := r.Send(t.Context(), fmt.Sprint("files", i), "GET", "f", nil); err != nil {
			lost = err.Error()
		}
	}
	return lost
}

// A name goes from a record to history while a mark is between the two; and in
// the next round the same happens to another name, which was not there yet when
// the first mark read its place.
func harmOfOrder(t *testing.T, plant gc.Plant) string {
	r, h := watched(t, plant)
	files := r.Create("files", config.Hosted, "raw", nil)
	sp := kv.Space{Repo: files.ID, Shards: files.Shards}
	if sp.Shard("d1") == sp.Shard("d2") {
		t.Fatal("both directories are in one shard")
	}
	r.Put("files", "d1/f", body(1))
	hash := r.recordOf(files, "d1", "f").Sums.BLAKE3
	while := func(dir string) *gc.Round {
		round := r.begin()
		h.query = func(partition string) error {
			if partition == sp.Records(sp.Shard(dir)) {
				h.query = nil
				r.delete("files", dir+"/f")
			}
			return nil
		}
		r.parts(round, "mark")
		if h.query != nil {
			t.Fatal("the mark has not read the records of " + dir)
		}
		return round
	}
	r.later()
	round := while("d1")
	r.Put("files", "d2/f", body(1))
	r.finish(round)
	r.forgetHistory(files)
	r.later()
	r.finish(while("d2"))
	if _, _, err := r.reference(hash); err != nil {
		return fmt.Sprintf("history names content that is gone: %v", err)
	}
	return ""
}

// Filters vanish between mark and sweep, twice.
func harmOfMissingFilter(t *testing.T, plant gc.Plant) string {
	r, _ := watched(t, plant)
	r.Create("files", config.Hosted, "raw", nil)
	r.Put("files", "f", body(1))
	for range 2 {
		r.later()
		round := r.begin()
		r.parts(round, "mark")
		for info, err := range r.blobs.List(t.Context(), blob.WorkFolder) {
			if err == nil {
				err = r.blobs.Delete(t.Context(), info.ID)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, part := range round.Parts() {
			err := r.gc.Part(t.Context(), false, round.ID, part, nil)
			if err != nil && !errors.Is(err, gc.ErrFilter) && !errors.Is(err, gc.ErrNotYet) {
				t.Fatal(err)
			}
		}
		if _, err := r.gc.Finish(t.Context(), false, round.ID); err != nil && !errors.Is(err, gc.ErrNotYet) {
			t.Fatal(err)
		}
	}
	return r.lost("f", 1)
}

// Reads that did not ask for the latest state see one from before the upload.
func harmOfStaleMark(t *testing.T, plant gc.Plant) (lost string) {
	for seed := uint64(1); seed <= 4 && lost == ""; seed++ {
		var r *rig
		now := func() time.Time {
			if r == nil || r.Rig == nil {
				return time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
			}
			return r.Clock.Now()
		}
		var lagging kv.Store
		r = newRigOn(t, func(s kv.Store) kv.Store {
			lagging = chaos.New(s, chaos.Options{Seed: seed, Stale: 1, Lag: 6 * time.Hour, Now: now})
			return lagging
		})
		r.gc = gc.New(gc.Config{KV: lagging, Registry: r.Registry, Store: r.Service.Store, Records: r.Records, Refs: r.Refs, Now: r.Clock.Now})
		r.gc.SetPlant(plant)
		r.Create("files", config.Hosted, "raw", nil)
		for i := range 30 {
			r.Put("files", fmt.Sprintf("d%d/f", i), body(i))
		}
		for range 2 {
			r.later()
			round := r.begin()
			r.parts(round, "mark")
			r.finish(round)
		}
		for i := range 30 {
			if l := r.lost(fmt.Sprintf("d%d/f", i), i); l != "" {
				lost = l
			}
		}
	}
	return lost
}

// A record's reference is missing, which must never happen; its bytes are needed
// all the same.
func harmOfBucket(t *testing.T, plant gc.Plant) string {
	r, _ := watched(t, plant)
	files := r.Create("files", config.Hosted, "raw", nil)
	r.Put("files", "f", body(1))
	_, item, err := r.reference(r.recordOf(files, "", "f").Sums.BLAKE3)
	if err == nil {
		err = r.KV.DeleteIf(t.Context(), item.Key, item.Version)
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		r.Clock.Advance(25 * time.Hour)
		r.round(gc.Options{Asked: true})
	}
	return r.lost("f", 1)
}

// The worker of a round that was given up closes its part of a mark when the
// next round is on: what was named since it looked is missing in it.
func harmOfLateHolder(t *testing.T, plant gc.Plant) string {
	r, h := watched(t, plant)
	files := r.Create("files", config.Hosted, "raw", nil)
	sp := kv.Space{Repo: files.ID, Shards: files.Shards}
	r.Put("files", "x/f", body(1))
	hash := r.recordOf(files, "x", "f").Sums.BLAKE3
	r.later()
	given := r.begin()
	other := r.collector()
	var next *gc.Round
	h.query = func(partition string) error {
		if partition != sp.History(sp.Shard("d2")) {
			return nil
		}
		h.query = nil
		r.Put("files", "d2/f", body(1))
		r.delete("files", "x/f")
		r.forgetHistory(files)
		r.Clock.Advance(time.Minute)
		var err error
		if next, err = other.Begin(t.Context(), gc.Options{}); err != nil {
			t.Fatal(err)
		}
		return nil
	}
	for _, part := range given.Parts() {
		if !strings.HasPrefix(part, "mark/") {
			continue
		}
		if err := r.gc.Part(t.Context(), false, given.ID, part, nil); err != nil && !errors.Is(err, gc.ErrOver) {
			t.Fatal(err)
		}
	}
	if next == nil {
		t.Fatal("the mark has not read the history of d2")
	}
	r.gc = other
	r.parts(next, "mark")
	r.finish(next)
	if ref, _, err := r.reference(hash); err != nil || ref.State != refs.Live {
		return fmt.Sprintf("what was named before the mark began is %v, %v", ref.State, err)
	}
	return ""
}
