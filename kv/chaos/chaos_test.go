package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"granary/kv"
	"granary/kv/chaos"
	"granary/kv/kvtest"
	"granary/kv/mem"
	"granary/kv/retry"
)

// clock is a clock that a test moves.
type clock struct{ skipped atomic.Int64 }

func (c *clock) now() time.Time {
	return time.Unix(1_800_000_000, 0).Add(time.Duration(c.skipped.Load()))
}
func (c *clock) advance(d time.Duration) { c.skipped.Add(int64(d)) }
func (c *clock) sleep(ctx context.Context, d time.Duration) error {
	c.advance(d)
	return ctx.Err()
}

// TestConformance is what a careful client makes of a store under chaos.
func TestConformance(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			var c clock
			options := chaos.Options{
				Seed: seed, Now: c.now, Sleep: c.sleep,
				Stale: 0.5, Lag: time.Second, Throttle: 0.1, Lost: 0.2, Pause: 0.1, MaxPause: time.Millisecond,
			}
			open := func(t *testing.T) kv.Store {
				m := mem.New(mem.Options{Now: c.now, Misuse: func(err error) { t.Error(err) }})
				return retry.New(chaos.New(m, options), retry.Options{Tries: 50, First: 1, Last: 1000, Sleep: c.sleep})
			}
			kvtest.Test(t, open, kvtest.Clock(c.now, c.advance), kvtest.LostReplies())
		})
	}
}

// TestFaultless: without odds the wrapper adds nothing, and needs no retries.
func TestFaultless(t *testing.T) {
	var c clock
	kvtest.Test(t, func(*testing.T) kv.Store { return chaos.New(mem.New(mem.Options{Now: c.now}), chaos.Options{}) },
		kvtest.Clock(c.now, c.advance))
}

var key = kv.Key{Partition: "z", Sort: "k"}

func write(t *testing.T, s kv.Store, key kv.Key, value string, old kv.Version) kv.Version {
	t.Helper()
	i := kv.Item{Key: key, Value: []byte(value), Version: kv.NewVersion()}
	if err := s.PutIf(t.Context(), i, old); err != nil {
		t.Fatal(err)
	}
	return i.Version
}

func read(t *testing.T, s kv.Store, opts ...kv.ReadOption) string {
	t.Helper()
	i, err := s.Get(t.Context(), key, opts...)
	if errors.Is(err, kv.ErrNotFound) {
		return "none"
	} else if err != nil {
		t.Fatal(err)
	}
	return string(i.Value)
}

func list(t *testing.T, s kv.Store, opts ...kv.ReadOption) string {
	t.Helper()
	out := ""
	for i, err := range s.Query(t.Context(), key.Partition, "", "", opts...) {
		if err != nil {
			t.Fatal(err)
		}
		out += i.Sort + string(i.Value) + " "
	}
	return out
}

func TestStaleReads(t *testing.T) {
	var c clock
	s := chaos.New(mem.New(mem.Options{Now: c.now}), chaos.Options{Stale: 1, Lag: time.Second, Now: c.now})
	if kv.TraitsOf(s).AlwaysConsistent {
		t.Error("claims that every read is consistent")
	}
	first := write(t, s, key, "1", "")
	c.advance(300 * time.Millisecond)
	second := write(t, s, key, "2", first)
	c.advance(300 * time.Millisecond)
	write(t, s, kv.Key{Partition: "z", Sort: "j"}, "0", "")
	if err := s.DeleteIf(t.Context(), key, second); err != nil {
		t.Fatal(err)
	}
	c.advance(300 * time.Millisecond)

	gets, queries := map[string]int{}, map[string]int{}
	for range 200 {
		gets[read(t, s)]++
		queries[list(t, s)]++
		if got := read(t, s, kv.Consistent); got != "none" {
			t.Fatalf("consistent Get sees %q", got)
		}
		if got := list(t, s, kv.Consistent); got != "j0 " {
			t.Fatalf("consistent Query sees %q", got)
		}
	}
	for _, want := range []string{"none", "1", "2"} {
		if gets[want] == 0 {
			t.Errorf("no Get saw %q: %v", want, gets)
		}
	}
	for _, want := range []string{"", "k1 ", "k2 ", "j0 "} {
		if queries[want] == 0 {
			t.Errorf("no Query saw %q: %v", want, queries)
		}
	}
	if len(gets) != 3 || len(queries) != 4 {
		t.Errorf("states that never were: %v %v", gets, queries)
	}

	c.advance(2 * time.Second)
	for range 50 {
		if get, query := read(t, s), list(t, s); get != "none" || query != "j0 " {
			t.Fatalf("older than the lag: %q %q", get, query)
		}
	}
}

func TestStaleQueryKeepsOptions(t *testing.T) {
	var c clock
	s := chaos.New(mem.New(mem.Options{Now: c.now}), chaos.Options{Stale: 1, Lag: time.Second, Now: c.now})
	for _, sort := range []string{"a", "b", "c"} {
		write(t, s, kv.Key{Partition: "z", Sort: sort}, "v", "")
	}
	c.advance(time.Hour)
	if got := list(t, s, kv.Reverse, kv.Limit(2), kv.KeysOnly); got != "c b " {
		t.Errorf("got %q", got)
	}
}

func TestFaults(t *testing.T) {
	ctx := t.Context()
	item := kv.Item{Key: key, Value: []byte("v"), Version: kv.NewVersion()}
	t.Run("throttled writes nothing", func(t *testing.T) {
		m := mem.New(mem.Options{})
		s := chaos.New(m, chaos.Options{Throttle: 1})
		if err := s.PutIf(ctx, item, ""); !errors.Is(err, kv.ErrThrottled) || m.Len() != 0 {
			t.Errorf("got %v with %d items", err, m.Len())
		}
		if _, err := s.Get(ctx, key); !errors.Is(err, kv.ErrThrottled) {
			t.Errorf("Get: %v", err)
		}
		s.Calm()
		if err := s.PutIf(ctx, item, ""); err != nil || m.Len() != 1 {
			t.Errorf("calm: %v with %d items", err, m.Len())
		}
	})
	t.Run("a lost reply leaves both possible", func(t *testing.T) {
		done := 0
		for seed := range uint64(50) {
			m := mem.New(mem.Options{})
			if err := chaos.New(m, chaos.Options{Seed: seed, Lost: 1}).PutIf(ctx, item, ""); !errors.Is(err, kv.ErrUnknown) {
				t.Fatalf("got %v, want ErrUnknown", err)
			}
			done += m.Len()
		}
		if done == 0 || done == 50 {
			t.Errorf("%d of 50 lost writes were carried out", done)
		}
	})
	t.Run("a late write lands", func(t *testing.T) {
		var c clock
		lateOnes := 0
		for seed := range uint64(20) {
			m := mem.New(mem.Options{Now: c.now})
			s := chaos.New(m, chaos.Options{Seed: seed, Late: 1, Delay: time.Second, Now: c.now})
			if err := s.PutIf(ctx, item, ""); err != nil {
				lateOnes++
				if !errors.Is(err, kv.ErrUnknown) || m.Len() != 0 {
					t.Fatalf("late write: %v with %d items", err, m.Len())
				}
			}
			c.advance(2 * time.Second)
			if got := read(t, s); got != "v" {
				t.Fatalf("after the delay: %q", got)
			}
		}
		if lateOnes == 0 || lateOnes == 20 {
			t.Errorf("%d of 20 were late, want some to be duplicates", lateOnes)
		}
	})
	t.Run("an invalid write fails as ever", func(t *testing.T) {
		s := chaos.New(mem.New(mem.Options{}), chaos.Options{Lost: 1, Late: 1, Throttle: 1})
		if err := s.PutIf(ctx, kv.Item{Key: key}, ""); !errors.Is(err, kv.ErrInvalid) {
			t.Errorf("got %v, want ErrInvalid", err)
		}
	})
}

type counter struct {
	N    int            `cbor:"1,keyasint"`
	Done map[string]int `cbor:"2,keyasint"`
}

// TestLateWritesLoseNothing: updates by compare-and-swap count once each
// although their writes get lost, land late and land twice.
func TestLateWritesLoseNothing(t *testing.T) {
	for seed := range uint64(5) {
		var c clock
		ch := chaos.New(mem.New(mem.Options{Now: c.now, Misuse: func(err error) { t.Error(err) }}), chaos.Options{
			Seed: seed, Now: c.now, Sleep: c.sleep, Late: 0.3, Delay: 20 * time.Millisecond, Lost: 0.1,
			Stale: 0.5, Lag: time.Second, Pause: 0.5, MaxPause: 5 * time.Millisecond,
		})
		table := kv.Table[counter]{Store: retry.New(ch, retry.Options{Tries: 100, First: 1, Last: 1000, Sleep: c.sleep})}
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for n := 1; n <= 10; n++ {
					if err := addOnce(t.Context(), table, fmt.Sprint(w), n); err != nil {
						t.Errorf("seed %d: %v", seed, err)
						return
					}
				}
			})
		}
		wg.Wait()
		ch.Land(t.Context())
		got, _, err := table.Get(t.Context(), key, kv.Consistent)
		if err != nil || got.N != 40 {
			t.Errorf("seed %d: counter is %d, %v, want 40", seed, got.N, err)
		}
	}
}

// addOnce is repeatable: the record says what each writer has done.
func addOnce(ctx context.Context, table kv.Table[counter], writer string, n int) error {
	_, err := table.Update(ctx, key, func(old counter, _ bool) (counter, error) {
		if old.Done[writer] >= n {
			return old, kv.ErrUnchanged
		}
		if old.Done == nil {
			old.Done = map[string]int{}
		}
		old.N++
		old.Done[writer] = n
		return old, nil
	})
	return err
}
