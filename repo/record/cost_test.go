package record_test

import (
	"errors"
	"testing"

	"granary/formats"
	"granary/kv"
	"granary/kv/count"
	"granary/kv/mem"
	"granary/repo/record"
)

// The budget of design.md §10, as far as records go.
func TestCosts(t *testing.T) {
	for _, c := range []struct {
		name          string
		shared        bool
		prepare       func(t *testing.T, s *record.Store)
		do            func(t *testing.T, s *record.Store) error
		reads, writes int
	}{
		{
			name:    "put, new path, known directory",
			prepare: func(t *testing.T, s *record.Store) { put(t, s, "a/b", "other", "x") },
			do: func(t *testing.T, s *record.Store) error {
				put(t, s, "a/b", "new", "x")
				return nil
			},
			writes: 1,
		},
		{
			name: "put, new path, new directories",
			do: func(t *testing.T, s *record.Store) error {
				put(t, s, "a/b/c", "new", "x")
				return nil
			},
			writes: 1 + 3,
		},
		{
			name: "put in the root",
			do: func(t *testing.T, s *record.Store) error {
				put(t, s, "", "new", "x")
				return nil
			},
			writes: 1,
		},
		{
			name:    "put over a record",
			prepare: func(t *testing.T, s *record.Store) { put(t, s, "a", "f", "old") },
			do: func(t *testing.T, s *record.Store) error {
				put(t, s, "a", "f", "new")
				return nil
			},
			writes: 3,
		},
		{
			name:    "put that changes nothing",
			prepare: func(t *testing.T, s *record.Store) { put(t, s, "a", "f", "old") },
			do: func(t *testing.T, s *record.Store) error {
				out, err := s.Put(t.Context(), space, "a", "f", file("old"), func(old *record.Record) (record.Verdict, error) {
					if old != nil {
						return record.Same, nil
					}
					return record.Replace, nil
				})
				if !out.Same {
					t.Error("not the same")
				}
				return err
			},
			writes: 1,
		},
		{
			name:    "delete",
			prepare: func(t *testing.T, s *record.Store) { put(t, s, "a", "f", "old") },
			do: func(t *testing.T, s *record.Store) error {
				remove(t, s, "a", "f")
				return nil
			},
			reads: 1, writes: 2,
		},
		{
			name: "get that hits", shared: true,
			prepare: func(t *testing.T, s *record.Store) { put(t, s, "a", "f", "x") },
			do: func(t *testing.T, s *record.Store) error {
				_, _, err := s.Get(t.Context(), space, "a", "f", record.Hit)
				return err
			},
			reads: 1,
		},
		{
			name: "get that misses, confirmed", shared: true,
			do:    getMissing(record.Hit),
			reads: 2,
		},
		{
			name: "get of a deleted one, confirmed", shared: true,
			prepare: func(t *testing.T, s *record.Store) {
				put(t, s, "a", "f", "x")
				remove(t, s, "a", "f")
			},
			do:    getMissing(record.Hit),
			reads: 2,
		},
		{
			name: "get that misses, consistent store",
			do:   getMissing(record.Hit), reads: 1,
		},
		{
			name: "get of the latest that misses", shared: true,
			do: getMissing(record.Latest), reads: 1,
		},
		{
			name: "stamp that was never touched",
			do: func(t *testing.T, s *record.Store) error {
				_, err := s.Stamp(t.Context(), space, "a")
				return err
			},
			reads: 1,
		},
		{
			name:    "touch again",
			prepare: func(t *testing.T, s *record.Store) { touch(t, s, "a") },
			do: func(t *testing.T, s *record.Store) error {
				touch(t, s, "a")
				return nil
			},
			writes: 1,
		},
		{
			name: "page of a directory",
			prepare: func(t *testing.T, s *record.Store) {
				for _, name := range []string{"f", "g", "h"} {
					put(t, s, "a", name, "x")
					put(t, s, "a/"+name, name, "x")
				}
			},
			do: func(t *testing.T, s *record.Store) error {
				p, err := s.Dir(t.Context(), space, "a", "", 4)
				if len(p.Lines) != 4 || !p.More {
					t.Errorf("%d lines, more: %v", len(p.Lines), p.More)
				}
				return err
			},
			reads: 1,
		},
		{
			name: "page of a directory whose total is known",
			prepare: func(t *testing.T, s *record.Store) {
				for _, name := range []string{"f", "g", "h"} {
					put(t, s, "a", name, "x")
				}
				if _, err := s.Total(t.Context(), space, "a"); err != nil {
					t.Fatal(err)
				}
				put(t, s, "a", "i", "x")
			},
			do: func(t *testing.T, s *record.Store) error {
				p, err := s.DirAt(t.Context(), space, "a", 0, 2)
				if p.Total != 4 {
					t.Errorf("total %d, want 4", p.Total)
				}
				return err
			},
			reads: 1,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			var inner kv.Store = newMem(t, mem.Options{})
			if c.shared {
				inner = shared{inner}
			}
			n := count.New(inner)
			s := newStore(t, n, newClock(), "n1")
			if c.prepare != nil {
				c.prepare(t, s)
			}
			n.Reset()
			if err := c.do(t, s); err != nil {
				t.Fatal(err)
			}
			if n.Reads() != c.reads || n.Writes() != c.writes {
				t.Errorf("%d reads, %d writes (%v), want %d and %d", n.Reads(), n.Writes(), n, c.reads, c.writes)
			}
		})
	}
}

func getMissing(mode record.Mode) func(*testing.T, *record.Store) error {
	return func(t *testing.T, s *record.Store) error {
		if _, _, err := s.Get(t.Context(), space, "a", "f", mode); !errors.Is(err, formats.ErrNotFound) {
			t.Errorf("Get = %v, want ErrNotFound", err)
		}
		return nil
	}
}

func touch(t *testing.T, s *record.Store, scopes ...string) {
	t.Helper()
	if err := s.Touch(t.Context(), space, scopes...); err != nil {
		t.Fatal(err)
	}
}
