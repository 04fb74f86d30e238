package chaos

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"time"

	"granary/kv"
)

// begin is what every call starts with: late writes land, it may pause, and it
// may be refused.
func (s *Store) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.land(ctx, false)
	if s.roll(s.options.Pause) {
		if err := s.options.Sleep(ctx, s.upTo(s.options.MaxPause)); err != nil {
			return err
		}
		s.land(ctx, false)
	}
	if s.roll(s.options.Throttle) {
		return kv.ErrThrottled
	}
	return nil
}

// write carries a write out, or pretends to. Writes that are invalid fail as
// they would without chaos; tardy ones may land late.
func (s *Store) write(ctx context.Context, invalid error, keys []kv.Key, tardy bool, do func(context.Context) error) error {
	if invalid != nil {
		return do(ctx)
	}
	if err := s.begin(ctx); err != nil {
		return err
	}
	switch {
	case tardy && s.roll(s.options.Late):
		later := lateWrite{s.options.Now().Add(s.upTo(s.options.Delay)), keys[0], do}
		if s.roll(0.5) { // done now, and by a duplicate later
			err := s.apply(ctx, keys, do)
			s.postpone(later)
			return err
		}
		s.postpone(later)
		return lost(keys)
	case s.roll(s.options.Lost):
		if s.roll(0.5) {
			s.apply(ctx, keys, do) //nolint:errcheck // the reply is what gets lost
		}
		return lost(keys)
	}
	return s.apply(ctx, keys, do)
}

// tardy tells whether a conditional write may land late.
func (s *Store) tardy(key kv.Key, old kv.Version) bool {
	return s.options.Prompt == nil || !s.options.Prompt(key, old)
}

func lost(keys []kv.Key) error {
	return fmt.Errorf("%w: chaos lost the reply to a write of %v", kv.ErrUnknown, keys)
}

// apply writes and, where reads may be stale, notes what was there before.
func (s *Store) apply(ctx context.Context, keys []kv.Key, do func(context.Context) error) error {
	if s.options.Stale <= 0 || s.options.Lag <= 0 {
		return do(ctx)
	}
	defer s.lock(keys)()
	before := make([]*kv.Item, len(keys))
	for i, key := range keys {
		item, err := s.inner.Get(ctx, key, kv.Consistent)
		switch {
		case err == nil:
			before[i] = &item
		case !errors.Is(err, kv.ErrNotFound):
			return err
		}
	}
	err := do(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.options.Now()
	for i, key := range keys {
		s.past.replaced(key, before[i], now, s.options.Lag)
	}
	return err
}

// lock takes the locks of keys, in one order for everybody.
func (s *Store) lock(keys []kv.Key) (unlock func()) {
	var stripes []int
	for _, key := range keys {
		stripes = append(stripes, int(maphash.Comparable(stripeSeed, key)%uint64(len(s.locks))))
	}
	slices.Sort(stripes)
	stripes = slices.Compact(stripes)
	for _, i := range stripes {
		s.locks[i].Lock()
	}
	return func() {
		for _, i := range stripes {
			s.locks[i].Unlock()
		}
	}
}

var stripeSeed = maphash.MakeSeed()

func (s *Store) postpone(w lateWrite) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late = append(s.late, w)
}

// land carries out late writes. Nobody waits for their outcome.
func (s *Store) land(ctx context.Context, all bool) {
	s.mu.Lock()
	now := s.options.Now()
	var due []lateWrite
	s.late = slices.DeleteFunc(s.late, func(w lateWrite) bool {
		if !all && w.due.After(now) {
			return false
		}
		due = append(due, w)
		return true
	})
	s.mu.Unlock()
	for _, w := range due {
		s.apply(context.WithoutCancel(ctx), []kv.Key{w.key}, w.write) //nolint:errcheck // see above
	}
}

// roll decides whether something of these odds happens.
func (s *Store) roll(odds float64) bool {
	if odds <= 0 {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.calm && s.random.Float64() < odds
}

func (s *Store) upTo(d time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.random.Int64N(int64(max(d, 0)) + 1))
}
