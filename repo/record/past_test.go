package record_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
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
					if rapid.IntRange(0, 9).Draw(rt, "prune") == 0 {
						if name == "chaos" {
							// History is kept for an hour at the least: by then writes that
							// land late have landed, and bring nothing back that was pruned.
							time.Sleep(10 * time.Millisecond)
						}
						prune(t, rt, s, seen)
					}
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

// prune keeps what was seen from a time on, and at some times before; the
// others are asked for no more. It is broken off and gone on with here and there.
func prune(t *testing.T, rt *rapid.T, s *record.Store, seen map[int64]map[[2]string]string) {
	times := slices.Sorted(maps.Keys(seen))
	if len(times) == 0 {
		return
	}
	keep := record.Keep{From: rapid.SampledFrom(times).Draw(rt, "from")}
	for _, at := range times {
		switch {
		case at >= keep.From:
		case rapid.Bool().Draw(rt, "pinned"):
			keep.At = append(keep.At, at)
		default:
			delete(seen, at)
		}
	}
	broken := errors.New("broken off")
	for shard := range space.Shards {
		cursor := ""
		for done := false; !done; {
			err := s.Prune(t.Context(), space, shard, keep, cursor, func(next string, _ int64) error {
				if next != cursor && rapid.IntRange(0, 3).Draw(rt, "break") == 0 {
					cursor = next
					return broken
				}
				cursor = next
				return nil
			})
			if err != nil && !errors.Is(err, broken) {
				rt.Fatal(err)
			}
			done = err == nil
		}
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

// What nobody may ask for any more is gone, tombstones included, in two rounds
// at the most; what a snapshot needs stays as long as it does.
func TestPruneRemoves(t *testing.T) {
	s, n, c := counted(t)
	items := func() int {
		t.Helper()
		total := 0
		for shard := range space.Shards {
			for _, p := range []string{space.History(shard), space.Records(shard)} {
				for item, err := range n.Query(t.Context(), p, "", "") {
					if err != nil {
						t.Fatal(err)
					}
					if _, _, marker := kv.SplitRecord(item.Sort); !marker {
						total++
					}
				}
			}
		}
		return total
	}
	for i := range 5 {
		put(t, s, "a", "f", fmt.Sprint("content ", i))
		c.add(time.Hour)
	}
	pinned := c.now()
	put(t, s, "a", "gone", "x")
	put(t, s, "b", "gone", "x")
	c.add(time.Hour)
	remove(t, s, "a", "f")
	remove(t, s, "a", "gone")
	remove(t, s, "b", "gone")
	c.add(time.Hour)
	put(t, s, "b", "gone", "is back")
	c.add(time.Hour)
	if got := items(); got != 3+5+1+2 {
		t.Fatalf("%d items before", got)
	}
	run := func(keep record.Keep) int {
		t.Helper()
		for range 2 {
			for shard := range space.Shards {
				if err := s.Prune(t.Context(), space, shard, keep, "", func(string, int64) error { return nil }); err != nil {
					t.Fatal(err)
				}
			}
		}
		return items()
	}
	// a/f as of the pin with its tombstone, both "gone" of then, b/gone of now.
	if got := run(record.Keep{From: c.ns.Load(), At: []int64{pinned.UnixNano()}}); got != 2+2+2 {
		t.Errorf("%d items with a snapshot, want 6", got)
	}
	if rec, err := s.GetAt(t.Context(), space, "a", "f", pinned); err != nil || string(rec.Inline) != "content 4" {
		t.Errorf("a/f as of the snapshot is %q, %v", rec.Inline, err)
	}
	if got := run(record.Keep{From: c.ns.Load()}); got != 1 {
		t.Errorf("%d items without, want 1", got)
	}
	if got := get(t, s, "b", "gone", record.Latest); got != "is back" {
		t.Errorf("b/gone is %q", got)
	}
}

// Of two that wait one over the other, each is seen from its own commit on,
// whichever comes first; the past says the same later, and taking the upper one
// back leaves the lower one.
func TestWaitingOverWaiting(t *testing.T) {
	for _, order := range []string{"lower first", "upper first", "upper taken back"} {
		s, _, c := counted(t)
		put(t, s, "d", "f", "zero")
		write := func(content, commit string) {
			t.Helper()
			c.add(time.Second)
			if _, err := s.Put(t.Context(), space, "d", "f", record.Record{Size: int64(len(content)), Inline: []byte(content), Commit: commit}, nil); err != nil {
				t.Fatal(err)
			}
		}
		type saw struct {
			at   time.Time
			what string
		}
		var past []saw
		sees := func(want string) {
			t.Helper()
			c.add(time.Second)
			if rec, _, err := s.Get(t.Context(), space, "d", "f", record.Latest); err != nil || string(rec.Inline) != want {
				t.Errorf("%s: it is %q, want %q (%v)", order, rec.Inline, want, err)
			}
			past = append(past, saw{c.now(), want})
		}
		commit := func(id string) {
			t.Helper()
			c.add(time.Second)
			if err := s.Commit(t.Context(), space, id); err != nil {
				t.Fatal(err)
			}
			if err := s.Count(t.Context(), space, "d", "f", id); err != nil {
				t.Fatal(err)
			}
		}
		write("lower", "p1")
		write("upper one", "p2")
		sees("zero")
		switch order {
		case "lower first":
			commit("p1")
			sees("lower")
			commit("p2")
			sees("upper one")
		case "upper first":
			commit("p2")
			sees("upper one")
			commit("p1") // what it was is under the other by now
			sees("upper one")
		default:
			commit("p1")
			sees("lower")
			if err := s.Abandon(t.Context(), space, "d", "f", "p2"); err != nil {
				t.Fatal(err)
			}
			sees("lower")
		}
		count, bytes, err := s.Usage(t.Context(), space.Repo)
		if want := int64(len(past[len(past)-1].what)); err != nil || count != 1 || bytes != want {
			t.Errorf("%s: %d files of %d bytes are counted, want 1 of %d (%v)", order, count, bytes, want, err)
		}
		write("after", "")
		sees("after")
		for _, p := range past {
			rec, err := s.GetAt(t.Context(), space, "d", "f", p.at)
			if err != nil || string(rec.Inline) != p.what {
				t.Errorf("%s: as of %v it is %q, want %q (%v)", order, p.at, rec.Inline, p.what, err)
			}
		}
	}
}
