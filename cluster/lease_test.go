package cluster

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"granary/kv"
)

func acquire(t *testing.T, m *member, name string, ttl time.Duration) *Lease {
	t.Helper()
	l, err := m.Acquire(t.Context(), name, ttl)
	if err != nil {
		t.Fatalf("Acquire: %v", err)
	}
	return l
}

func wantHeld(t *testing.T, m, by *member, name string, ttl time.Duration) {
	t.Helper()
	_, err := m.Acquire(t.Context(), name, ttl)
	var held *HeldError
	if !errors.As(err, &held) || !errors.Is(err, ErrHeld) || held.Holder != by.ID() || held.Name != name {
		t.Errorf("Acquire = %v, want that it is held by %s", err, by.ID())
	}
}

func TestLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.join()
		// b's clock is behind: epochs must grow all the same.
		b := w.join(func(c *Config, _ *member) {
			c.Now = func() time.Time { return time.Now().Add(-time.Hour) }
		})
		first := acquire(t, a, "work", 10*time.Second)
		wantHeld(t, b, a, "work", 10*time.Second)
		wantHeld(t, a, a, "work", 10*time.Second)
		for range 30 {
			time.Sleep(3 * time.Second)
			if err := first.Renew(t.Context()); err != nil {
				t.Fatalf("Renew: %v", err)
			}
			wantHeld(t, b, a, "work", 10*time.Second)
		}
		if err := first.Release(t.Context()); err != nil {
			t.Fatalf("Release: %v", err)
		}
		if err := first.Renew(t.Context()); !errors.Is(err, ErrLost) {
			t.Errorf("Renew of what was released = %v, want ErrLost", err)
		}
		second := acquire(t, b, "work", 10*time.Second)
		if second.Epoch() <= first.Epoch() {
			t.Errorf("epoch %d after %d", second.Epoch(), first.Epoch())
		}
		w.close(b) // releases
		third := acquire(t, a, "work", 10*time.Second)
		if third.Epoch() <= second.Epoch() || third.Name() != "work" || third.Err() != nil {
			t.Errorf("lease %s, epoch %d after %d, %v", third.Name(), third.Epoch(), second.Epoch(), third.Err())
		}
		w.close(a)
		if _, err := a.Acquire(t.Context(), "more", time.Second); !errors.Is(err, ErrNotReady) {
			t.Errorf("Acquire on a closed node = %v, want ErrNotReady", err)
		}
	})
}

func TestLeaseTakeOverAndLateHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b, c := w.join(), w.join(), w.join()
		late := acquire(t, a, "work", 10*time.Second)
		time.Sleep(time.Hour) // nobody looked, so nobody knows of the silence
		wantHeld(t, b, a, "work", 10*time.Second)
		time.Sleep(9 * time.Second)
		wantHeld(t, b, a, "work", 10*time.Second)
		wantHeld(t, b, a, "work", time.Second) // the holder asked for ten
		if late.Err() == nil {
			t.Error("a holder that did not renew for an hour thinks that it holds")
		}
		time.Sleep(time.Second)
		next := acquire(t, b, "work", 10*time.Second)
		wantHeld(t, c, b, "work", 10*time.Second)
		if next.Epoch() <= late.Epoch() {
			t.Errorf("epoch %d after %d", next.Epoch(), late.Epoch())
		}
		if err := late.Renew(t.Context()); !errors.Is(err, ErrLost) {
			t.Errorf("Renew of a late holder = %v, want ErrLost", err)
		}
		if err := late.Release(t.Context()); err != nil {
			t.Errorf("Release of a late holder = %v", err)
		}
		if err := next.Renew(t.Context()); err != nil {
			t.Errorf("a late holder has disturbed its successor: %v", err)
		}
		w.close(a, b, c)
	})
}

func TestLeaseIsTakenOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		all := []*member{w.join(), w.join(), w.join()}
		for range 20 {
			var got atomic.Int64
			done := make(chan struct{})
			for i := range 12 {
				go func() {
					defer func() { done <- struct{}{} }()
					l, err := all[i%3].Acquire(t.Context(), "work", time.Minute)
					switch {
					case err == nil:
						got.Add(1)
						time.Sleep(time.Second)
						if err := l.Release(t.Context()); err != nil {
							t.Errorf("Release: %v", err)
						}
					case !errors.Is(err, ErrHeld):
						t.Errorf("Acquire: %v", err)
					}
				}()
			}
			for range 12 {
				<-done
			}
			if got.Load() != 1 {
				t.Errorf("%d of 12 got the lease", got.Load())
			}
		}
		w.close(all...)
	})
}

func TestKeep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.join(), w.join()
		l := acquire(t, a, "work", 9*time.Second)
		err := l.Keep(t.Context(), func(ctx context.Context) error {
			for range 10 {
				time.Sleep(9 * time.Second)
				wantHeld(t, b, a, "work", 9*time.Second)
			}
			return errCut
		})
		if !errors.Is(err, errCut) || errors.Is(err, ErrLost) || l.Err() != nil {
			t.Errorf("Keep = %v, lease %v", err, l.Err())
		}
		a.line.cut()
		err = l.Keep(t.Context(), func(ctx context.Context) error {
			<-ctx.Done()
			return context.Cause(ctx)
		})
		if !errors.Is(err, ErrLost) {
			t.Errorf("Keep = %v, want ErrLost when it could not renew", err)
		}
		a.line.mend()
		w.close(a, b)
	})
}

func TestLeaseForShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a, b := w.join(), w.join()
		release, err := a.Lease(t.Context(), "fill", 9*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			time.Sleep(9 * time.Second)
			wantHeld(t, b, a, "fill", 9*time.Second)
		}
		release()
		acquire(t, b, "fill", 9*time.Second)
		if _, err := a.Lease(t.Context(), "fill", 9*time.Second); !errors.Is(err, ErrHeld) {
			t.Errorf("Lease = %v, want ErrHeld", err)
		}
		time.Sleep(time.Hour)
		b.mu.Lock()
		watched := len(b.watched)
		b.mu.Unlock()
		if watched != 0 {
			t.Errorf("%d leases are still watched", watched)
		}
		w.close(a, b)
	})
}

// A lease whose outcome is not known is found and taken over by the same node.
func TestLeaseOfUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		a := w.join()
		synctest.Wait() // else the reply that is lost may be that to the beat after the first load
		ctx, cancel := context.WithCancel(t.Context())
		a.line.set(func() { a.line.inner = lostReply{w.store, cancel} })
		if _, err := a.Acquire(ctx, "work", time.Minute); !errors.Is(err, kv.ErrUnknown) {
			t.Fatalf("Acquire = %v, want ErrUnknown", err)
		}
		a.line.set(func() { a.line.inner = w.store })
		if _, err := w.store.Get(t.Context(), kv.Lease("work")); err != nil {
			t.Fatalf("the fake did not write: %v", err)
		}
		acquire(t, a, "work", time.Minute)
		w.close(a)
	})
}

// lostReply carries out a write and loses the answer and the caller's patience.
type lostReply struct {
	kv.Store
	cancel func()
}

func (s lostReply) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	if err := s.Store.PutIf(ctx, item, old); err != nil {
		return err
	}
	s.cancel()
	return kv.ErrUnknown
}
