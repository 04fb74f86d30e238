package record_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"granary/formats"
	"granary/kv"
	"granary/kv/mem"
	"granary/repo/record"
)

func verdicts(absent, present record.Verdict, err error) record.Decide {
	return func(old *record.Record) (record.Verdict, error) {
		v := present
		if old == nil {
			v = absent
		}
		if v == record.Refuse {
			return v, err
		}
		return v, nil
	}
}

func TestPutVerdicts(t *testing.T) {
	for _, c := range []struct {
		name            string
		before          string // content of the record that is there, "" for none
		deleted         bool
		absent, present record.Verdict
		err             error
		want            string
		same            bool
	}{
		{name: "new", absent: record.Replace, present: record.Refuse, want: "new"},
		{name: "over a tombstone", before: "old", deleted: true, absent: record.Replace, present: record.Refuse, want: "new"},
		{name: "replaced", before: "old", absent: record.Replace, present: record.Replace, want: "new"},
		{name: "same", before: "old", absent: record.Replace, present: record.Same, want: "old", same: true},
		{name: "refused", before: "old", absent: record.Replace, present: record.Refuse, err: formats.ErrExists, want: "old"},
		{name: "refused if new", absent: record.Refuse, present: record.Replace, err: formats.ErrPrecondition},
		{name: "refused if deleted", before: "old", deleted: true, absent: record.Refuse, present: record.Replace, err: formats.ErrPrecondition},
		{name: "refused if new, but there", before: "old", absent: record.Refuse, present: record.Replace, err: formats.ErrPrecondition, want: "new"},
		{name: "refused both ways", before: "old", absent: record.Refuse, present: record.Refuse, err: formats.ErrPrecondition, want: "old"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _, _ := counted(t)
			if c.before != "" {
				put(t, s, "a", "f", c.before)
			}
			if c.deleted {
				remove(t, s, "a", "f")
			}
			out, err := s.Put(t.Context(), space, "a", "f", file("new"), verdicts(c.absent, c.present, c.err))
			succeeds := c.err == nil || c.want == "new"
			if succeeds != (err == nil) || !succeeds && !errors.Is(err, c.err) {
				t.Fatalf("Put = %v, want %v", err, c.err)
			}
			if got := get(t, s, "a", "f", record.Latest); got != c.want {
				t.Errorf("stored is %q, want %q", got, c.want)
			}
			if err != nil {
				return
			}
			if out.Same != c.same || string(out.Record.Inline) != c.want {
				t.Errorf("same %v with %q, want %v with %q", out.Same, out.Record.Inline, c.same, c.want)
			}
			if replaced := c.before != "" && !c.deleted && !c.same; (out.Replaced != nil) != replaced {
				t.Errorf("replaced %v, want one: %v", out.Replaced, replaced)
			}
			if _, v, err := s.Get(t.Context(), space, "a", "f", record.Latest); v != out.Version || err != nil {
				t.Errorf("version %q, %v, want %q", v, err, out.Version)
			}
		})
	}
}

func TestPutWithoutVerdict(t *testing.T) {
	s, n, _ := counted(t)
	for _, d := range []record.Decide{verdicts(0, 0, nil), verdicts(record.Same, record.Replace, nil), verdicts(record.Refuse, record.Refuse, nil)} {
		if _, err := s.Put(t.Context(), space, "a", "f", file("x"), d); err == nil {
			t.Error("Put without a verdict succeeded")
		}
	}
	if n.Writes() != 0 {
		t.Errorf("%d writes", n.Writes())
	}
}

func TestNames(t *testing.T) {
	s, n, _ := counted(t)
	for _, c := range [][2]string{{"a", ""}, {"a", "/f"}, {"a", "f/"}, {"a", "f//g"}, {"a/", "f"}, {"/a", "f"}, {"a//b", "f"}, {"a", "f\x01"}, {"a\n", "f"}, {"", "\x7f"}} {
		if _, err := s.Put(t.Context(), space, c[0], c[1], file("x"), nil); !errors.Is(err, formats.ErrBadRequest) {
			t.Errorf("Put %q %q = %v, want ErrBadRequest", c[0], c[1], err)
		}
		if _, err := s.Delete(t.Context(), space, c[0], c[1], nil); !errors.Is(err, formats.ErrBadRequest) {
			t.Errorf("Delete %q %q = %v, want ErrBadRequest", c[0], c[1], err)
		}
	}
	if n.Writes() != 0 {
		t.Errorf("%d writes", n.Writes())
	}
}

func TestSinceGrows(t *testing.T) {
	s, store, c := counted(t)
	start := c.now()
	put(t, s, "a", "f", "1")
	put(t, s, "a", "f", "2") // within the same instant
	c.at(start.Add(-time.Hour))
	remove(t, s, "a", "f") // the clock went back
	put(t, s, "a", "f", "3")
	c.at(start.Add(time.Hour))
	put(t, s, "a", "f", "4")
	ns := start.UnixNano()
	want := []state{{ns, false, "1"}, {ns + 1, false, "2"}, {ns + 2, true, ""}, {ns + 3, false, "3"}, {ns + int64(time.Hour), false, "4"}}
	if d := cmp.Diff(want, past(t.Context(), t, store, "a", "f"), cmp.AllowUnexported(state{})); d != "" {
		t.Error(d)
	}
}

func TestTimes(t *testing.T) {
	s, _, c := counted(t)
	first := put(t, s, "a", "f", "1").Record
	if ns := c.now().UnixNano(); first.Created != ns || first.Updated != ns {
		t.Errorf("created %d, updated %d, want %d", first.Created, first.Updated, ns)
	}
	c.add(time.Minute)
	second := put(t, s, "a", "f", "2").Record
	if second.Created != first.Created || second.Updated != c.now().UnixNano() {
		t.Errorf("created %d, updated %d, want %d and %d", second.Created, second.Updated, first.Created, c.now().UnixNano())
	}
	remove(t, s, "a", "f")
	c.add(time.Minute)
	if third := put(t, s, "a", "f", "3").Record; third.Created != c.now().UnixNano() {
		t.Errorf("created %d after a delete, want %d", third.Created, c.now().UnixNano())
	}
	if got := second.Public("a", "f").Time; !got.Equal(time.Unix(0, second.Updated)) {
		t.Errorf("Public says %v", got)
	}
}

func TestDelete(t *testing.T) {
	s, n, _ := counted(t)
	if _, err := s.Delete(t.Context(), space, "a", "f", nil); !errors.Is(err, formats.ErrNotFound) {
		t.Errorf("Delete of nothing = %v", err)
	}
	put(t, s, "a", "f", "1")
	refuse := func(record.Record) error { return formats.ErrPrecondition }
	if _, err := s.Delete(t.Context(), space, "a", "f", refuse); !errors.Is(err, formats.ErrPrecondition) {
		t.Errorf("refused Delete = %v", err)
	}
	old, err := s.Delete(t.Context(), space, "a", "f", func(r record.Record) error {
		if string(r.Inline) != "1" {
			t.Errorf("asked about %q", r.Inline)
		}
		return nil
	})
	if err != nil || string(old.Inline) != "1" {
		t.Errorf("Delete = %q, %v", old.Inline, err)
	}
	n.Reset()
	if _, err := s.Delete(t.Context(), space, "a", "f", nil); !errors.Is(err, formats.ErrNotFound) || n.Writes() != 0 {
		t.Errorf("Delete of a deleted one = %v with %d writes", err, n.Writes())
	}
}

func TestUpdate(t *testing.T) {
	s, store, _ := counted(t)
	put(t, s, "a", "f", "1")
	rec, v, err := s.Get(t.Context(), space, "a", "f", record.Latest)
	if err != nil {
		t.Fatal(err)
	}
	rec.Origin = &record.Origin{ETag: `"x"`, Checked: 7}
	now, err := s.Update(t.Context(), space, "a", "f", v, rec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Update(t.Context(), space, "a", "f", v, rec); !errors.Is(err, kv.ErrConflict) {
		t.Errorf("Update of an old version = %v, want ErrConflict", err)
	}
	got, at, err := s.Get(t.Context(), space, "a", "f", record.Latest)
	if err != nil || at != now || got.Origin == nil || got.Origin.Checked != 7 || got.Since != rec.Since {
		t.Errorf("Get = %+v at %s, %v", got, at, err)
	}
	if states := past(t.Context(), t, store, "a", "f"); len(states) != 1 {
		t.Errorf("history of an update: %v", states)
	}
	for _, wrong := range []record.Record{{}, {Since: 1, Deleted: true}} {
		if _, err := s.Update(t.Context(), space, "a", "f", now, wrong); err == nil {
			t.Errorf("Update to %+v succeeded", wrong)
		}
	}
}

// A writer that read a record before its bookkeeping changed, and was slow,
// writes the same history but for that; it is no obstacle.
func TestHistoryOfAnUpdatedRecord(t *testing.T) {
	c := newClock()
	var s *record.Store
	armed := false
	store := newMem(t, mem.Options{After: func(op mem.Op) error {
		if armed && op.Method == "PutIf" && op.Key.Partition[0] == 'h' {
			armed = false
			rec, v, err := s.Get(t.Context(), space, "a", "f", record.Latest)
			if err == nil {
				rec.Origin = &record.Origin{Checked: 9}
				_, err = s.Update(t.Context(), space, "a", "f", v, rec)
			}
			return err
		}
		return nil
	}})
	s = newStore(t, store, c, "n1")
	put(t, s, "a", "f", "1")
	armed = true
	put(t, s, "a", "f", "2")
	if got := get(t, s, "a", "f", record.Latest); got != "2" || armed {
		t.Errorf("stored is %q", got)
	}
}

func TestForeignHistoryIsNotLost(t *testing.T) {
	s, store, _ := counted(t)
	out := put(t, s, "a", "f", "1")
	value, err := kv.Marshal(record.Record{Since: out.Record.Since, Inline: []byte("other")})
	if err != nil {
		t.Fatal(err)
	}
	item := kv.Item{Key: space.Replaced("a", "f", out.Record.Since), Value: value, Version: kv.NewVersion()}
	if err := store.PutIf(t.Context(), item, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put(t.Context(), space, "a", "f", file("2"), nil); !errors.Is(err, formats.ErrCorrupt) {
		t.Errorf("Put = %v, want ErrCorrupt", err)
	}
	if got := get(t, s, "a", "f", record.Latest); got != "1" {
		t.Errorf("stored is %q", got)
	}
}

// The answer to a write is lost, somebody else writes, the write is sent again
// and conflicts: it took effect and must not take effect twice.
func TestLostAnswerThenOvertaken(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, s *record.Store)
		want []string // contents in order, "-" for a tombstone
	}{
		{"put", func(t *testing.T, s *record.Store) { put(t, s, "a", "f", "mine") }, []string{"old", "mine", "theirs"}},
		{"delete", func(t *testing.T, s *record.Store) { remove(t, s, "a", "f") }, []string{"old", "-", "theirs"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			clk := newClock()
			inner := newMem(t, mem.Options{})
			other := newStore(t, inner, clk, "n2")
			overtaken := false
			store := &repeating{Store: inner, then: func(item kv.Item) {
				if !overtaken && item.Key == space.Record("a", "f") {
					overtaken = true
					put(t, other, "a", "f", "theirs")
				}
			}}
			s := newStore(t, store, clk, "n1")
			put(t, other, "a", "f", "old")
			clk.add(time.Second)
			c.do(t, s)
			var got []string
			for _, st := range past(t.Context(), t, inner, "a", "f") {
				if st.deleted {
					st.content = "-"
				}
				got = append(got, st.content)
			}
			if d := cmp.Diff(c.want, got); d != "" || !overtaken {
				t.Error(d)
			}
		})
	}
}
