package cluster

import (
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"granary/kv/chaos"
)

func ahead(by time.Duration) func(*Config, *member) {
	return func(c *Config, _ *member) {
		c.Now = func() time.Time { return time.Now().Add(by) }
	}
}

func TestClocks(t *testing.T) {
	tests := []struct {
		name   string
		ahead  []time.Duration
		delay  time.Duration // of every call, there and back
		refuse []bool
	}{
		{"equal", []time.Duration{0, 0, 0}, 0, []bool{false, false, false}},
		{"equal, slow store", []time.Duration{0, 0, 0}, 400 * time.Millisecond, []bool{false, false, false}},
		{"within the limit", []time.Duration{0, 400 * time.Millisecond, -50 * time.Millisecond}, 10 * time.Millisecond, []bool{false, false, false}},
		{"one ahead", []time.Duration{0, 0, 2 * time.Second}, 10 * time.Millisecond, []bool{false, false, true}},
		{"one behind", []time.Duration{0, 0, -2 * time.Second}, 10 * time.Millisecond, []bool{false, false, true}},
		{"two of two", []time.Duration{0, 3 * time.Second}, 10 * time.Millisecond, []bool{true, true}},
		{"alone", []time.Duration{time.Hour}, 0, []bool{false}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				var all []*member
				for _, by := range tt.ahead {
					m := w.join(ahead(by))
					m.line.set(func() { m.line.delay = tt.delay })
					all = append(all, m)
				}
				// Judged at any time, never wrong; and right in the end.
				for range 300 {
					time.Sleep(time.Second)
					for i, m := range all {
						if err := m.WriteReady(); err != nil && !tt.refuse[i] {
							t.Fatalf("node %d: %v", i, err)
						}
					}
				}
				for i, m := range all {
					if err := m.WriteReady(); errors.Is(err, ErrClock) != tt.refuse[i] {
						t.Errorf("node %d: WriteReady = %v, want refusal %v", i, err, tt.refuse[i])
					}
					wantReady(t, m)
					if h := m.Health(); (len(h.Problems) > 0) != tt.refuse[i] {
						t.Errorf("node %d: Health = %+v", i, h)
					}
				}
				w.close(all...)
			})
		})
	}
}

func TestSmallDifferencesAreFoundInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		good, good2, bad := w.join(), w.join(), w.join(ahead(-800*time.Millisecond))
		for range 60 {
			time.Sleep(10 * time.Second)
			if bad.WriteReady() != nil {
				break
			}
		}
		if err := bad.WriteReady(); !errors.Is(err, ErrClock) {
			t.Errorf("WriteReady = %v after ten minutes", err)
		}
		w.close(good, good2, bad)
	})
}

func TestClockThatIsSetRight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var off atomic.Int64
		off.Store(int64(5 * time.Second))
		a := w.join()
		b := w.join(func(c *Config, _ *member) {
			c.Now = func() time.Time { return time.Now().Add(time.Duration(off.Load())) }
		})
		time.Sleep(2 * time.Minute)
		if a.WriteReady() == nil || b.WriteReady() == nil {
			t.Error("five seconds went unnoticed")
		}
		off.Store(0)
		// The second beat contradicts what was known; nobody waits for the fourth.
		time.Sleep(70 * time.Second)
		if err := errors.Join(a.WriteReady(), b.WriteReady()); err != nil {
			t.Errorf("two beats after the clock was set right: %v", err)
		}
		w.close(a, b)
	})
}

// Lost replies, late writes and throttling make no twins.
func TestUnreliableStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		rough := chaos.New(w.store, chaos.Options{
			Seed: 1, Stale: 0.5, Lag: time.Second, Throttle: 0.1, Lost: 0.2, Late: 0.05, Delay: 3 * time.Second,
		})
		all := []*member{w.join(), w.join(), w.join()}
		ids := []string{all[0].ID(), all[1].ID(), all[2].ID()}
		for _, m := range all {
			m.line.set(func() { m.line.inner = rough })
		}
		for i := range 200 {
			m := all[i%3]
			v := w.value.Add(1)
			if err := m.Changed(t.Context()); err != nil {
				continue // throttled: the caller hears of it
			}
			for j, o := range all {
				if o.Ready() == nil && o.loaded.Load() < v {
					t.Errorf("node %d serves %d when change %d was answered", j, o.loaded.Load(), v)
				}
			}
			time.Sleep(time.Second)
		}
		for i, m := range all {
			if m.ID() != ids[i] {
				t.Errorf("node %d took its own writes for a twin's", i)
			}
		}
		rough.Calm()
		time.Sleep(time.Minute)
		w.close(all...)
	})
}
