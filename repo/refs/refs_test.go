package refs_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"granary/formats"
	"granary/kv"
	"granary/repo/refs"
)

// start is a state that an upload may meet.
type start struct {
	name    string
	prepare func(w *world)
	// what a Hold then comes to and costs
	dedup               bool
	reads, writes, blob int
	stats               refs.Stats
}

var starts = []start{
	{"absent", func(*world) {}, false, 1, 1, 1, refs.Stats{Stored: 1}},
	{"live", func(w *world) { w.mustUpload() }, true, 1, 0, 1, refs.Stats{Dedup: 1}},
	{"live, blob missing", func(w *world) { w.remove(w.mustUpload().Blob) }, false, 1, 2, 3, refs.Stats{Lost: 1, Healed: 1}},
	{"live, blob too short", func(w *world) {
		w.mustUpload()
		short := w.store(content[1:])
		_, v := w.ref()
		w.set(v, func(r *refs.Ref) { r.Blob = short })
	}, false, 1, 2, 3, refs.Stats{Lost: 1, Healed: 1}},
	{"condemned", func(w *world) {
		w.mustUpload()
		w.turn(refs.Condemned)
	}, true, 1, 1, 1, refs.Stats{Dedup: 1, Revived: 1}},
	{"condemned, blob missing", func(w *world) {
		w.remove(w.mustUpload().Blob)
		w.turn(refs.Condemned)
	}, false, 1, 3, 3, refs.Stats{Revived: 1, Lost: 1, Healed: 1}},
	{"deleting", func(w *world) {
		w.mustUpload()
		w.turn(refs.Deleting)
	}, false, 1, 1, 1, refs.Stats{Healed: 1}},
	{"deleting, blob gone", func(w *world) {
		w.remove(w.mustUpload().Blob)
		w.turn(refs.Deleting)
	}, false, 1, 1, 1, refs.Stats{Healed: 1}},
	{"lost", func(w *world) {
		w.remove(w.mustUpload().Blob)
		w.turn(refs.Lost)
	}, false, 1, 1, 2, refs.Stats{Healed: 1}},
}

func less(a, b refs.Stats) refs.Stats {
	return refs.Stats{
		Stored: a.Stored - b.Stored, Dedup: a.Dedup - b.Dedup, Lost: a.Lost - b.Lost,
		Healed: a.Healed - b.Healed, Revived: a.Revived - b.Revived, Raced: a.Raced - b.Raced,
	}
}

func TestHold(t *testing.T) {
	for _, c := range starts {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.prepare(w)
			before := w.keep.Stats()
			w.kv.Reset()
			w.calls.Store(0)
			w.wall.Add(1)
			rc := w.receive(content)
			h, err := w.keep.Hold(t.Context(), storeID, w.blobs, rc)
			if err != nil {
				t.Fatal(err)
			}
			if w.kv.Reads() != c.reads || w.kv.Writes() != c.writes || int(w.calls.Load()) != c.blob {
				t.Errorf("%v and %d blob calls, want %d reads, %d writes, %d blob calls", w.kv, w.calls.Load(), c.reads, c.writes, c.blob)
			}
			w.discard(rc)
			w.check(h)
			if h.Dedup != c.dedup || h.Size != int64(len(content)) || h.Store != storeID || !bytes.Equal(h.Hash, hash) {
				t.Errorf("held %+v, want dedup %v", h, c.dedup)
			}
			if got := less(w.keep.Stats(), before); got != c.stats {
				t.Errorf("stats %+v, want %+v", got, c.stats)
			}
			if r, _ := w.ref(); c.writes > 0 && r.Since != w.wall.Load() {
				t.Errorf("since %d, want %d", r.Since, w.wall.Load())
			}
		})
	}
}

// check holds the result of a use against the stores.
func (w *world) check(h refs.Held) {
	w.t.Helper()
	r, v := w.ref()
	if v == "" || r.Blob != h.Blob || r.State != refs.Live || r.Size != int64(len(content)) {
		w.t.Errorf("held is blob %s, the reference says %+v", h.Blob, r)
	}
	if !w.whole(h.Blob) {
		w.t.Errorf("blob %s is not whole", h.Blob)
	}
}

// Two records of one upload hold its content twice.
func TestHoldTwice(t *testing.T) {
	w := newWorld(t)
	rc := w.receive(content)
	for i := range 2 {
		h, err := w.keep.Hold(t.Context(), storeID, w.blobs, rc)
		if err != nil || h.Dedup != (i > 0) {
			t.Fatalf("Hold = %+v, %v", h, err)
		}
		defer w.check(h)
	}
	w.discard(rc)
}

func TestHoldErrors(t *testing.T) {
	w := newWorld(t)
	rc := w.receive(content)
	defer w.discard(rc)
	if _, err := w.keep.Hold(t.Context(), "", w.blobs, rc); err == nil {
		t.Error("Hold in no store succeeded")
	}
	w.mustUpload()
	item, err := w.kv.Get(t.Context(), key())
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range [][]byte{{0xff}, {0xa0}} {
		old := item.Version
		item.Value, item.Version = bad, kv.NewVersion()
		if err := w.kv.PutIf(t.Context(), item, old); err != nil {
			t.Fatal(err)
		}
		if _, err := w.keep.Hold(t.Context(), storeID, w.blobs, rc); !errors.Is(err, formats.ErrCorrupt) {
			t.Errorf("Hold with reference %x = %v, want ErrCorrupt", bad, err)
		}
	}
}

func TestUse(t *testing.T) {
	want := map[string]error{
		"absent": refs.ErrNotFound, "deleting": refs.ErrNotFound, "deleting, blob gone": refs.ErrNotFound, "lost": refs.ErrLost,
	}
	for _, c := range starts {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			c.prepare(w)
			was, _ := w.ref()
			w.kv.Reset()
			h, err := w.keep.Use(t.Context(), storeID, hash)
			if !errors.Is(err, want[c.name]) {
				t.Fatalf("Use = %v, want %v", err, want[c.name])
			}
			writes := 0
			if was.State == refs.Condemned {
				writes = 1
			}
			if w.kv.Reads() != 1 || w.kv.Writes() != writes {
				t.Errorf("%v, want one read and %d writes", w.kv, writes)
			}
			if err != nil {
				return
			}
			if now, _ := w.ref(); h.Blob != was.Blob || h.Size != was.Size || !h.Dedup || now.State != refs.Live {
				t.Errorf("held %+v of %+v, which is %v now", h, was, now.State)
			}
		})
	}
	if _, err := newWorld(t).keep.Use(t.Context(), storeID, []byte("short")); err == nil {
		t.Error("Use of no hash succeeded")
	}
}

func TestConfirm(t *testing.T) {
	replace := func(s refs.State) func(*world) {
		return func(w *world) {
			_, v := w.ref()
			other := w.store(content)
			w.set(v, func(r *refs.Ref) { r.Blob, r.State = other, s })
		}
	}
	state := func(s refs.State) func(*world) { return func(w *world) { w.turn(s) } }
	for _, c := range []struct {
		name string
		then func(w *world)
		want error
	}{
		{"live", func(*world) {}, nil},
		{"condemned", state(refs.Condemned), nil},
		{"deleting", state(refs.Deleting), refs.ErrGone},
		{"lost", state(refs.Lost), refs.ErrGone},
		{"replaced", replace(refs.Live), refs.ErrGone},
		{"replaced and condemned", replace(refs.Condemned), refs.ErrGone},
		{"gone", func(w *world) {
			_, v := w.ref()
			if err := w.kv.DeleteIf(t.Context(), key(), v); err != nil {
				t.Fatal(err)
			}
		}, refs.ErrGone},
	} {
		for _, clock := range []struct {
			name       string
			wall, mono time.Duration
			looks      bool
		}{
			{"at once", 0, 0, false},
			{"a quarter", 15 * time.Minute, 15 * time.Minute, false},
			{"later", 15*time.Minute + 1, 15*time.Minute + 1, true},
			{"the wall clock jumped", time.Hour, time.Second, true},
			{"the wall clock went back", -time.Hour, time.Second, true},
			{"the wall clock stood still", 0, time.Hour, true},
		} {
			t.Run(c.name+", "+clock.name, func(t *testing.T) {
				w := newWorld(t)
				h := w.mustUpload()
				c.then(w)
				was, _ := w.ref()
				w.wall.Add(int64(clock.wall))
				w.mono.Add(int64(clock.mono))
				w.kv.Reset()
				err := w.keep.Confirm(t.Context(), h)
				if !clock.looks {
					if err != nil || w.kv.Reads()+w.kv.Writes() != 0 {
						t.Errorf("Confirm = %v with %v", err, w.kv)
					}
					return
				}
				if !errors.Is(err, c.want) || w.kv.Reads() != 1 {
					t.Errorf("Confirm = %v with %v, want %v", err, w.kv, c.want)
				}
				switch now, v := w.ref(); {
				case c.want == nil && now.State != refs.Live:
					t.Errorf("the reference is %v", now.State)
				case c.want != nil && v != "" && now.State != was.State:
					t.Errorf("the reference is %v, was %v", now.State, was.State)
				}
				if w.kv.Calls()["PutIfLazy"] != 0 {
					t.Error("a lazy write that nothing follows")
				}
			})
		}
	}
	if err := newWorld(t).keep.Confirm(t.Context(), refs.Held{}); err == nil || errors.Is(err, refs.ErrGone) {
		t.Errorf("Confirm of nothing = %v", err)
	}
}

func TestResolve(t *testing.T) {
	for s, want := range map[refs.State]error{
		0: refs.ErrNotFound, refs.Live: nil, refs.Condemned: nil, refs.Deleting: refs.ErrNotFound, refs.Lost: refs.ErrLost,
	} {
		w := newWorld(t)
		if s != 0 {
			w.mustUpload()
			w.turn(s)
		}
		was, _ := w.ref()
		w.kv.Reset()
		id, err := w.keep.Resolve(t.Context(), storeID, hash)
		if !errors.Is(err, want) || err == nil && id != was.Blob || w.kv.Writes() != 0 {
			t.Errorf("Resolve of %v = %s, %v, want %s, %v", s, id, err, was.Blob, want)
		}
		if s == refs.Lost && !errors.Is(err, formats.ErrCorrupt) {
			t.Errorf("%v is no ErrCorrupt", err)
		}
	}
}

// Lost content heals with the next upload, for old records too.
func TestHealing(t *testing.T) {
	w := newWorld(t)
	old := w.mustUpload().Blob
	if err := w.keep.MarkLost(t.Context(), storeID, hash, "01BX5ZZKBKACTAV9WEVGEMMVRZ"); err != nil {
		t.Error(err)
	}
	if r, _ := w.ref(); r.State != refs.Live {
		t.Errorf("another blob was lost, and the reference is %v", r.State)
	}
	w.remove(old)
	for range 2 {
		if err := w.keep.MarkLost(t.Context(), storeID, hash, old); err != nil {
			t.Error(err)
		}
		if r, _ := w.ref(); r.State != refs.Lost {
			t.Errorf("the reference is %v", r.State)
		}
	}
	if w.keep.Stats().Lost != 1 {
		t.Errorf("%d lost", w.keep.Stats().Lost)
	}
	h := w.mustUpload()
	id, err := w.keep.Resolve(t.Context(), storeID, hash)
	if err != nil || id != h.Blob || id == old || !w.whole(id) {
		t.Errorf("Resolve = %s, %v, want %s", id, err, h.Blob)
	}
	if err := w.keep.MarkLost(t.Context(), storeID, hash, old); err != nil {
		t.Error(err)
	}
	if r, _ := w.ref(); r.State != refs.Live {
		t.Errorf("a late reader of the old blob made the reference %v", r.State)
	}
	if err := newWorld(t).keep.MarkLost(t.Context(), storeID, hash, old); err != nil {
		t.Error(err)
	}
}

func TestStates(t *testing.T) {
	for s, want := range map[refs.State]string{refs.Live: "live", refs.Condemned: "condemned", refs.Deleting: "deleting", refs.Lost: "lost", 9: "state 9"} {
		if s.String() != want {
			t.Errorf("%d is %q, want %q", uint8(s), s, want)
		}
	}
}
