package mem_test

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"granary/kv"
	"granary/kv/kvtest"
	"granary/kv/mem"
)

func TestConformance(t *testing.T) {
	var skipped atomic.Int64
	now := func() time.Time { return time.Now().Add(time.Duration(skipped.Load())) }
	open := func(t *testing.T) kv.Store {
		return mem.New(mem.Options{Now: now, Misuse: func(err error) { t.Error(err) }})
	}
	kvtest.Test(t, open, kvtest.Clock(now, func(d time.Duration) { skipped.Add(int64(d)) }))
}

var (
	key   = kv.Key{Partition: "cfg/repo", Sort: "k"}
	blind = kv.Key{Partition: "t/r/0000", Sort: "k"}
)

func TestMisuse(t *testing.T) {
	ctx := t.Context()
	tests := map[string]func(s *mem.Store) error{
		"blind put":    func(s *mem.Store) error { return s.Put(ctx, kv.Item{Key: key}) },
		"blind delete": func(s *mem.Store) error { return s.Delete(ctx, key) },
		"conditional put of a blind key": func(s *mem.Store) error {
			return s.PutIf(ctx, kv.Item{Key: blind, Version: "1"}, "")
		},
		"conditional delete of a blind key": func(s *mem.Store) error { return s.DeleteIf(ctx, blind, "1") },
		"batch into a used partition": func(s *mem.Store) error {
			return errors.Join(s.PutIf(ctx, kv.Item{Key: key, Version: "1"}, ""),
				s.BatchPut(ctx, []kv.Item{{Key: kv.Key{Partition: key.Partition, Sort: "other"}}}))
		},
		"batch with a key twice": func(s *mem.Store) error { return s.BatchPut(ctx, []kv.Item{{Key: key}, {Key: key}}) },
		"version reused with other bytes": func(s *mem.Store) error {
			return errors.Join(s.PutIf(ctx, kv.Item{Key: key, Version: "1"}, ""),
				s.PutIf(ctx, kv.Item{Key: key, Version: "1", Value: []byte("x")}, ""))
		},
		"version reused after a conflict": func(s *mem.Store) error {
			if err := s.PutIf(ctx, kv.Item{Key: key, Version: "1"}, "0"); !errors.Is(err, kv.ErrConflict) {
				return err
			}
			return s.PutIf(ctx, kv.Item{Key: key, Version: "1"}, "")
		},
		"version replaces itself": func(s *mem.Store) error { return s.PutIf(ctx, kv.Item{Key: key, Version: "1"}, "1") },
	}
	for name, misuse := range tests {
		t.Run(name, func(t *testing.T) {
			var told error
			s := mem.New(mem.Options{Misuse: func(err error) { told = err }})
			if err := misuse(s); !errors.Is(err, mem.ErrMisuse) || !errors.Is(told, mem.ErrMisuse) {
				t.Errorf("got %v, told %v, want ErrMisuse", err, told)
			}
		})
	}
}

func TestBlindWhereAllowed(t *testing.T) {
	ctx := t.Context()
	s := mem.New(mem.Options{Blind: func(string) bool { return true }})
	if err := s.Put(ctx, kv.Item{Key: key, Version: "1"}); err != nil {
		t.Fatal(err)
	}
	if err := s.PutIf(ctx, kv.Item{Key: key, Version: "2"}, "1"); err != nil {
		t.Fatal(err)
	}
	if err := s.BatchPut(ctx, []kv.Item{{Key: key}}); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, key); err != nil || s.Len() != 0 {
		t.Fatal(err, s.Len())
	}
}

func TestHooks(t *testing.T) {
	ctx := t.Context()
	injected := errors.New("injected")
	var before, after error
	var seen []string
	s := mem.New(mem.Options{
		Before: func(o mem.Op) error { seen = append(seen, o.Method); return before },
		After:  func(mem.Op) error { return after },
	})
	item := kv.Item{Key: key, Version: "1", Value: []byte("v")}

	before = injected
	if err := s.PutIf(ctx, item, ""); !errors.Is(err, injected) || s.Len() != 0 {
		t.Errorf("failing before: %v with %d items, want the injected error and none", err, s.Len())
	}
	before, after = nil, injected
	if err := s.PutIf(ctx, item, ""); !errors.Is(err, injected) || s.Len() != 1 {
		t.Errorf("failing after: %v with %d items, want the injected error and one", err, s.Len())
	}
	if _, err := s.Get(ctx, key); !errors.Is(err, injected) {
		t.Errorf("Get: %v, want the injected error", err)
	}
	var n int
	var last error
	for _, err := range s.Query(ctx, key.Partition, "", "") {
		n, last = n+1, err
	}
	if n != 2 || !errors.Is(last, injected) {
		t.Errorf("Query yields %d times, last %v, want an item and the injected error", n, last)
	}
	if got := len(seen); got != 4 || seen[3] != "Query" {
		t.Errorf("hooks saw %q", seen)
	}
}
