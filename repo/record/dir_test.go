package record_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"granary/formats"
	"granary/kv"
	"granary/kv/mem"
	"granary/repo/record"
)

// show is a listing as text: "dir/ 2 10" with count and bytes, "file 5".
func show(lines []record.Line) []string {
	out := []string{}
	for _, l := range lines {
		if l.Dir {
			out = append(out, fmt.Sprintf("%s/ %d %d", l.Name, l.Count, l.Bytes))
		} else {
			out = append(out, fmt.Sprintf("%s %d", l.Name, l.Bytes))
		}
	}
	return out
}

// list reads a directory in pages of a size.
func list(t testing.TB, s *record.Store, dir string, limit int, opts ...record.Option) []string {
	t.Helper()
	var lines []record.Line
	var at record.Cursor
	for {
		p, err := s.Dir(t.Context(), space, dir, at, limit, opts...)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Lines) > limit || p.More && len(p.Lines) < limit {
			t.Errorf("page of %d lines with limit %d, more: %v", len(p.Lines), limit, p.More)
		}
		lines = append(lines, p.Lines...)
		if !p.More {
			return show(lines)
		}
		at = p.Next
	}
}

// tree is the expected state: path → bytes of content. It knows no scopes.
type tree map[[2]string]int

// list says what a directory should show, names with slashes left out unless
// deep.
func (m tree) list(dir string, deep bool) []string {
	dirs, files := map[string][2]int{}, []string{}
	for at, size := range m {
		path := at[0] + "/" + at[1]
		if !deep {
			path = at[0] + "/" + strings.ReplaceAll(at[1], "/", "\x00")
		}
		rest, ok := strings.CutPrefix("/"+strings.TrimPrefix(path, "/"), "/"+dir)
		if !ok || dir != "" && !strings.HasPrefix(rest, "/") {
			continue
		}
		name, below, ok := strings.Cut(strings.TrimPrefix(rest, "/"), "/")
		switch {
		case ok && below != "":
			dirs[name] = [2]int{dirs[name][0] + 1, dirs[name][1] + size}
		case !strings.Contains(name, "\x00"):
			files = append(files, fmt.Sprintf("%s %d", name, size))
		}
	}
	out := []string{}
	for name, d := range dirs {
		out = append(out, fmt.Sprintf("%s/ %d %d", name, d[0], d[1]))
	}
	byName := func(a, b string) int { return strings.Compare(strings.Split(a, " ")[0], strings.Split(b, " ")[0]) }
	slices.SortFunc(out, func(a, b string) int { return strings.Compare(strings.Split(a, "/ ")[0], strings.Split(b, "/ ")[0]) })
	slices.SortFunc(files, byName)
	return append(out, files...)
}

func TestDir(t *testing.T) {
	s, _, _ := counted(t)
	for _, f := range [][2]string{
		{"", "root.txt"},
		{"a", "one"},
		{"a", "two"},
		{"a/b", "three"},
		{"a/b/c/d", "deep"},
		{"a-b", "near"}, // sorts between a and a/…
		{"a.b", "near"},
		{"a0", "near"},
		{"ü/ß ", "✓"},
		{"a", ":with bytes"},
	} {
		put(t, s, f[0], f[1], "12345")
	}
	put(t, s, "a", "gone", "x")
	remove(t, s, "a", "gone")
	put(t, s, "empty/below", "gone", "x")
	remove(t, s, "empty/below", "gone")
	for _, hidden := range []string{":tag", "x/:tag"} {
		if _, err := s.Put(t.Context(), space, "a", hidden, record.Record{Meta: []byte("pointer")}, nil); err != nil {
			t.Fatal(err)
		}
	}
	for dir, want := range map[string][]string{
		"":        {"a/ 5 25", "a-b/ 1 5", "a.b/ 1 5", "a0/ 1 5", "ü/ 1 5", "root.txt 5"},
		"a":       {"b/ 2 10", ":with bytes 5", "one 5", "two 5"},
		"a/b":     {"c/ 1 5", "three 5"},
		"a/b/c":   {"d/ 1 5"},
		"a/b/c/d": {"deep 5"},
		"ü":       {"ß / 1 5"},
		"empty":   {},
		"none":    {},
	} {
		for _, limit := range []int{1, 2, 3, 100} {
			if d := cmp.Diff(want, list(t, s, dir, limit)); d != "" {
				t.Errorf("%q in pages of %d: %s", dir, limit, d)
			}
		}
		if n, err := s.Total(t.Context(), space, dir); n != len(want) || err != nil {
			t.Errorf("Total(%q) = %d, %v, want %d", dir, n, err, len(want))
		}
	}
}

func TestDirLine(t *testing.T) {
	s, _, c := counted(t)
	rec := file("12345")
	rec.Meta = []byte("meta")
	out, err := s.Put(t.Context(), space, "a", "f", rec, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.EnsureMarkers(t.Context(), space, "a"); err != nil {
		t.Fatal(err)
	}
	p, err := s.Dir(t.Context(), space, "a", "", 0)
	if err != nil || len(p.Lines) != 1 || p.More || p.Total != -1 {
		t.Fatalf("Dir = %+v, %v", p, err)
	}
	want := out.Record
	want.Inline, want.Meta = nil, nil
	line := record.Line{Name: "f", Bytes: 5, Modified: c.now().UnixNano(), Record: want, Scope: "a", Key: "f", Version: out.Version}
	if d := cmp.Diff(line, p.Lines[0], cmp.Comparer(func(a, b kv.Extra) bool { return a.Equal(b) })); d != "" {
		t.Error(d)
	}
	if p, err = s.Dir(t.Context(), space, "", "", 0); err != nil || len(p.Lines) != 1 || p.Lines[0].Modified != c.now().UnixNano() {
		t.Errorf("Dir of the root = %+v, %v", p, err)
	}
	for _, bad := range []record.Cursor{"x", "0"} {
		if _, err := s.Dir(t.Context(), space, "a", bad, 0); !errors.Is(err, formats.ErrBadRequest) {
			t.Errorf("Dir after %q = %v, want ErrBadRequest", bad, err)
		}
	}
	if _, err := s.DirAt(t.Context(), space, "a", -1, 10); !errors.Is(err, formats.ErrBadRequest) {
		t.Errorf("DirAt(-1) = %v, want ErrBadRequest", err)
	}
}

func TestDirSkipsMany(t *testing.T) {
	s, n, _ := counted(t)
	for i := range 300 {
		name := fmt.Sprintf("%03d", i)
		put(t, s, "a", name, "x")
		if i%100 != 99 {
			remove(t, s, "a", name)
		}
	}
	for i := range 50 {
		put(t, s, "a", fmt.Sprintf("sub/%d", i), "x")
	}
	put(t, s, "a", "z", "x")
	n.Reset()
	if d := cmp.Diff([]string{"099 1", "199 1", "299 1", "z 1"}, list(t, s, "a", 10)); d != "" {
		t.Error(d)
	}
	if n.Reads() > 6 {
		t.Errorf("%d reads", n.Reads())
	}
}

func TestNested(t *testing.T) {
	s, _, _ := counted(t)
	for _, f := range [][2]string{
		{"pkg", "-/pkg-1.tgz"},
		{"pkg", "-/pkg-2.tgz"},
		{"pkg", "readme"},
		{"pkg", "x/y/z"},
		{"pkg/x", "own"}, // a scope of its own, below the directory that pkg's names reach into
		{"pkg/x", "zz/deep"},
		{"", "top/file"},
	} {
		put(t, s, f[0], f[1], "12345")
	}
	for _, c := range []struct {
		dir, scope string
		want       []string
	}{
		{"", "", []string{"pkg/ 6 30", "top/ 1 5"}},
		{"top", "", []string{"file 5"}},
		{"pkg", "pkg", []string{"-/ 2 10", "x/ 3 15", "readme 5"}},
		{"pkg/-", "pkg", []string{"pkg-1.tgz 5", "pkg-2.tgz 5"}},
		{"pkg/x", "pkg", []string{"y/ 1 5", "own 5"}},
		{"pkg/x", "pkg/x", []string{"zz/ 1 5", "own 5"}},
		{"pkg/x/y", "pkg", []string{"z 5"}},
		{"pkg", "other", []string{"x/ 2 10", "readme 5"}},
	} {
		for _, limit := range []int{1, 2, 100} {
			if d := cmp.Diff(c.want, list(t, s, c.dir, limit, record.InScope(c.scope))); d != "" {
				t.Errorf("%q in %q, pages of %d: %s", c.dir, c.scope, limit, d)
			}
		}
		for offset := range len(c.want) {
			p, err := s.DirAt(t.Context(), space, c.dir, offset, 1, record.InScope(c.scope))
			if err != nil || p.Total != len(c.want) || !slices.Equal(show(p.Lines), c.want[offset:offset+1]) {
				t.Errorf("DirAt(%q, %d) in %q = %v of %d, %v", c.dir, offset, c.scope, show(p.Lines), p.Total, err)
			}
		}
	}
}

// Random writes, deletes and flushes: listings, offsets and totals are at any
// time those of a model. One node on its embedded store.
func TestDirModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		c := newClock()
		s := newStore(t, newMem(t, mem.Options{Now: c.now}), c, "n1")
		m := tree{}
		dirs := []string{"", "a", "a/b", "a/b/c", "a-b", "d"}
		names := []string{"f", "g", "h", "x/y", "x/z"}
		for range rapid.IntRange(1, 40).Draw(rt, "operations") {
			at := [2]string{rapid.SampledFrom(dirs).Draw(rt, "scope"), rapid.SampledFrom(names).Draw(rt, "name")}
			switch rapid.IntRange(0, 7).Draw(rt, "kind") {
			case 0, 1, 2:
				size := rapid.IntRange(1, 9).Draw(rt, "size")
				put(t, s, at[0], at[1], strings.Repeat("x", size))
				m[at] = size
			case 3, 4:
				if _, ok := m[at]; ok {
					remove(t, s, at[0], at[1])
					delete(m, at)
				}
			case 5:
				if err := s.Flush(t.Context()); err != nil {
					rt.Fatal(err)
				}
			case 6:
				c.add(time.Duration(rapid.IntRange(0, 90).Draw(rt, "minutes")) * time.Minute)
			}
			checkDir(t, rt, s, m, rapid.SampledFrom(dirs).Draw(rt, "directory"))
		}
		for _, dir := range dirs {
			checkDir(t, rt, s, m, dir)
		}
		count, bytes, err := s.Usage(t.Context(), space.Repo)
		sum := 0
		for _, size := range m {
			sum += size
		}
		if int(count) != len(m) || int(bytes) != sum || err != nil {
			rt.Errorf("Usage = %d, %d, %v, want %d, %d", count, bytes, err, len(m), sum)
		}
	})
}

func checkDir(t *testing.T, rt *rapid.T, s *record.Store, m tree, dir string) {
	want := m.list(dir, false)
	limit := rapid.IntRange(1, 4).Draw(rt, "limit")
	if d := cmp.Diff(want, list(t, s, dir, limit)); d != "" {
		rt.Fatalf("%q in pages of %d: %s", dir, limit, d)
	}
	if d := cmp.Diff(m.list(dir, true), list(t, s, dir, limit, record.InScope(dir))); d != "" {
		rt.Fatalf("%q with what is in names, in pages of %d: %s", dir, limit, d)
	}
	for offset := 0; offset <= len(want); offset += limit {
		p, err := s.DirAt(t.Context(), space, dir, offset, limit)
		if err != nil || p.Total != len(want) || !slices.Equal(show(p.Lines), want[offset:min(offset+limit, len(want))]) {
			rt.Fatalf("DirAt(%q, %d, %d) = %v of %d, %v; all are %v", dir, offset, limit, show(p.Lines), p.Total, err, want)
		}
	}
}

// Another node's writes show at once in listings, and in totals soon.
func TestDirOfTwoNodes(t *testing.T) {
	c := newClock()
	store := shared{newMem(t, mem.Options{Now: c.now})}
	one, two := newStore(t, store, c, "n1"), newStore(t, store, c, "n2")
	put(t, one, "a/b", "f", "123")
	if d := cmp.Diff([]string{"a/ 1 3"}, list(t, two, "", 10)); d != "" {
		t.Error(d)
	}
	put(t, two, "a/b", "g", "123")
	put(t, one, "c", "f", "1")
	remove(t, two, "a/b", "f")
	remove(t, two, "c", "f")
	for _, s := range []*record.Store{one, two} {
		if n, err := s.Total(t.Context(), space, ""); n < 1 || err != nil {
			t.Errorf("Total = %d, %v", n, err)
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	c.add(2 * time.Minute)
	for i, s := range []*record.Store{one, two} {
		if d := cmp.Diff([]string{"a/ 1 3"}, list(t, s, "", 10)); d != "" {
			t.Errorf("node %d: %s", i+1, d)
		}
		if n, err := s.Total(t.Context(), space, ""); n != 1 || err != nil {
			t.Errorf("Total on node %d = %d, %v, want 1", i+1, n, err)
		}
		if count, bytes, err := s.Usage(t.Context(), space.Repo); count != 1 || bytes != 3 || err != nil {
			t.Errorf("Usage on node %d = %d, %d, %v, want 1 and 3", i+1, count, bytes, err)
		}
	}
}

// What many nodes count on an unreliable store adds up.
func TestCountsAddUp(t *testing.T) {
	for seed := range uint64(3) {
		store, c := unreliable(t, seed), newClock()
		var nodes []*record.Store
		for i := range 3 {
			nodes = append(nodes, newStore(t, store, c, fmt.Sprint("n", i)))
		}
		for i := range 60 {
			s := nodes[i%3]
			put(t, s, fmt.Sprintf("a/%d", i%4), fmt.Sprint("f", i), "12")
			if i%3 == 2 {
				remove(t, nodes[(i+1)%3], fmt.Sprintf("a/%d", (i-1)%4), fmt.Sprint("f", i-1))
			}
			if i%10 == 0 {
				if err := s.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, s := range nodes {
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(6 * time.Millisecond) // longer than a read may lag behind
		if count, bytes, err := nodes[0].Usage(t.Context(), space.Repo); count != 40 || bytes != 80 || err != nil {
			t.Errorf("seed %d: Usage = %d, %d, %v, want 40 and 80", seed, count, bytes, err)
		}
		if d := cmp.Diff([]string{"a/ 40 80"}, list(t, nodes[1], "", 10, record.Consistent)); d != "" {
			t.Errorf("seed %d: %s", seed, d)
		}
	}
}
