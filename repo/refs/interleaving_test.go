package refs_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"granary/blob"
	blobmem "granary/blob/mem"
	"granary/kv"
	"granary/kv/chaos"
	"granary/kv/mem"
	"granary/kv/retry"
	"granary/repo/refs"
)

// others is what may happen between any two calls of an upload.
type others struct {
	*world
	listed kv.Version // what the collector found condemned a round ago
	swept  int        // steps of the deletion done
	mine   kv.Version // of the reference while it is deleted
	doomed blob.ID
}

// act does one step of somebody else.
func (o *others) act(what string) {
	switch what {
	case "condemn": // a sweep of this round; only the next may delete
		if r, v := o.ref(); v != "" && r.State == refs.Live {
			o.set(v, func(r *refs.Ref) { r.State = refs.Condemned })
		}
	case "sweep":
		o.sweep()
	case "upload":
		o.mustUpload()
	case "look": // a reader, or the audit
		if r, v := o.ref(); v != "" && (r.State == refs.Live || r.State == refs.Condemned) && !o.whole(r.Blob) {
			if err := o.keep.MarkLost(context.Background(), storeID, hash, r.Blob); err != nil {
				o.t.Error(err)
			}
		}
	}
}

// sweep deletes what was condemned a round ago, step by step, each on its
// condition (docs/architecture.md §8).
func (o *others) sweep() {
	switch o.swept {
	case 0:
		r, v := o.ref()
		if v == "" || v != o.listed {
			return
		}
		if r.State == refs.Condemned {
			o.mine, _ = o.set(v, func(r *refs.Ref) { r.State = refs.Deleting })
		} else {
			o.mine = v // deleting: the last round died here
		}
		o.doomed = r.Blob
	case 1:
		o.remove(o.doomed)
	case 2:
		if err := o.kv.DeleteIf(context.Background(), key(), o.mine); err != nil && !errors.Is(err, kv.ErrConflict) {
			o.t.Error(err)
		}
	}
	o.swept++
}

// schedules are all ways to put the acts, in order, before n calls.
func schedules(acts, n int) [][]int {
	if acts == 0 {
		return [][]int{nil}
	}
	var out [][]int
	for _, rest := range schedules(acts-1, n) {
		first := n
		if len(rest) > 0 {
			first = rest[0]
		}
		for at := range first + 1 {
			out = append(out, append([]int{at}, rest...))
		}
	}
	return out
}

// Whatever others do between the calls of an upload: what it holds is whole,
// and named by the reference, and stays so when the collector goes on.
func TestInterleavings(t *testing.T) {
	const calls = 7 // one more than an upload makes
	n := 0
	for _, c := range starts {
		for _, acts := range [][]string{
			{"condemn"},
			{"upload"},
			{"look"},
			{"sweep", "sweep", "sweep"},
			{"condemn", "upload"},
			{"upload", "condemn"},
			{"look", "upload"},
			{"upload", "sweep", "sweep", "sweep"},
			{"sweep", "upload", "sweep", "sweep"},
			{"sweep", "sweep", "upload", "sweep"},
			{"sweep", "sweep", "sweep", "upload"},
			{"sweep", "look", "sweep", "condemn", "sweep"},
		} {
			if slices.Contains(acts, "sweep") && !strings.HasPrefix(c.name, "condemned") && !strings.HasPrefix(c.name, "deleting") {
				continue // there is nothing to sweep
			}
			for _, when := range schedules(len(acts), calls) {
				n++
				if !interleave(t, c, acts, when) {
					t.Fatalf("from %q with %v before calls %v", c.name, acts, when)
				}
			}
		}
	}
	t.Logf("%d interleavings", n)
}

func interleave(t *testing.T, c start, acts []string, when []int) bool {
	w := newWorld(t)
	c.prepare(w)
	o := &others{world: w}
	if r, v := w.ref(); r.State == refs.Condemned || r.State == refs.Deleting {
		o.listed = v
	}
	call, next := 0, 0
	w.hook = func(after bool) error {
		if after {
			return nil
		}
		for next < len(acts) && when[next] <= call {
			o.act(acts[next])
			next++
		}
		call++
		return nil
	}
	rc := w.receive(content)
	h, err := w.keep.Hold(t.Context(), storeID, w.blobs, rc)
	if err != nil {
		t.Errorf("Hold: %v", err)
		return false
	}
	w.hook = nil
	w.discard(rc)
	for ; next < len(acts); next++ {
		o.act(acts[next])
	}
	for o.swept < 3 && o.listed != "" {
		before := o.swept
		if o.sweep(); o.swept == before {
			break
		}
	}
	r, v := w.ref()
	if v == "" || r.Blob != h.Blob || r.State != refs.Live && r.State != refs.Condemned || !w.whole(h.Blob) {
		t.Errorf("held is blob %s, whole: %v; the reference says %+v", h.Blob, w.whole(h.Blob), r)
		return false
	}
	return true
}

// Each call fails in turn, before or after its effect. What an upload leaves
// behind then never names bytes that are not there.
func TestFailures(t *testing.T) {
	broken := errors.New("broken")
	for _, c := range starts {
		for _, fault := range []error{broken, kv.ErrUnknown, kv.ErrThrottled, context.Canceled} {
			for _, late := range []bool{false, true} {
				if late && errors.Is(fault, kv.ErrThrottled) {
					continue // says that nothing happened
				}
				for at := range 8 {
					w := newWorld(t)
					c.prepare(w)
					was, _ := w.ref()
					call := 0
					w.hook = func(after bool) error {
						if after != late {
							return nil
						}
						call++
						if call == at+1 {
							return fault
						}
						return nil
					}
					rc := w.receive(content)
					h, err := w.keep.Hold(t.Context(), storeID, w.blobs, rc)
					w.hook = nil
					w.discard(rc)
					if err != nil && !errors.Is(err, fault) {
						t.Errorf("%s, call %d: %v", c.name, at, err)
					}
					r, v := w.ref()
					if v != "" && r.State == refs.Live && !w.whole(r.Blob) && r.Blob != was.Blob {
						t.Errorf("%s, call %d fails with %v (late: %v): the reference names bytes that are not there", c.name, at, fault, late)
					}
					if err == nil {
						w.check(h)
					}
					w.check(w.mustUpload()) // and the client that tries again succeeds
				}
			}
		}
	}
}

// The answer to the first write is lost; when it is sent again the collector has
// gone on from there, so that it conflicts. What the reference names stays, and
// what it names no more is not held.
func TestLandedAndOvertaken(t *testing.T) {
	broken := errors.New("broken")
	lose := func(o *others) {
		_, v := o.ref()
		o.set(v, func(r *refs.Ref) { r.State = refs.Lost })
	}
	condemn := func(o *others) { o.act("condemn"); _, o.listed = o.ref() }
	sweep := func(steps int) func(*others) {
		return func(o *others) {
			condemn(o)
			for range steps {
				o.sweep()
			}
		}
	}
	for name, c := range map[string]struct {
		happens func(*others)
		fails   int // call after the conflict, none if 0
		held    bool
	}{
		"condemned":                  {condemn, 0, true},
		"condemned, not read":        {condemn, 1, false},
		"condemned, not revived":     {condemn, 2, false},
		"being deleted":              {sweep(1), 0, false},
		"deleted, reference left":    {sweep(2), 0, false},
		"deleted":                    {sweep(3), 0, false},
		"lost":                       {lose, 0, false},
		"deleted, and there again":   {func(o *others) { sweep(3)(o); o.act("upload") }, 0, true},
		"deleted, and not looked at": {func(o *others) { sweep(3)(o); o.act("upload") }, 2, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			o := &others{world: w}
			before, overtaken := 0, 0
			w.hook = func(late bool) error {
				if !late {
					if before++; overtaken > 0 && before == overtaken+c.fails && c.fails > 0 {
						return broken
					}
					return nil
				}
				if _, v := o.ref(); v == "" || overtaken > 0 {
					return nil
				}
				overtaken = before
				c.happens(o)
				return kv.ErrConflict
			}
			rc := w.receive(content)
			h, err := w.keep.Hold(t.Context(), storeID, w.blobs, rc)
			w.hook = nil
			w.discard(rc)
			if (err == nil) != c.held {
				t.Fatalf("Hold: %v", err)
			}
			for before := -1; before != o.swept && o.swept > 0 && o.swept < 3; { // the collector goes on
				before = o.swept
				o.sweep()
			}
			r, v := w.ref()
			if v != "" && r.State != refs.Lost && !w.whole(r.Blob) {
				t.Errorf("the reference names blob %s, which is not whole: %+v", r.Blob, r)
			}
			if c.held && (v == "" || r.Blob != h.Blob || r.State != refs.Live) {
				t.Errorf("held is blob %s; the reference says %+v", h.Blob, r)
			}
		})
	}
}

// Many uploads of the same content at once end with one blob that all name.
func TestConcurrentUploads(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			w := newWorld(t)
			store := retry.New(chaos.New(mem.New(mem.Options{Misuse: func(err error) { t.Error(err) }}), chaos.Options{
				Seed: seed, Throttle: 0.1, Lost: 0.2, Late: 0.1, Delay: time.Millisecond, Pause: 0.2, MaxPause: time.Millisecond,
			}), retry.Options{Tries: 100, First: time.Microsecond, Last: 100 * time.Microsecond})
			keep := refs.New(refs.Config{KV: store})
			blobs := blobmem.New(blobmem.Config{Report: t.Errorf})
			w.blobs = blobs
			var mu sync.Mutex
			held := map[blob.ID]int{}
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					rc := w.receive(content)
					defer w.discard(rc)
					h, err := keep.Hold(t.Context(), storeID, blobs, rc)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					held[h.Blob]++
				})
			}
			wg.Wait()
			if len(held) != 1 || w.blobCount() != 1 {
				t.Errorf("held are %v; %d blobs are left", held, w.blobCount())
			}
			if s := keep.Stats(); s.Stored != 1 || s.Dedup != 15 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}
