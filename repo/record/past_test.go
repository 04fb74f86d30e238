package record_test

import (
	"errors"
	"fmt"
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"

	"granary/formats"
	"granary/kv"
	"granary/kv/mem"
	"granary/repo/record"
)

var (
	pastScopes = []string{"", "a", "a/b", "a.b", "a-b"}
	pastNames  = []string{"f", "f.x", "f/x", "f-1", ":tag"}
)

// What was seen at a time is what is seen as of it, whatever was written,
// removed, kept waiting and committed since, and however much was pruned that
// nobody may ask for.
func TestPastIsWhatWasSeen(t *testing.T) {
	stores := map[string]func(*rapid.T) kv.Store{
		"mem":   func(*rapid.T) kv.Store { return newMem(t, mem.Options{}) },
		"chaos": func(rt *rapid.T) kv.Store { return unreliable(t, rapid.Uint64().Draw(rt, "seed")) },
	}
	for name, open := range stores {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				store, c := open(rt), newClock()
				nodes := []*record.Store{newStore(t, store, c, "n1"), newStore(t, store, c, "n2")}
				seen := map[int64]map[[2]string]string{}
				for i := range rapid.IntRange(1, 25).Draw(rt, "operations") {
					s := rapid.SampledFrom(nodes).Draw(rt, "node")
					c.ns.Add(100)
					change(t, rt, s, i)
					c.ns.Add(100)
					seen[c.ns.Load()] = everything(t, rt, s)
				}
				for ns, want := range seen {
					checkPast(t, rt, nodes[0], time.Unix(0, ns), want)
				}
			})
		})
	}
}

// change does something to a record.
func change(t *testing.T, rt *rapid.T, s *record.Store, i int) {
	scope, name := rapid.SampledFrom(pastScopes).Draw(rt, "scope"), rapid.SampledFrom(pastNames).Draw(rt, "name")
	id := rapid.SampledFrom([]string{"p1", "p2"}).Draw(rt, "commit")
	rec := file(fmt.Sprint("content ", i))
	switch rapid.IntRange(0, 7).Draw(rt, "kind") {
	case 0, 1:
		if _, err := s.Delete(t.Context(), space, scope, name, nil); err != nil && !errors.Is(err, formats.ErrNotFound) {
			rt.Fatal(err)
		}
		return
	case 2:
		if err := s.Commit(t.Context(), space, id); err != nil {
			rt.Fatal(err)
		}
		return
	case 3, 4:
		// Nothing is written for a commit once that exists.
		if made, err := s.Committed(t.Context(), space, id); err != nil || made {
			return
		}
		rec.Commit = id
	}
	if _, err := s.Put(t.Context(), space, scope, name, rec, nil); err != nil {
		rt.Fatal(err)
	}
}

// everything is what a reader of now sees.
func everything(t *testing.T, rt *rapid.T, s *record.Store) map[[2]string]string {
	out, scanned := map[[2]string]string{}, map[[2]string]string{}
	for _, scope := range pastScopes {
		for _, name := range pastNames {
			rec, _, err := s.Get(t.Context(), space, scope, name, record.Latest)
			if err == nil {
				out[[2]string{scope, name}] = string(rec.Inline)
			} else if !errors.Is(err, formats.ErrNotFound) {
				rt.Fatal(err)
			}
		}
	}
	for n, err := range s.Walk(t.Context(), space, "", "", record.Consistent) {
		if err != nil {
			rt.Fatal(err)
		}
		scanned[[2]string{n.Scope, n.Name}] = string(n.Record.Inline)
	}
	if !maps.Equal(out, scanned) {
		rt.Fatalf("walk sees %q, single reads %q", scanned, out)
	}
	return out
}

func checkPast(t *testing.T, rt *rapid.T, s *record.Store, at time.Time, want map[[2]string]string) {
	got := map[[2]string]string{}
	for _, scope := range pastScopes {
		last := ""
		for n, err := range s.Scope(t.Context(), space, scope, record.At(at)) {
			if err != nil {
				rt.Fatal(err)
			}
			if n.Name <= last {
				rt.Errorf("%q follows %q", n.Name, last)
			}
			last = n.Name
			got[[2]string{scope, n.Name}] = string(n.Record.Inline)
		}
		for _, name := range pastNames {
			rec, err := s.GetAt(t.Context(), space, scope, name, at)
			if err != nil && !errors.Is(err, formats.ErrNotFound) {
				rt.Fatal(err)
			}
			if string(rec.Inline) != want[[2]string{scope, name}] {
				rt.Errorf("%s//%s as of %v is %q, was %q", scope, name, at, rec.Inline, want[[2]string{scope, name}])
			}
		}
	}
	if !maps.Equal(got, want) {
		rt.Errorf("scopes as of %v are %q, were %q", at, got, want)
	}
	walked := map[[2]string]string{}
	for n, err := range s.Walk(t.Context(), space, "", "", record.At(at)) {
		if err != nil {
			rt.Fatal(err)
		}
		walked[[2]string{n.Scope, n.Name}] = string(n.Record.Inline)
	}
	if !maps.Equal(walked, want) {
		rt.Errorf("walk as of %v sees %q, was %q", at, walked, want)
	}
}

// A listing shows what waits for a commit only once that exists, and what it
// replaces until then.
func TestWaitingRecordsAreNotListed(t *testing.T) {
	s, _, c := counted(t)
	put(t, s, "d", "old", "before")
	waiting := [][2]string{{"d", "old"}, {"d", "new"}, {"d/only", "new"}}
	for _, at := range waiting {
		rec := file("waits")
		rec.Commit = "p"
		if _, err := s.Put(t.Context(), space, at[0], at[1], rec, nil); err != nil {
			t.Fatal(err)
		}
		if err := s.EnsureMarkers(t.Context(), space, at[0]); err != nil {
			t.Fatal(err)
		}
	}
	names := func() string {
		t.Helper()
		p, err := s.DirAt(t.Context(), space, "d", 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		out := fmt.Sprint(p.Total, " of")
		for _, l := range p.Lines {
			out += fmt.Sprintf(" %s:%d", l.Name, l.Bytes)
		}
		return out
	}
	if got := names(); got != "1 of old:6" {
		t.Errorf("before the commit the listing is %q", got)
	}
	if rec, v, err := s.Get(t.Context(), space, "d", "old", record.Hit); err != nil || string(rec.Inline) != "before" || v != "" {
		t.Errorf("before the commit a reader gets %q of version %q, %v", rec.Inline, v, err)
	}
	c.add(time.Second)
	if err := s.Commit(t.Context(), space, "p"); err != nil {
		t.Fatal(err)
	}
	for _, at := range waiting {
		if err := s.Count(t.Context(), space, at[0], at[1], "p"); err != nil {
			t.Fatal(err)
		}
	}
	if got := names(); got != "3 of only:5 new:5 old:5" {
		t.Errorf("after the commit the listing is %q", got)
	}
}
