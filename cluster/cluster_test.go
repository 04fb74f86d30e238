package cluster

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"granary/kv"
)

func TestNodesSeeEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.join(), w.join()
		time.Sleep(10 * time.Minute)
		for _, of := range []*member{a, b} {
			i, ok := infoOf(t, a, of)
			if !ok || !i.Alive || i.Version != "1.0" || i.Silent > 31*time.Second || i.Self != (of == a) {
				t.Errorf("info = %+v, %v", i, ok)
			}
		}
		wantReady(t, a)
		if n := a.loads.Load(); n < 10 || n > 12 {
			t.Errorf("loaded %d times in ten quiet minutes, want once a minute", n)
		}
		w.close(b)
		if _, ok := infoOf(t, a, b); ok || w.records() != 1 {
			t.Error("a closed node is still registered")
		}
		wantUnready(t, b)
		w.close(a)
	})
}

func TestJoinThatFailsLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		boom := errors.New("boom")
		_, err := Join(t.Context(), Config{KV: w.store, Load: func(context.Context) error { return boom }})
		if !errors.Is(err, boom) {
			t.Errorf("Join = %v, want the load's error", err)
		}
		if w.records() != 0 {
			t.Error("a node that never joined is registered")
		}
		if _, err := Join(t.Context(), Config{KV: w.store, Beat: time.Second, Dead: time.Second}); err == nil {
			t.Error("Join took a death shorter than two beats")
		}
	})
}

func TestChangedIsLoadedEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		all := []*member{w.join(), w.join(), w.join()}
		for range 20 {
			var changers sync.WaitGroup
			for _, m := range all {
				changers.Go(func() {
					v := w.value.Add(1)
					if d := w.changed(m); d > 3*time.Second {
						t.Errorf("Changed took %v", d)
					}
					for i, o := range all {
						if got := o.loaded.Load(); got < v {
							t.Errorf("node %d has loaded %d when change %d was answered", i, got, v)
						}
					}
				})
			}
			changers.Wait()
			time.Sleep(700 * time.Millisecond)
		}
		w.close(all...)
	})
}

func TestChangedWaitsForASlowLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.join()
		var slow atomic.Bool
		b := w.join(func(c *Config, m *member) {
			load := c.Load
			c.Load = func(ctx context.Context) error {
				if slow.Load() {
					time.Sleep(3 * time.Second)
				}
				return load(ctx)
			}
		})
		slow.Store(true)
		w.value.Add(1)
		if d := w.changed(a); d < 3*time.Second || d > 5*time.Second {
			t.Errorf("Changed took %v, want the three seconds of the load", d)
		}
		if b.loaded.Load() != 1 {
			t.Error("answered before the slow node had loaded")
		}
		w.close(a, b)
	})
}

func TestPausedNodeDoesNotServeTheOldState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.join(), w.join()
		resume := b.line.hold()
		w.value.Add(1)
		if d := w.changed(a); d < 5*time.Second || d > 5600*time.Millisecond {
			t.Errorf("Changed took %v, want 5.5 s", d)
		}
		wantUnready(t, b)
		wantReady(t, a)
		resume()
		time.Sleep(1500 * time.Millisecond)
		wantReady(t, b)
		if b.loaded.Load() != 1 {
			t.Error("ready without the change")
		}
		w.close(a, b)
	})
}

func TestPollFailureMakesUnready(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.join()
		time.Sleep(10 * time.Second)
		a.line.cut()
		time.Sleep(3900 * time.Millisecond)
		wantReady(t, a)
		time.Sleep(1200 * time.Millisecond)
		if err := a.Ready(); !errors.Is(err, ErrNotReady) || !errors.Is(err, errCut) {
			t.Errorf("Ready = %v, want ErrNotReady and its cause", err)
		}
		if h := a.Health(); h.Node != a.ID() || len(h.Problems) != 1 {
			t.Errorf("Health = %+v", h)
		}
		a.line.mend()
		time.Sleep(1100 * time.Millisecond)
		wantReady(t, a)
		w.close(a)
	})
}

func TestLoadFailureMakesUnready(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.join()
		var broken atomic.Bool
		b := w.join(func(c *Config, m *member) {
			load := c.Load
			c.Load = func(ctx context.Context) error {
				if broken.Load() {
					return errCut
				}
				return load(ctx)
			}
		})
		broken.Store(true)
		time.Sleep(3 * time.Minute)
		wantReady(t, b) // what it has is current, as far as the epoch tells
		w.value.Add(1)
		w.changed(a)
		wantUnready(t, b)
		broken.Store(false)
		time.Sleep(2 * time.Second)
		wantReady(t, b)
		w.close(a, b)
	})
}

func TestDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.join(), w.join()
		time.Sleep(time.Minute)
		b.line.cut()
		before := b.ID()
		time.Sleep(50 * time.Second)
		if i, ok := infoOf(t, a, b); !ok || !i.Alive {
			t.Errorf("taken for dead after 50 s: %+v, %v", i, ok)
		}
		time.Sleep(45 * time.Second)
		if i, ok := infoOf(t, a, b); !ok || i.Alive {
			t.Errorf("still alive after 95 s of silence: %+v, %v", i, ok)
		}
		if d := w.changed(a); d > time.Second {
			t.Errorf("Changed waited %v for a dead node", d)
		}
		time.Sleep(15 * time.Minute)
		if _, ok := infoOf(t, a, b); ok {
			t.Error("the record of a long dead node was not removed")
		}
		b.line.mend()
		time.Sleep(5 * time.Second)
		wantReady(t, b)
		if b.ID() == before {
			t.Error("a node came back from the dead under its old id")
		}
		if _, ok := infoOf(t, a, b); !ok {
			t.Error("a node that came back is not seen")
		}
		w.close(a, b)
	})
}

// A node that can poll but not beat is dead for the others, who don't wait for
// it any more; it must know before they do.
func TestNodeThatCannotBeatIsUnreadyBeforeItIsDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.join()
		var stopped atomic.Bool
		b := w.join(func(c *Config, m *member) { c.KV = noBeats{m.line, &stopped} })
		time.Sleep(time.Minute)
		stopped.Store(true)
		for range 200 {
			time.Sleep(time.Second)
			if i, ok := infoOf(t, a, b); ok && !i.Alive {
				wantUnready(t, b)
				break
			}
		}
		if i, ok := infoOf(t, a, b); !ok || i.Alive {
			t.Error("never died")
		}
		w.close(a)
		stopped.Store(false)
		time.Sleep(3 * time.Second)
		wantReady(t, b)
		w.close(b)
	})
}

// In an embedded store that is full a node joins, stays ready and ends.
func TestEmbeddedOnAFullDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var full atomic.Bool
		embedded := func(c *Config, m *member) { c.Embedded, c.KV = true, fullDisk{m.line, &full} }
		a := w.join(embedded)
		full.Store(true)
		time.Sleep(10 * time.Minute)
		wantReady(t, a)
		w.close(a)
		b := w.join(embedded)
		wantReady(t, b)
		time.Sleep(10 * time.Minute)
		wantReady(t, b)
		if err := b.Changed(t.Context()); !errors.Is(err, kv.ErrNoSpace) {
			t.Errorf("Changed = %v, want ErrNoSpace", err)
		}
		full.Store(false)
		if d := w.changed(b); d > 100*time.Millisecond {
			t.Errorf("Changed took %v", d)
		}
		time.Sleep(10 * time.Minute)
		wantReady(t, b)
		w.close(b)
		w.close(w.join(embedded))
		if w.records() != 0 {
			t.Error("records of nodes are left over")
		}
		// Beside other nodes a full store is a problem.
		c := w.join(func(c *Config, m *member) { c.KV = fullDisk{m.line, &full} })
		full.Store(true)
		time.Sleep(10 * time.Minute)
		wantUnready(t, c)
		full.Store(false)
		w.close(c)
	})
}

type fullDisk struct {
	*line
	full *atomic.Bool
}

func (s fullDisk) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	if s.full.Load() {
		return kv.ErrNoSpace
	}
	return s.line.PutIf(ctx, item, old)
}

func (s fullDisk) DeleteIf(ctx context.Context, key kv.Key, old kv.Version) error {
	if s.full.Load() {
		return kv.ErrNoSpace
	}
	return s.line.DeleteIf(ctx, key, old)
}

type noBeats struct {
	*line
	stopped *atomic.Bool
}

func (s noBeats) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	if s.stopped.Load() {
		return kv.ErrThrottled
	}
	return s.line.PutIf(ctx, item, old)
}

func TestOutageIsNobodysDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.join(), w.join()
		time.Sleep(time.Minute)
		a.line.cut()
		b.line.cut()
		time.Sleep(5 * time.Minute)
		wantUnready(t, a)
		a.line.mend()
		time.Sleep(10 * time.Second) // b takes longer to come back
		if i, ok := infoOf(t, a, b); !ok || !i.Alive {
			t.Errorf("an outage of the store was taken for a node's death: %+v, %v", i, ok)
		}
		b.line.mend()
		time.Sleep(2 * time.Second)
		wantReady(t, a)
		wantReady(t, b)
		w.close(a, b)
	})
}

func TestTwin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.join()
		l, err := a.Acquire(t.Context(), "work", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait() // the beat after the first load is over
		// What a resumed copy of the process does with its copy of the state.
		id := a.ID()
		item, err := w.store.Get(t.Context(), kv.Node(id))
		if err != nil {
			t.Fatal(err)
		}
		old := item.Version
		item.Version = kv.NewVersion()
		if err := w.store.PutIf(t.Context(), item, old); err != nil {
			t.Fatal(err)
		}
		time.Sleep(32 * time.Second)
		if a.ID() == id {
			t.Fatal("a node with a twin kept its id")
		}
		select {
		case <-l.Lost():
		default:
			t.Error("a node with a twin kept its lease")
		}
		if err := l.Renew(t.Context()); !errors.Is(err, ErrLost) {
			t.Errorf("Renew = %v, want ErrLost", err)
		}
		wantReady(t, a)
		if w.records() != 2 {
			t.Errorf("%d nodes are registered, want the twin and the node", w.records())
		}
		w.close(a)
	})
}

func TestEmbeddedEndsEarlierLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		embedded := func(c *Config, _ *member) { c.Embedded = true }
		a := w.join(embedded)
		first, err := a.Acquire(t.Context(), "work", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		a.line.cut()         // killed
		a.Close(t.Context()) //nolint:errcheck // it can't
		if w.records() != 1 {
			t.Fatal("the killed node left nothing")
		}
		b := w.join(embedded)
		if w.records() != 1 {
			t.Error("an earlier life is still registered")
		}
		second, err := b.Acquire(t.Context(), "work", time.Hour)
		if err != nil {
			t.Fatalf("Acquire = %v, want the lease of an earlier life", err)
		}
		if second.Epoch() <= first.Epoch() {
			t.Errorf("epoch %d after %d", second.Epoch(), first.Epoch())
		}
		if _, err := b.Acquire(t.Context(), "work", time.Hour); !errors.Is(err, ErrHeld) {
			t.Errorf("Acquire of what is held here = %v, want ErrHeld", err)
		}
		if d := w.changed(b); d > 100*time.Millisecond {
			t.Errorf("Changed took %v", d)
		}
		w.close(b)
	})
}
