package chaos_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"time"

	"pgregory.net/rapid"

	"granary/blob"
	"granary/blob/blobtest"
	"granary/blob/chaos"
	"granary/blob/mem"
)

// Slow is all that a store may be and still pass.
func TestSlowStore(t *testing.T) {
	blobtest.Test(t, func(t *testing.T) blob.Store {
		s := mem.New(mem.Config{Report: t.Errorf})
		t.Cleanup(s.Check)
		return chaos.Wrap(s, chaos.Config{Seed: 1, MaxDelay: 20 * time.Microsecond})
	})
}

func pick(t *rapid.T, name string) float64 {
	return rapid.SampledFrom([]float64{0, 0.1, 0.5}).Draw(t, name)
}

// Whatever fails while bodies are received, what was kept is whole, and what
// was not is gone, unless it could not be deleted, of which Discard tells.
func TestReceiveThroughChaos(t *testing.T) {
	failures := 0
	rapid.Check(t, func(rt *rapid.T) {
		inner := mem.New(mem.Config{Report: t.Errorf})
		s := chaos.Wrap(inner, chaos.Config{
			Seed: rapid.Uint64().Draw(rt, "seed"), Before: pick(rt, "before"), After: pick(rt, "after"), Cut: pick(rt, "cut"),
		})
		kept := map[blob.ID][]byte{}
		undeleted := 0
		for i := range rapid.IntRange(1, 8).Draw(rt, "bodies") {
			body := bytes.Repeat([]byte{byte(i)}, rapid.SampledFrom([]int{0, 1, 2000}).Draw(rt, "size"))
			v, err := blob.Receive(rt.Context(), s, bytes.NewReader(body), blob.Options{Buffer: 1000, Size: -1})
			if err != nil {
				if !errors.Is(err, blob.ErrUnavailable) {
					rt.Fatal(err)
				}
				continue
			}
			id, err := v.Persist(rt.Context())
			if err == nil && rapid.Bool().Draw(rt, "keep") {
				v.Keep()
				kept[id] = body
			}
			if v.Discard(rt.Context()) != nil {
				undeleted++
			}
		}
		failures += s.Failures()
		s.Quiet(true)
		left := 0
		for info, err := range s.List(rt.Context(), "") {
			if err != nil {
				rt.Fatal(err)
			}
			if _, ok := kept[info.ID]; !ok {
				left++
			}
		}
		if left > undeleted {
			rt.Errorf("%d blobs are left, Discard told of %d", left, undeleted)
		}
		for id, want := range kept {
			r, err := s.Open(rt.Context(), id, 0, -1)
			if err != nil {
				rt.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if cerr := r.Close(); err != nil || cerr != nil || !bytes.Equal(got, want) {
				rt.Errorf("%s: %d bytes, want %d, %v", id, len(got), len(want), err)
			}
		}
		inner.Check()
	})
	if failures == 0 {
		t.Error("nothing ever failed")
	}
}

// One seed gives one history.
func TestSeed(t *testing.T) {
	history := func(seed uint64) (out []bool) {
		s := chaos.Wrap(mem.New(mem.Config{}), chaos.Config{Seed: seed, Before: 0.5})
		for range 64 {
			_, err := s.Stat(t.Context(), "01ARZ3NDEKTSV4RRFFQ69G5FAV")
			out = append(out, errors.Is(err, blob.ErrUnavailable))
		}
		return out
	}
	equal := func(a, b []bool) bool {
		for i := range a {
			if a[i] != b[i] {
				return false
			}
		}
		return true
	}
	if !equal(history(7), history(7)) || equal(history(7), history(8)) {
		t.Error("the history does not follow from the seed")
	}
}
