package cluster

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"granary/kv"
)

// still is a node that has joined and whose goroutines don't run.
func still(t *testing.T, c Config) *Node {
	t.Helper()
	n := newNode(c.withDefaults())
	if err := n.join(t.Context()); err != nil {
		t.Fatal(err)
	}
	return n
}

func stored(t *testing.T, s kv.Store, id string) (rec record) {
	t.Helper()
	item, err := s.Get(t.Context(), kv.Node(id))
	if err == nil {
		err = kv.Unmarshal(item.Value, &rec)
	}
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// How long a beat took is not known if it was given up and stored later.
func TestBeatOfUnknownOutcomeTellsNothing(t *testing.T) {
	w := newWorld(t)
	l := &line{inner: w.store}
	n := still(t, Config{KV: l})
	before := stored(t, w.store, n.ID())
	ctx, cancel := context.WithCancel(t.Context())
	l.set(func() { l.inner = lostReply{w.store, cancel} })
	if err := n.beat(ctx); !errors.Is(err, kv.ErrUnknown) {
		t.Fatalf("beat = %v, want ErrUnknown", err)
	}
	l.set(func() { l.inner = w.store })
	lost := stored(t, w.store, n.ID())
	if lost.Seq != before.Seq+1 {
		t.Errorf("Seq = %d after %d", lost.Seq, before.Seq)
	}
	if err := n.beat(t.Context()); err != nil {
		t.Fatalf("beat = %v: its own write was taken for a twin's", err)
	}
	if next := stored(t, w.store, n.ID()); next.Seq <= lost.Seq+1 {
		t.Errorf("Seq = %d after %d, want a gap", next.Seq, lost.Seq)
	}
}

// While a node changes its id nobody waits for it: a poll that began before
// says nothing about what was changed since.
func TestPollOfAnEarlierLifeDoesNotCount(t *testing.T) {
	w := newWorld(t)
	var during func()
	n := still(t, Config{KV: w.store, Load: func(context.Context) error {
		if during != nil {
			during()
		}
		return nil
	}})
	if err := n.Ready(); err != nil {
		t.Fatal(err)
	}
	if _, err := n.bump(t.Context()); err != nil {
		t.Fatal(err)
	}
	during = func() {
		n.rename()
		if err := n.beat(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := n.poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.Ready(); !errors.Is(err, ErrNotReady) {
		t.Errorf("Ready = %v, want ErrNotReady until a poll of this life", err)
	}
	if err := n.poll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := n.Ready(); err != nil {
		t.Errorf("Ready = %v after a poll of this life", err)
	}
}

// What was read at the begin of a poll may have changed by its end.
func TestPollCountsFromItsBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		wait := time.Duration(0)
		n := still(t, Config{KV: w.store, Load: func(context.Context) error {
			time.Sleep(wait)
			return nil
		}})
		if _, err := n.bump(t.Context()); err != nil {
			t.Fatal(err)
		}
		wait = 6 * time.Second
		if err := n.poll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := n.Ready(); !errors.Is(err, ErrNotReady) {
			t.Errorf("Ready = %v after a poll that began six seconds ago", err)
		}
	})
}

func TestSleepingMachineIsUnready(t *testing.T) {
	// The monotonic clock stands still while a machine sleeps, the wall clock doesn't.
	c := clock{start: time.Now()}
	m := c.at()
	m.wall = m.wall.Add(-time.Minute)
	if d := c.since(m); d < time.Minute {
		t.Errorf("since = %v, want a minute", d)
	}
}
