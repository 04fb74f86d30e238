package record_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"granary/formats"
	"granary/kv"
	"granary/kv/mem"
	"granary/repo/record"
)

func walk(t *testing.T, s *record.Store, dir string, opts ...record.Option) []string {
	t.Helper()
	var out []string
	for n, err := range s.Walk(t.Context(), space, dir, "", opts...) {
		if err != nil {
			t.Fatal(err)
		}
		if string(n.Record.Inline) != "x" || n.Version == "" {
			t.Errorf("Walk yields %+v", n)
		}
		out = append(out, formats.Join(n.Scope, n.Name))
	}
	return out
}

func TestWalk(t *testing.T) {
	s, _, _ := counted(t)
	for _, f := range [][2]string{{"", "f"}, {"a", "f"}, {"a", ":tag"}, {"a", "b/nested"}, {"a/b", "f"}, {"a/b/c", "f"}, {"a/bc", "f"}, {"a0", "f"}, {"ab", "f"}, {"", "a/b/odd"}} {
		put(t, s, f[0], f[1], "x")
	}
	put(t, s, "a/b", "gone", "x")
	remove(t, s, "a/b", "gone")
	for _, c := range []struct {
		dir, scope string
		want       []string
	}{
		{"", "", []string{"a/:tag", "a/b/c/f", "a/b/f", "a/b/nested", "a/b/odd", "a/bc/f", "a/f", "a0/f", "ab/f", "f"}},
		{"a", "a", []string{"a/:tag", "a/b/c/f", "a/b/f", "a/b/nested", "a/bc/f", "a/f"}},
		{"a/b", "a/b", []string{"a/b/c/f", "a/b/f"}},
		{"a/b", "a", []string{"a/b/c/f", "a/b/f", "a/b/nested"}},
		{"a/b", "", []string{"a/b/c/f", "a/b/f", "a/b/odd"}},
		{"none", "", nil},
	} {
		got := walk(t, s, c.dir, record.InScope(c.scope), record.Consistent)
		slices.Sort(got)
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("%q in %q: %s", c.dir, c.scope, d)
		}
	}
}

// A walk that stops anywhere continues there.
func TestWalkContinues(t *testing.T) {
	s, _, _ := counted(t)
	for i := range 40 {
		put(t, s, fmt.Sprintf("d/%d", i%7), fmt.Sprint(i), "x")
	}
	put(t, s, "", "d/odd", "x")
	all := walk(t, s, "d", record.InScope(""))
	if len(all) != 41 {
		t.Fatalf("%d records", len(all))
	}
	for stop := range all {
		var got []string
		cursor := ""
		for n, err := range s.Walk(t.Context(), space, "d", "", record.InScope("")) {
			if err != nil {
				t.Fatal(err)
			}
			got, cursor = append(got, formats.Join(n.Scope, n.Name)), n.Cursor()
			if len(got) == stop+1 {
				break
			}
		}
		for n, err := range s.Walk(t.Context(), space, "d", cursor, record.InScope("")) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, formats.Join(n.Scope, n.Name))
		}
		if !slices.Equal(got, all) {
			t.Errorf("stopped after %d: %v, want %v", stop+1, got, all)
		}
	}
	for _, bad := range []string{"x", "zz/a", "0000", "ffff/a//b", "-1/a"} {
		for _, err := range s.Walk(t.Context(), space, "d", bad) {
			if !errors.Is(err, formats.ErrBadRequest) {
				t.Errorf("Walk after %q = %v, want ErrBadRequest", bad, err)
			}
		}
	}
}

// A scan goes on over pages, and may be used while it runs.
func TestScopePages(t *testing.T) {
	s, n, _ := counted(t)
	const records = 2500
	for i := range records {
		put(t, s, "a", fmt.Sprintf("%04d", i), "x")
	}
	n.Reset()
	i := 0
	for r, err := range s.Scope(t.Context(), space, "a") {
		if err != nil || r.Name != fmt.Sprintf("%04d", i) {
			t.Fatalf("record %d is %q, %v", i, r.Name, err)
		}
		if i++; i == 1200 {
			put(t, s, "a", "2200a", "x") // ahead: may or may not be met
			remove(t, s, "a", "2200a")
		}
	}
	if i != records || n.Reads() > 5 {
		t.Errorf("%d records with %d reads", i, n.Reads())
	}
}

func TestErrorsComeOut(t *testing.T) {
	broken := errors.New("broken")
	fail := false
	store := newMem(t, mem.Options{Before: func(mem.Op) error {
		if fail {
			return broken
		}
		return nil
	}})
	s := newStore(t, store, newClock(), "n1")
	put(t, s, "a", "f", "x")
	fail = true
	ctx := t.Context()
	last := func(seq func(func(record.Named, error) bool)) (err error) {
		for _, err = range seq {
			continue
		}
		return err
	}
	_, errDir := s.Dir(ctx, space, "a", "", 1)
	_, errDeep := s.Dir(ctx, space, "a", "", 1, record.InScope("a"))
	_, errDirAt := s.DirAt(ctx, space, "a", 1, 1)
	_, errTotal := s.Total(ctx, space, "a")
	_, errDeepTotal := s.Total(ctx, space, "a", record.InScope("a"))
	_, _, errGet := s.Get(ctx, space, "a", "f", record.Hit)
	_, errPut := s.Put(ctx, space, "a", "f", file("y"), nil)
	_, errDelete := s.Delete(ctx, space, "a", "f", nil)
	_, errStamp := s.Stamp(ctx, space, "a")
	_, _, errUsage := s.Usage(ctx, "r1")
	_, errAccess := s.LastAccess(ctx, space, "a", "f")
	for name, err := range map[string]error{
		"Scope": last(s.Scope(ctx, space, "a")), "Walk": last(s.Walk(ctx, space, "", "")),
		"Dir": errDir, "Dir in scope": errDeep, "DirAt": errDirAt, "Total": errTotal, "Total in scope": errDeepTotal,
		"Get": errGet, "Put": errPut, "Delete": errDelete, "Stamp": errStamp, "Touch": s.Touch(ctx, space, "a", "b"),
		"Usage": errUsage, "LastAccess": errAccess, "EnsureMarkers": s.EnsureMarkers(ctx, space, "new/dir"),
		"Flush": s.Flush(ctx),
	} {
		if !errors.Is(err, broken) {
			t.Errorf("%s = %v", name, err)
		}
	}
	fail = false
	if err := s.Close(ctx); err != nil {
		t.Error(err)
	}
	if d := cmp.Diff([]string{"a/ 1 1"}, list(t, s, "", 1)); d != "" {
		t.Error(d)
	}
}

// Values that nobody wrote give errors.
func TestDamagedValues(t *testing.T) {
	for name, key := range map[string]kv.Key{"record": space.Record("a", "f"), "marker": space.Marker("a", "f")} {
		s, store, _ := counted(t)
		if err := store.PutIf(t.Context(), kv.Item{Key: key, Value: []byte("\xffgarbage"), Version: kv.NewVersion()}, ""); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Dir(t.Context(), space, "a", "", 1); !errors.Is(err, formats.ErrCorrupt) {
			t.Errorf("Dir with a damaged %s = %v", name, err)
		}
		if _, err := s.Total(t.Context(), space, "a"); !errors.Is(err, formats.ErrCorrupt) {
			t.Errorf("Total with a damaged %s = %v", name, err)
		}
		if name == "marker" {
			continue
		}
		if _, _, err := s.Get(t.Context(), space, "a", "f", record.Latest); !errors.Is(err, formats.ErrCorrupt) {
			t.Errorf("Get of a damaged record = %v", err)
		}
		if _, err := s.Put(t.Context(), space, "a", "f", file("x"), nil); !errors.Is(err, formats.ErrCorrupt) {
			t.Errorf("Put over a damaged record = %v", err)
		}
	}
}
