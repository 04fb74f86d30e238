package retry_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"testing"
	"time"

	"granary/kv"
	"granary/kv/kvtest"
	"granary/kv/mem"
	"granary/kv/retry"
)

var key = kv.Key{Partition: "z", Sort: "k"}

// failing is a store whose calls fail as the lists say, the first entry first;
// nil succeeds.
type failing struct {
	before, after []error
	waits         []time.Duration
	calls         int
}

func (f *failing) open() (*mem.Store, *retry.Store) {
	next := func(list *[]error) (err error) {
		if len(*list) > 0 {
			err, *list = (*list)[0], (*list)[1:]
		}
		return err
	}
	m := mem.New(mem.Options{
		Before: func(mem.Op) error { f.calls++; return next(&f.before) },
		After:  func(mem.Op) error { return next(&f.after) },
	})
	sleep := func(ctx context.Context, d time.Duration) error {
		f.waits = append(f.waits, d)
		return ctx.Err()
	}
	return m, retry.New(m, retry.Options{Tries: 4, First: 10, Last: 30, Sleep: sleep, Random: func(n int64) int64 { return n - 1 }})
}

func TestConformance(t *testing.T) {
	var skipped atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(skipped.Load())) }
	kvtest.Test(t, func(*testing.T) kv.Store { return retry.New(mem.New(mem.Options{Now: now}), retry.Options{}) },
		kvtest.Clock(now, func(d time.Duration) { skipped.Add(int64(d)) }))
}

func TestThrottled(t *testing.T) {
	f := &failing{before: []error{kv.ErrThrottled, kv.ErrThrottled}}
	_, s := f.open()
	if err := s.PutIf(t.Context(), kv.Item{Key: key, Version: "1"}, ""); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(f.waits); got != "[10ns 20ns]" {
		t.Errorf("waits %s", got)
	}

	f = &failing{before: []error{kv.ErrThrottled, kv.ErrThrottled, kv.ErrThrottled, kv.ErrThrottled}}
	_, s = f.open()
	if _, err := s.Get(t.Context(), key); !errors.Is(err, kv.ErrThrottled) {
		t.Errorf("got %v, want ErrThrottled", err)
	}
	if got := fmt.Sprint(f.waits, f.calls); got != "[10ns 20ns 30ns] 4" {
		t.Errorf("waits and calls %s", got)
	}
}

func TestOtherErrorsAreNotRetried(t *testing.T) {
	f := &failing{before: []error{kv.ErrNoSpace}}
	_, s := f.open()
	if err := s.PutIf(t.Context(), kv.Item{Key: key, Version: "1"}, ""); !errors.Is(err, kv.ErrNoSpace) || f.calls != 1 {
		t.Errorf("got %v after %d calls", err, f.calls)
	}
}

func TestUnknownPutIsSettled(t *testing.T) {
	for name, f := range map[string]*failing{
		"carried out":     {after: []error{kv.ErrUnknown}},
		"not carried out": {before: []error{kv.ErrUnknown}},
	} {
		t.Run(name, func(t *testing.T) {
			m, s := f.open()
			if err := s.PutIf(t.Context(), kv.Item{Key: key, Version: "1"}, ""); err != nil {
				t.Fatal(err)
			}
			if i, err := m.Get(t.Context(), key); err != nil || i.Version != "1" {
				t.Errorf("stored %v, %v", i, err)
			}
		})
	}
}

func TestUnknownDeleteIsSettled(t *testing.T) {
	for name, f := range map[string]*failing{
		"carried out":     {after: []error{nil, kv.ErrUnknown}},
		"not carried out": {before: []error{nil, kv.ErrUnknown}},
	} {
		t.Run(name, func(t *testing.T) {
			m, s := f.open()
			if err := m.PutIf(t.Context(), kv.Item{Key: key, Version: "1"}, ""); err != nil {
				t.Fatal(err)
			}
			if err := s.DeleteIf(t.Context(), key, "1"); err != nil {
				t.Fatal(err)
			}
			if m.Len() != 0 {
				t.Error("item is still there")
			}
		})
	}
}

func TestDeleteOfTheMissingIsAConflict(t *testing.T) {
	_, s := (&failing{}).open()
	if err := s.DeleteIf(t.Context(), key, "1"); !errors.Is(err, kv.ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
}

// mute is a store whose conflicts do not say what they met.
type mute struct{ kv.Store }

func (m mute) DeleteIf(ctx context.Context, key kv.Key, old kv.Version) error {
	if err := m.Store.DeleteIf(ctx, key, old); errors.Is(err, kv.ErrConflict) {
		return kv.ErrConflict
	} else {
		return err
	}
}

func TestUnknownDeleteWithMuteConflicts(t *testing.T) {
	calls := 0
	m := mem.New(mem.Options{After: func(op mem.Op) error {
		if op.Method == "DeleteIf" {
			if calls++; calls == 1 {
				return kv.ErrUnknown
			}
		}
		return nil
	}})
	s := retry.New(mute{m}, retry.Options{First: 1})
	for _, v := range []kv.Version{"1", "2"} {
		if err := m.PutIf(t.Context(), kv.Item{Key: key, Version: v}, ""); err != nil {
			t.Fatal(err)
		}
		if err := s.DeleteIf(t.Context(), key, v); err != nil {
			t.Errorf("delete of version %s: %v", v, err)
		}
	}
	if err := s.DeleteIf(t.Context(), key, "3"); !errors.Is(err, kv.ErrConflict) {
		t.Errorf("delete of the missing: %v, want ErrConflict", err)
	}
}

func TestUnknownDeleteThenRecreated(t *testing.T) {
	var m *mem.Store
	first := true
	m = mem.New(mem.Options{After: func(op mem.Op) error {
		if op.Method == "DeleteIf" && first {
			first = false
			if err := m.PutIf(context.Background(), kv.Item{Key: key, Version: "new"}, ""); err != nil {
				return err
			}
			return kv.ErrUnknown
		}
		return nil
	}})
	s := retry.New(m, retry.Options{First: 1})
	if err := m.PutIf(t.Context(), kv.Item{Key: key, Version: "old"}, ""); err != nil {
		t.Fatal(err)
	}
	err := s.DeleteIf(t.Context(), key, "old")
	if i, cur := kv.Current(t.Context(), s, key, err); !errors.Is(err, kv.ErrConflict) || cur != nil || i.Version != "new" {
		t.Errorf("got %v with %v, want a conflict with the new item", err, i)
	}
}

func TestOutcomeStaysUnknown(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := &failing{before: []error{kv.ErrUnknown, kv.ErrThrottled, kv.ErrThrottled, kv.ErrThrottled}}
	_, s := f.open()
	if err := s.PutIf(ctx, kv.Item{Key: key, Version: "1"}, ""); !errors.Is(err, kv.ErrUnknown) {
		t.Errorf("throttled after an unknown outcome: %v, want ErrUnknown", err)
	}
	f = &failing{before: []error{kv.ErrUnknown}}
	_, s = f.open()
	cancel()
	if err := s.PutIf(ctx, kv.Item{Key: key, Version: "1"}, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("ended context: %v", err)
	}
}

func TestQueryGoesOn(t *testing.T) {
	m := mem.New(mem.Options{})
	for n := range 10 {
		if err := m.PutIf(t.Context(), kv.Item{Key: kv.Key{Partition: "z", Sort: fmt.Sprint(n)}, Version: kv.NewVersion()}, ""); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		opts []kv.ReadOption
		want string
	}{
		{nil, "0123456789"},
		{[]kv.ReadOption{kv.Reverse}, "9876543210"},
		{[]kv.ReadOption{kv.Limit(5)}, "01234"},
		{[]kv.ReadOption{kv.Limit(5), kv.Reverse}, "98765"},
	} {
		got := ""
		s := retry.New(breaking{m}, retry.Options{Tries: 3, First: 1})
		for i, err := range s.Query(t.Context(), "z", "", "", test.opts...) {
			if err != nil {
				t.Fatal(err)
			}
			got += i.Sort
		}
		if got != test.want {
			t.Errorf("%+v gives %s, want %s", kv.Resolve(test.opts), got, test.want)
		}
	}
}

// breaking is a store whose queries are throttled after every second item.
type breaking struct{ kv.Store }

func (b breaking) Query(ctx context.Context, partition, from, to string, opts ...kv.ReadOption) iter.Seq2[kv.Item, error] {
	return func(yield func(kv.Item, error) bool) {
		n := 0
		for i, err := range b.Store.Query(ctx, partition, from, to, opts...) {
			if n++; n == 3 {
				yield(kv.Item{}, kv.ErrThrottled)
				return
			}
			if !yield(i, err) {
				return
			}
		}
	}
}
