package record_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"granary/kv"
	"granary/kv/count"
	"granary/kv/mem"
	"granary/repo/record"
)

func ensure(t *testing.T, s *record.Store, dir string) {
	t.Helper()
	if err := s.EnsureMarkers(t.Context(), space, dir); err != nil {
		t.Fatal(err)
	}
}

func marker(t *testing.T, store kv.Store, dir, child string) kv.Version {
	t.Helper()
	item, err := store.Get(t.Context(), space.Marker(dir, child), kv.Consistent)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		t.Fatal(err)
	}
	return item.Version
}

// Markers are written when this node has not done so within the hour.
func TestMarkersAreKnownForAnHour(t *testing.T) {
	s, n, c := counted(t)
	for _, step := range []struct {
		after  time.Duration
		dir    string
		writes int
	}{
		{0, "", 0},
		{0, "a/b", 2},
		{time.Minute, "a/b", 0},
		{0, "a/c", 1},
		{58 * time.Minute, "a/c/d", 1},
		// a and a/b are an hour old; nothing has been counted there, so they get
		// a new version: a refused write and one that succeeds.
		{time.Minute, "a/b", 4},
		{0, "a/b", 0},
	} {
		c.add(step.after)
		n.Reset()
		ensure(t, s, step.dir)
		if n.Writes() != step.writes || n.Reads() != 0 {
			t.Errorf("%q: %v, want %d writes", step.dir, n, step.writes)
		}
	}
}

// The collector may remove a marker that it found empty twice, an hour or more
// apart. Who relies on one has written to it in between, or makes it again.
func TestMarkersAgainstTheCollector(t *testing.T) {
	c := newClock()
	store := newMem(t, mem.Options{})
	one, two := newStore(t, shared{store}, c, "n1"), newStore(t, shared{store}, c, "n2")
	put(t, one, "a", "f", "x")
	if err := one.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	list(t, two, "", 10) // two learns of the directory
	remove(t, one, "a", "f")
	if err := one.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := marker(t, store, "", "a")
	c.add(59 * time.Minute)
	ensure(t, two, "a")
	if marker(t, store, "", "a") != first {
		t.Error("a directory that is known was marked again")
	}
	c.add(2 * time.Minute)
	ensure(t, two, "a")
	second := marker(t, store, "", "a")
	if second == first {
		t.Error("an empty marker kept its version beyond the hour")
	}
	if err := store.DeleteIf(t.Context(), space.Marker("", "a"), second); err != nil {
		t.Fatal(err)
	}
	put(t, two, "a", "g", "x") // relies on what is gone
	if err := two.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"a/ 1 1"}, list(t, one, "", 10)); d != "" {
		t.Error(d)
	}
	// What is taken from a directory without a marker does not make one.
	if err := store.DeleteIf(t.Context(), space.Marker("", "a"), marker(t, store, "", "a")); err != nil {
		t.Fatal(err)
	}
	remove(t, one, "a", "g")
	if err := one.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if marker(t, store, "", "a") != "" {
		t.Error("a delete made a marker")
	}
}

// A directory whose counter is wrong is looked into, and shown if need be.
func TestWrongCounter(t *testing.T) {
	c := newClock()
	store := newMem(t, mem.Options{})
	put(t, newStore(t, store, c, "n1"), "a/b", "f", "x") // and this node dies
	item, err := store.Get(t.Context(), space.Marker("", "a"))
	if err != nil {
		t.Fatal(err)
	}
	item.Value = []byte{0xa0} // nothing was counted
	old := item.Version
	item.Version = kv.NewVersion()
	if err := store.PutIf(t.Context(), item, old); err != nil {
		t.Fatal(err)
	}
	n := count.New(store)
	s := newStore(t, n, c, "n2")
	for range 2 {
		if d := cmp.Diff([]string{"a/ 0 0"}, list(t, s, "", 10)); d != "" {
			t.Error(d)
		}
	}
	n.Reset()
	list(t, s, "", 10)
	if n.Reads() != 1 {
		t.Errorf("%d reads to look again at once", n.Reads())
	}
	remove(t, s, "a/b", "f")
	if d := cmp.Diff([]string{}, list(t, s, "", 10)); d != "" {
		t.Error(d)
	}
}

// An unknown outcome of a counter's write is settled with the next.
func TestCountsWithUnknownOutcome(t *testing.T) {
	for _, landed := range []bool{false, true} {
		fail := false
		hook := func(op mem.Op) error {
			if fail && op.Write() {
				return kv.ErrUnknown
			}
			return nil
		}
		o := mem.Options{Before: hook}
		if landed {
			o = mem.Options{After: hook}
		}
		s := newStore(t, newMem(t, o), newClock(), "n1")
		put(t, s, "a", "f", "12345")
		check := func(when string) {
			t.Helper()
			if d := cmp.Diff([]string{"a/ 2 10"}, list(t, s, "", 1)); d != "" {
				t.Errorf("%s, landed %v: %s", when, landed, d)
			}
			if n, b, err := s.Usage(t.Context(), "r1"); n != 2 || b != 10 || err != nil {
				t.Errorf("%s, landed %v: Usage = %d, %d, %v", when, landed, n, b, err)
			}
		}
		put(t, s, "a", "g", "12345")
		fail = true
		if err := s.Flush(t.Context()); !errors.Is(err, kv.ErrUnknown) {
			t.Errorf("Flush = %v, want ErrUnknown", err)
		}
		fail = false
		check("unknown")
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		check("settled")
	}
}

// Two flushes that find out at once what became of a write count it once.
func TestFlushesAtOnce(t *testing.T) {
	var s *record.Store
	var fail, asked bool
	s = newStore(t, newMem(t, mem.Options{Before: func(op mem.Op) error {
		switch {
		case fail && op.Write():
			return kv.ErrUnknown
		case asked && op.Method == "Get":
			asked = false
			if err := s.Flush(t.Context()); err != nil {
				t.Errorf("the other Flush = %v", err)
			}
			put(t, s, "a", "g", "12345")
		}
		return nil
	}}), newClock(), "n1")
	put(t, s, "a", "f", "12345")
	fail = true
	if err := s.Flush(t.Context()); !errors.Is(err, kv.ErrUnknown) {
		t.Errorf("Flush = %v, want ErrUnknown", err)
	}
	fail, asked = false, true
	for range 2 {
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n, b, err := s.Usage(t.Context(), "r1"); n != 2 || b != 10 || err != nil {
		t.Errorf("Usage = %d, %d, %v", n, b, err)
	}
}

// Off an embedded store a total is trusted for a second, or longer where
// counting is slow, and follows this node's own writes.
func TestTotalsOfSharedStores(t *testing.T) {
	for _, c := range []struct {
		slow, stays time.Duration
	}{{0, time.Second}, {2 * time.Second, 40 * time.Second}} {
		clk := newClock()
		counting := false
		store := shared{newMem(t, mem.Options{Before: func(op mem.Op) error {
			if counting && op.Method == "Query" {
				clk.add(c.slow / 2) // directories and files
			}
			return nil
		}})}
		one, two := newStore(t, store, clk, "n1"), newStore(t, store, clk, "n2")
		put(t, one, "a", "1", "x")
		total := func(want int) {
			t.Helper()
			counting = true
			if n, err := two.Total(t.Context(), space, "a"); n != want || err != nil {
				t.Errorf("Total = %d, %v, want %d", n, err, want)
			}
			counting = false
		}
		total(1)
		put(t, one, "a", "2", "x")
		total(1)
		put(t, two, "a", "3", "x")
		total(2)
		clk.add(c.stays - time.Millisecond)
		total(2)
		clk.add(time.Millisecond)
		total(3)
	}
}

// Writers, deleters and listers at once: totals are right when all is quiet.
func TestTotalsUnderLoad(t *testing.T) {
	store := newMem(t, mem.Options{})
	s := record.New(record.Config{KV: store, Node: "n1"})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 50 {
				dir := fmt.Sprintf("d/%d", i%5)
				put(t, s, dir, fmt.Sprint(w, "-", i), "x")
				if i%2 == 0 {
					remove(t, s, dir, fmt.Sprint(w, "-", i))
				}
				if i%10 == 9 {
					if err := s.Flush(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
		})
		wg.Go(func() {
			for i := range 50 {
				if _, err := s.DirAt(t.Context(), space, fmt.Sprintf("d/%d", i%5), i%7, 3); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for i := range 5 {
		dir := fmt.Sprintf("d/%d", i)
		want := len(list(t, s, dir, 1000))
		deadline := time.Now().Add(time.Minute)
		for {
			n, err := s.Total(t.Context(), space, dir)
			if n == want && err == nil {
				break
			}
			if err != nil || time.Now().After(deadline) {
				t.Errorf("Total(%q) = %d, %v, want %d", dir, n, err, want)
				break
			}
			time.Sleep(50 * time.Millisecond) // one that overlapped with a write ends after a second
		}
	}
}

func TestAccesses(t *testing.T) {
	s, n, c := counted(t)
	last := func(name string) time.Time {
		t.Helper()
		at, err := s.LastAccess(t.Context(), space, "a", name)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	today := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	if at := last("f"); !at.IsZero() {
		t.Errorf("last access %v of what was never read", at)
	}
	n.Reset()
	for range 3 {
		s.Accessed(space, "a", "f")
	}
	s.Accessed(space, "a", "g")
	if at := last("f"); !at.Equal(today) || n.Reads()+n.Writes() != 0 {
		t.Errorf("last access %v, want %v; %v", at, today, n)
	}
	for range 2 {
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.Accessed(space, "a", "f")
	}
	if n.Writes() != 2 {
		t.Errorf("%d writes in a day, want 2", n.Writes())
	}
	other := newStore(t, n, c, "n2")
	if at, err := other.LastAccess(t.Context(), space, "a", "f"); !at.Equal(today) || err != nil {
		t.Errorf("last access %v, %v, want %v", at, err, today)
	}
	c.add(24 * time.Hour)
	s.Accessed(space, "a", "f")
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if at := last("f"); !at.Equal(today.Add(24 * time.Hour)) {
		t.Errorf("last access %v a day later", at)
	}
	item, err := n.Get(t.Context(), space.Accessed("a", "f"))
	if want := c.now().Add(400 * 24 * time.Hour); err != nil || !item.Expires.Equal(want) {
		t.Errorf("expires %v, %v, want %v", item.Expires, err, want)
	}
}

// While the store does not take them, accesses are dropped, and counted.
func TestAccessesAreBounded(t *testing.T) {
	fail := true
	s := newStore(t, newMem(t, mem.Options{Before: func(mem.Op) error {
		if fail {
			return kv.ErrThrottled
		}
		return nil
	}}), newClock(), "n1")
	for i := range 10_000 {
		s.Accessed(space, "a", fmt.Sprint(i))
	}
	if err := s.Flush(t.Context()); !errors.Is(err, kv.ErrThrottled) {
		t.Errorf("Flush = %v", err)
	}
	if n := s.Stats().AccessesDropped; n != 10_000-8192 {
		t.Errorf("%d dropped", n)
	}
	fail = false
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	s.Accessed(space, "a", "again")
	if n := s.Stats().AccessesDropped; n != 10_000-8192 {
		t.Errorf("%d dropped when all was written", n)
	}
}

func TestCountsAreBounded(t *testing.T) {
	s := newStore(t, newMem(t, mem.Options{}), newClock(), "n1")
	for i := range 1<<14 + 1000 {
		if _, err := s.Put(t.Context(), space, fmt.Sprint(i), "f", file("x"), nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.Stats().CountsDropped; n != 1001 {
		t.Errorf("%d dropped", n)
	}
}

// Run writes counters within about a second and accesses within five.
func TestRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newMem(t, mem.Options{})
		s := record.New(record.Config{KV: store, Node: "n1"})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { s.Run(ctx) })
		put(t, s, "a", "f", "x")
		put(t, s, "a", "g", "x")
		s.Accessed(space, "a", "f")
		time.Sleep(1100 * time.Millisecond)
		other := newStore(t, shared{store}, newClock(), "n2")
		if d := cmp.Diff([]string{"a/ 2 2"}, list(t, other, "", 1)); d != "" {
			t.Errorf("after a second: %s", d)
		}
		time.Sleep(4 * time.Second)
		if at, err := other.LastAccess(t.Context(), space, "a", "f"); at.IsZero() || err != nil {
			t.Errorf("last access after five seconds: %v, %v", at, err)
		}
		cancel()
		wg.Wait()
		put(t, s, "a", "h", "x")
		if err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if d := cmp.Diff([]string{"a/ 3 3"}, list(t, other, "", 1)); d != "" {
			t.Errorf("after Close: %s", d)
		}
	})
}

// Counters that are written while a listing reads them are counted once.
func TestFlushDuringListing(t *testing.T) {
	for _, late := range []bool{false, true} {
		for _, embedded := range []bool{false, true} {
			var s *record.Store
			armed := false
			hook := func(op mem.Op) error {
				if !armed || op.Method != "Query" {
					return nil
				}
				armed = false
				return s.Flush(t.Context())
			}
			o := mem.Options{Before: hook}
			if late {
				o = mem.Options{After: hook}
			}
			var store kv.Store = newMem(t, o)
			if !embedded {
				store = shared{store}
			}
			s = newStore(t, store, newClock(), "n1")
			put(t, s, "a", "f", "x")
			put(t, s, "a", "g", "x")
			for _, step := range []struct {
				do   func()
				want []string
			}{
				{func() {}, []string{"a/ 2 2"}},
				{func() { put(t, s, "a", "h", "x") }, []string{"a/ 3 3"}},
				{func() { remove(t, s, "a", "h"); remove(t, s, "a", "g") }, []string{"a/ 1 1"}},
				{func() { remove(t, s, "a", "f") }, []string{}},
				{func() { put(t, s, "a", "f", "x") }, []string{"a/ 1 1"}},
			} {
				step.do()
				armed = true
				if d := cmp.Diff(step.want, list(t, s, "", 10)); d != "" || armed {
					t.Errorf("late %v, embedded %v: %s", late, embedded, d)
				}
			}
			armed = true
			if n, b, err := s.Usage(t.Context(), "r1"); n != 1 || b != 1 || err != nil {
				t.Errorf("Usage = %d, %d, %v", n, b, err)
			}
		}
	}
}
