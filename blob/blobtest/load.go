package blobtest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"granary/blob"
)

// testReceive runs the way that uploads take, in memory and streaming.
func (s Suite) testReceive(t *testing.T) {
	store := s.Open(t)
	for _, n := range []int{0, 100, 3 << 20} {
		c := content(n, 9)
		for _, keep := range []bool{false, true} {
			v, err := blob.Receive(t.Context(), store, bytes.NewReader(c), blob.Options{Buffer: 1 << 20, Size: -1})
			if err != nil {
				t.Fatal(err)
			}
			p := make([]byte, min(n, 1000))
			if _, err := v.ReadAt(p, int64(n-len(p))); err != nil && !errors.Is(err, io.EOF) || !bytes.Equal(p, c[n-len(p):]) {
				t.Errorf("%d bytes: ReadAt of the end: %v", n, err)
			}
			id, err := v.Persist(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if keep {
				v.Keep()
			}
			if err := v.Discard(t.Context()); err != nil {
				t.Error(err)
			}
			err = expect(t.Context(), store, id, c)
			if keep && err != nil || !keep && !errors.Is(err, blob.ErrNotFound) {
				t.Errorf("%d bytes, kept: %v: %v", n, keep, err)
			}
		}
	}
}

// testRace lets several writers commit under one id: one of them wins, whole.
func (s Suite) testRace(t *testing.T) {
	if s.Overwrites {
		t.Skip("the store can't refuse an id that is in use")
	}
	store := s.Open(t)
	for range 5 {
		id := newID(t)
		var wins atomic.Int32
		var winner atomic.Int32
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				err := put(t.Context(), store, id, -1, content(5000, byte(i)))
				switch {
				case err == nil:
					wins.Add(1)
					winner.Store(int32(i))
				case !errors.Is(err, blob.ErrExists):
					t.Errorf("writer %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if wins.Load() != 1 {
			t.Fatalf("%d of 12 writers of one id succeeded", wins.Load())
		}
		if err := expect(t.Context(), store, id, content(5000, byte(winner.Load()))); err != nil {
			t.Error(err)
		}
	}
}

func (s Suite) testListMany(t *testing.T) {
	store := s.Open(t)
	many := s.Many
	if many == 0 {
		many = 100
	}
	want := map[blob.ID]int64{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := i; n < many; n += 8 {
				id := newID(t)
				if err := put(t.Context(), store, id, int64(n%5), content(n%5, 0)); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				want[id] = int64(n % 5)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	prefixes := map[string]bool{"": true}
	for id := range want {
		if len(prefixes) < 4 {
			prefixes[id.Path()[:len(prefixes)]] = true
		}
	}
	for _, p := range slices.Sorted(maps.Keys(prefixes)) {
		some := maps.Clone(want)
		maps.DeleteFunc(some, func(id blob.ID, _ int64) bool { return !strings.HasPrefix(id.Path(), p) })
		if diff := cmp.Diff(some, list(t, store, p)); diff != "" {
			t.Errorf("List(%q) (-want +got):\n%s", p, diff)
		}
	}
	// Who has enough stops.
	for range store.List(t.Context(), "") {
		break
	}
	// A list that goes on while blobs are deleted sees each once or not at all.
	seen := map[blob.ID]bool{}
	for info, err := range store.List(t.Context(), "") {
		if err != nil {
			t.Fatal(err)
		}
		if seen[info.ID] {
			t.Errorf("%s is listed twice", info.ID)
		}
		seen[info.ID] = true
		if err := store.Delete(t.Context(), info.ID); err != nil {
			t.Fatal(err)
		}
	}
	if left := list(t, store, ""); len(seen) != len(want) || len(left) != 0 {
		t.Errorf("listed %d of %d while deleting, %d are left", len(seen), len(want), len(left))
	}
}

func list(t *testing.T, s blob.Store, prefix string) map[blob.ID]int64 {
	t.Helper()
	got := map[blob.ID]int64{}
	for info, err := range s.List(t.Context(), prefix) {
		if err != nil {
			t.Fatalf("List(%q): %v", prefix, err)
		}
		if _, ok := got[info.ID]; ok {
			t.Errorf("List(%q) has %s twice", prefix, info.ID)
		}
		got[info.ID] = info.Size
	}
	return got
}

// testReadWhileDeleted expects whole content or an error, never other bytes.
func (s Suite) testReadWhileDeleted(t *testing.T) {
	store := s.Open(t)
	c := content(300_000, 3)
	for range 4 {
		id := newID(t)
		if err := put(t.Context(), store, id, -1, c); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				r, err := store.Open(t.Context(), id, 0, -1)
				if errors.Is(err, blob.ErrNotFound) {
					return
				}
				if err != nil {
					t.Error(err)
					return
				}
				defer r.Close() //nolint:errcheck // nothing was written
				got, err := io.ReadAll(r)
				if err == nil && !bytes.Equal(got, c) {
					t.Errorf("read %d bytes, want %d, or other ones", len(got), len(c))
				}
			})
		}
		wg.Go(func() {
			if err := store.Delete(t.Context(), id); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
	}
}

// bigGrowth is how many bytes of heap a transfer of any length may take.
const bigGrowth = 32 << 20

// testBig streams a blob in and out and watches the heap.
func (s Suite) testBig(t *testing.T) {
	if s.Big == 0 || testing.Short() {
		t.Skip("no big blob asked for")
	}
	store := s.Open(t)
	runtime.GC()
	var before, now runtime.MemStats
	runtime.ReadMemStats(&before)
	peak := uint64(0)
	watch := func() {
		runtime.ReadMemStats(&now)
		peak = max(peak, now.HeapInuse)
	}
	v, err := blob.Receive(t.Context(), store, &watched{n: s.Big, each: watch}, blob.Options{Size: s.Big})
	if err != nil {
		t.Fatal(err)
	}
	defer v.Discard(context.WithoutCancel(t.Context())) //nolint:errcheck // the store goes with the test
	id, err := v.Persist(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r, err := store.Open(t.Context(), id, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close() //nolint:errcheck // nothing was written
	n, err := io.Copy(&watchedWriter{each: watch}, r)
	if err != nil || n != s.Big {
		t.Errorf("read %d of %d bytes: %v", n, s.Big, err)
	}
	if grown := int64(peak) - int64(before.HeapInuse); grown > bigGrowth {
		t.Errorf("%d MiB took %d MiB of heap", s.Big>>20, grown>>20)
	} else {
		t.Logf("%d MiB took %d MiB of heap", s.Big>>20, grown>>20)
	}
}

// watched reads n bytes and calls each every 16 MiB or so.
type watched struct {
	n, last int64
	each    func()
}

func (w *watched) Read(p []byte) (int, error) {
	if w.n == 0 {
		return 0, io.EOF
	}
	p = p[:min(int64(len(p)), w.n)]
	p[0] = byte(w.n >> 10)
	w.n -= int64(len(p))
	if w.last-w.n > 16<<20 || w.last == 0 {
		w.last = w.n
		w.each()
	}
	return len(p), nil
}

// watchedWriter drops what it gets and calls each every 16 MiB or so.
type watchedWriter struct {
	n, last int64
	each    func()
}

func (w *watchedWriter) Write(p []byte) (int, error) {
	if w.n += int64(len(p)); w.n-w.last > 16<<20 {
		w.last = w.n
		w.each()
	}
	return len(p), nil
}

// testWorkObjects keeps the collector's objects apart from blobs.
func (s Suite) testWorkObjects(t *testing.T) {
	store := s.Open(t)
	round, there := newID(t), newID(t)
	objects := map[blob.ID]int64{}
	for i := range 3 {
		id := blob.WorkID(round, newID(t))
		if err := put(t.Context(), store, id, -1, content(100+i, 1)); err != nil {
			t.Fatal(err)
		}
		if err := expect(t.Context(), store, id, content(100+i, 1)); err != nil {
			t.Error(err)
		}
		objects[id] = int64(100 + i)
	}
	if err := put(t.Context(), store, there, 1, []byte("x")); err != nil {
		t.Fatal(err)
	}
	for prefix, want := range map[string]map[blob.ID]int64{
		"":                                    {there: 1},
		".gc":                                 {},
		blob.WorkFolder:                       objects,
		blob.WorkFolder + string(round):       objects,
		blob.WorkFolder + string(newID(t)):    {},
		blob.WorkFolder + string(round) + ".": objects,
	} {
		if diff := cmp.Diff(want, list(t, store, prefix)); diff != "" {
			t.Errorf("List(%q) (-want +got):\n%s", prefix, diff)
		}
	}
	for id := range objects {
		if err := store.Delete(t.Context(), id); err != nil {
			t.Error(err)
		}
	}
	if got := list(t, store, blob.WorkFolder); len(got) != 0 {
		t.Errorf("after their deletion there are %v", got)
	}
}
