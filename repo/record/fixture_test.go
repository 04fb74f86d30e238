package record_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zeebo/blake3"

	"granary/digest"
	"granary/formats"
	"granary/kv"
	"granary/kv/chaos"
	"granary/kv/count"
	"granary/kv/mem"
	"granary/kv/retry"
	"granary/repo/record"
)

var space = kv.Space{Repo: "r1", Shards: 4}

// clock stands still unless it is told otherwise.
type clock struct{ ns atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.ns.Store(time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC).UnixNano())
	return c
}

func (c *clock) now() time.Time        { return time.Unix(0, c.ns.Load()) }
func (c *clock) add(d time.Duration)   { c.ns.Add(int64(d)) }
func (c *clock) running() time.Time    { return time.Unix(0, c.ns.Add(1)) }
func (c *clock) at(t time.Time) *clock { c.ns.Store(t.UnixNano()); return c }

// shared is a store that is neither embedded nor always consistent.
type shared struct{ kv.Store }

func (shared) Traits() kv.Traits { return kv.Traits{Inline: 4 << 10, Shards: 4} }

func newMem(t testing.TB, o mem.Options) *mem.Store {
	o.Misuse = func(err error) { t.Error(err) }
	return mem.New(o)
}

func newStore(t testing.TB, store kv.Store, c *clock, node string) *record.Store {
	t.Helper()
	return record.New(record.Config{KV: store, Now: c.now, Node: node})
}

// counted is an embedded store whose calls are counted.
func counted(t testing.TB) (*record.Store, *count.Store, *clock) {
	t.Helper()
	c := newClock()
	n := count.New(newMem(t, mem.Options{}))
	return newStore(t, n, c, "n1"), n, c
}

// unreliable is a cluster's store under chaos, with what a backend does about
// it.
func unreliable(t testing.TB, seed uint64) kv.Store {
	return retry.New(chaos.New(shared{newMem(t, mem.Options{})}, chaos.Options{
		Seed: seed, Stale: 0.5, Lag: 5 * time.Millisecond, Throttle: 0.05, Lost: 0.1, Late: 0.05, Delay: 2 * time.Millisecond,
	}), retry.Options{Tries: 100, First: time.Microsecond, Last: 100 * time.Microsecond})
}

// file is a record with inline bytes.
func file(content string) record.Record {
	sum := blake3.Sum256([]byte(content))
	return record.Record{Size: int64(len(content)), Inline: []byte(content), Sums: digest.Sums{BLAKE3: sum[:]}, Type: "text/plain"}
}

func put(t testing.TB, s *record.Store, scope, name, content string) record.Outcome {
	t.Helper()
	out, err := s.Put(t.Context(), space, scope, name, file(content), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.EnsureMarkers(t.Context(), space, scope); err != nil {
		t.Fatal(err)
	}
	return out
}

func remove(t testing.TB, s *record.Store, scope, name string) {
	t.Helper()
	if _, err := s.Delete(t.Context(), space, scope, name, nil); err != nil {
		t.Fatal(err)
	}
}

// get returns the content, "" if there is none.
func get(t testing.TB, s *record.Store, scope, name string, mode record.Mode) string {
	t.Helper()
	rec, v, err := s.Get(t.Context(), space, scope, name, mode)
	if errors.Is(err, formats.ErrNotFound) {
		return ""
	}
	if err != nil || v == "" {
		t.Fatalf("Get %s %s = version %q, %v", scope, name, v, err)
	}
	return string(rec.Inline)
}

// state is what a record was from a time on.
type state struct {
	since   int64
	deleted bool
	content string
}

// past reads the history of a record and, last, what it is now, oldest first.
func past(ctx context.Context, t testing.TB, store kv.Store, scope, name string) []state {
	t.Helper()
	var out []state
	add := func(item kv.Item) record.Record {
		rec, err := record.Decode(item)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, state{rec.Since, rec.Deleted, string(rec.Inline)})
		return rec
	}
	prefix := scope + "//" + name + "//"
	for item, err := range store.Query(ctx, space.History(space.Shard(scope)), prefix, prefix+"g", kv.Consistent) {
		if err != nil {
			t.Fatal(err)
		}
		if rec := add(item); item.Sort != fmt.Sprintf("%s%016x", prefix, rec.Since) {
			t.Errorf("history of since %d at %q", rec.Since, item.Sort)
		}
	}
	item, err := store.Get(ctx, space.Record(scope, name), kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) {
		return out
	}
	if err != nil {
		t.Fatal(err)
	}
	add(item)
	// A writer that died between history and record leaves the history of what
	// is still there: the same state twice.
	if n := len(out); n > 1 && out[n-1] == out[n-2] {
		out = out[:n-1]
	}
	return out
}
