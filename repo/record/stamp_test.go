package record_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"granary/kv"
	"granary/kv/mem"
	"granary/repo/record"
)

func stamp(t *testing.T, s *record.Store, scope string) string {
	t.Helper()
	v, err := s.Stamp(t.Context(), space, scope)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestStampChanges(t *testing.T) {
	store := newMem(t, mem.Options{})
	nodes := []*record.Store{newStore(t, store, newClock(), "n1"), newStore(t, store, newClock(), "n2")}
	if v := stamp(t, nodes[0], "a"); v != "" {
		t.Errorf("stamp %q of a scope that was never touched", v)
	}
	if err := nodes[0].Touch(t.Context(), space); err != nil {
		t.Error(err)
	}
	seen := map[string]bool{"": true}
	for i := range 10 {
		touch(t, nodes[i%2], "a", "b", "a", fmt.Sprint("c", i))
		for _, scope := range []string{"a", "b", fmt.Sprint("c", i)} {
			v := stamp(t, nodes[(i+1)%2], scope)
			if seen[v] {
				t.Errorf("stamp %q again", v)
			}
			seen[v] = true
		}
	}
	if other := stamp(t, nodes[0], ""); other != "" {
		t.Errorf("stamp %q of another scope", other)
	}
}

// A stamp that was removed, as the collector does with those of empty scopes,
// is made again.
func TestTouchOfARemovedStamp(t *testing.T) {
	s, store, _ := counted(t)
	touch(t, s, "a")
	v := stamp(t, s, "a")
	if err := store.DeleteIf(t.Context(), space.Stamp("a"), kv.Version(v)); err != nil {
		t.Fatal(err)
	}
	touch(t, s, "a")
	if now := stamp(t, s, "a"); now == "" || now == v {
		t.Errorf("stamp %q after %q", now, v)
	}
}

// slow lets writes of stamps take a second, and counts them and how many there
// are at a time.
type slow struct {
	kv.Store
	writes, running, most atomic.Int64
	fail                  func(n int64) error
}

func (s *slow) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	n := s.writes.Add(1)
	now := s.running.Add(1)
	defer s.running.Add(-1)
	if now > s.most.Load() {
		s.most.Store(now)
	}
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return ctx.Err()
	}
	if s.fail != nil {
		if err := s.fail(n); err != nil {
			return err
		}
	}
	return s.Store.PutIf(ctx, item, old)
}

// Fifty calls at once cost two writes: that of the first, and one that began
// when all the others were there.
func TestTouchesShareWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: newMem(t, mem.Options{})}
		s := record.New(record.Config{KV: store})
		var wg sync.WaitGroup
		start := time.Now()
		for i := range 50 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				touch(t, s, "a")
				if took := time.Since(start); i > 0 && took != 2*time.Second {
					t.Errorf("call %d returned after %v, want 2s: its write began after it", i, took)
				}
			})
		}
		wg.Wait()
		if n := store.writes.Load(); n != 2 || store.most.Load() != 1 {
			t.Errorf("%d writes, %d at a time, want 2 and 1", n, store.most.Load())
		}
		touch(t, s, "a")
		touch(t, s, "a")
		if n := store.writes.Load(); n != 4 {
			t.Errorf("%d writes after two more calls, want 4", n)
		}
	})
}

// A call is covered by a write that began after it, never by one under way.
func TestTouchCoversWhatWasWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: newMem(t, mem.Options{})}
		s := record.New(record.Config{KV: store})
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				time.Sleep(time.Duration(i*137) * time.Millisecond)
				called := time.Now()
				before := store.writes.Load()
				touch(t, s, "a")
				if store.writes.Load() == before || time.Since(called) < time.Second || time.Since(called) > 2*time.Second {
					t.Errorf("call %d was answered after %v", i, time.Since(called))
				}
			})
		}
		wg.Wait()
		if n := store.writes.Load(); n > 8 || store.most.Load() != 1 {
			t.Errorf("%d writes in 7 seconds, %d at a time", n, store.most.Load())
		}
	})
}

// Who does the write for others may go away, before or while it is written.
func TestTouchWithoutItsWriter(t *testing.T) {
	for _, after := range []time.Duration{100 * time.Millisecond, 500 * time.Millisecond, 1500 * time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &slow{Store: newMem(t, mem.Options{})}
				s := record.New(record.Config{KV: store})
				var wg sync.WaitGroup
				for i := range 10 {
					wg.Go(func() {
						time.Sleep(time.Duration(i) * time.Millisecond)
						ctx := t.Context()
						goes := i < 2 // the first of the first write, and of the second
						if goes {
							var cancel context.CancelFunc
							ctx, cancel = context.WithTimeout(ctx, after)
							defer cancel()
						}
						err := s.Touch(ctx, space, "a")
						if i > 1 && err != nil || i == 1 && !errors.Is(err, context.DeadlineExceeded) {
							t.Errorf("call %d: %v", i, err)
						}
					})
				}
				wg.Wait()
				n := store.writes.Load()
				touch(t, s, "a")
				if store.writes.Load() != n+1 || n > 4 || store.most.Load() != 1 {
					t.Errorf("%d writes and then %d, %d at a time", n, store.writes.Load()-n, store.most.Load())
				}
			})
		})
	}
}

// An error of the store is told to all who share the write, and the next call
// tries anew.
func TestTouchFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slow{Store: newMem(t, mem.Options{}), fail: func(n int64) error {
			if n == 2 {
				return kv.ErrThrottled
			}
			return nil
		}}
		s := record.New(record.Config{KV: store})
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				if err := s.Touch(t.Context(), space, "a"); errors.Is(err, kv.ErrThrottled) != (i > 0) {
					t.Errorf("call %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		touch(t, s, "a")
	})
}

func TestTouchUnderChaos(t *testing.T) {
	store := unreliable(t, 7)
	nodes := []*record.Store{newStore(t, store, newClock(), "n1"), newStore(t, store, newClock(), "n2")}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			s := nodes[i%2]
			for range 10 {
				before := stamp(t, s, "a")
				touch(t, s, "a")
				if stamp(t, s, "a") == before {
					t.Error("the stamp did not change")
				}
			}
		})
	}
	wg.Wait()
}
