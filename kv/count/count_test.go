package count_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"granary/kv"
	"granary/kv/count"
	"granary/kv/kvtest"
	"granary/kv/mem"
)

func TestConformance(t *testing.T) {
	var skipped atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(skipped.Load())) }
	kvtest.Test(t, func(*testing.T) kv.Store { return count.New(mem.New(mem.Options{Now: now})) },
		kvtest.Clock(now, func(d time.Duration) { skipped.Add(int64(d)) }))
}

func TestCounts(t *testing.T) {
	ctx := t.Context()
	s := count.New(mem.New(mem.Options{}))
	wants := func(reads, writes int) {
		t.Helper()
		if s.Reads() != reads || s.Writes() != writes {
			t.Errorf("%d reads and %d writes (%v), want %d and %d", s.Reads(), s.Writes(), s, reads, writes)
		}
		s.Reset()
	}
	query := func(partition string, limit int) {
		for _, err := range s.Query(ctx, partition, "", "", kv.Limit(limit)) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}

	k := kv.Key{Partition: "z", Sort: "k"}
	s.Get(ctx, k)                                                //nolint:errcheck // counted all the same
	s.PutIf(ctx, kv.Item{Key: k, Version: "1"}, "")              //nolint:errcheck // as above
	s.PutIf(ctx, kv.Item{Key: k, Version: "2"}, "")              //nolint:errcheck // a refused one too
	kv.PutIfLazy(ctx, s, kv.Item{Key: k, Version: "3"}, "1")     //nolint:errcheck // as above
	s.DeleteIf(ctx, k, "3")                                      //nolint:errcheck // as above
	s.Put(ctx, kv.Item{Key: kv.Key{Partition: "t/", Sort: "k"}}) //nolint:errcheck // as above
	s.Delete(ctx, kv.Key{Partition: "t/", Sort: "k"})            //nolint:errcheck // as above
	if got, want := s.String(), "Delete 1, DeleteIf 1, Get 1, Put 1, PutIf 2, PutIfLazy 1"; got != want {
		t.Errorf("String() = %q, want %q", got, want)
	}
	wants(1, 6)

	var small, big []kv.Item
	for n := range 2500 {
		small = append(small, kv.Item{Key: kv.Key{Partition: "small", Sort: fmt.Sprintf("%04d", n)}})
	}
	for n := range 20 {
		big = append(big, kv.Item{Key: kv.Key{Partition: "big", Sort: fmt.Sprint(n)}, Value: make([]byte, 128<<10)})
	}
	if err := s.BatchPut(ctx, append(small, big...)); err != nil {
		t.Fatal(err)
	}
	wants(0, 2520)
	query("none", 0)
	wants(1, 0)
	query("small", 0)
	wants(3, 0)
	query("small", 1000)
	wants(1, 0)
	query("big", 0) // 8 of them make a page
	wants(3, 0)
}
