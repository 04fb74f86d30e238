package golang_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"granary/formats"
	"granary/formats/formattest"
)

func parse(t testing.TB, scope string, src *formattest.Source) ([]formats.Record, error) {
	t.Helper()
	var recs []formats.Record
	var last error
	for r, err := range format().Parse(t.Context(), scope, src) {
		if last != nil {
			t.Error("Parse goes on after an error")
		}
		if last = err; err == nil {
			recs = append(recs, r)
		}
	}
	return recs, last
}

func upstream(files map[string]string) *formattest.Source { return &formattest.Source{Files: files} }

func render(t testing.TB, target string, recs []formats.Record) (string, error) {
	t.Helper()
	op, ok := format().Route(formattest.Request(t, "GET", target, nil))
	if !ok {
		t.Fatalf("%s has no route", target)
	}
	doc, err := formattest.Render(t.Context(), format(), op, formattest.Seq(recs...))
	if err != nil {
		return "", err
	}
	return string(doc.Body), nil
}

func TestList(t *testing.T) {
	for name, tc := range map[string]struct{ list, want string }{
		"sorted as versions":  {"v1.10.0\nv1.9.0\nv1.9.0-rc.1\nv2.0.0+incompatible\n", "v1.9.0-rc.1\nv1.9.0\nv1.10.0\nv2.0.0+incompatible\n"},
		"empty":               {"", ""},
		"times, CR, no end":   {"v1.0.0 2024-01-01T00:00:00Z\r\nv1.1.0\t2024-01-01T00:00:00Z\r\n  v1.2.0", "v1.0.0\nv1.1.0\nv1.2.0\n"},
		"twice":               {"v1.0.0\nv1.0.0\n", "v1.0.0\n"},
		"others are left out": {"hello\nv1\nv1.0.0\nv2.0.0\nv0.0.0-20240101000000-abcdefabcdef\nv1.1.0+meta\nv1.0.0/../x\n", "v1.0.0\n"},
		"upper case":          {"v1.0.0-RC1\n", "v1.0.0-RC1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			src := upstream(map[string]string{mod + "/@v/list": tc.list})
			recs, err := parse(t, mod+"/@v", src)
			if err != nil {
				t.Fatal(err)
			}
			if got := src.Opened(); got != mod+"/@v/list" {
				t.Errorf("opened %s", got)
			}
			op := formats.Op{Kind: formats.Doc, Scope: mod + "/@v", Path: "list", Missing: true}
			doc, err := formattest.Render(t.Context(), format(), op, formattest.Seq(recs...))
			if err != nil || string(doc.Body) != tc.want || doc.Type != "text/plain; charset=utf-8" {
				t.Errorf("got %+v, %v", doc, err)
			}
		})
	}
}

// The file that a cache is asked for is the one that the list promised.
func TestParseNamesFiles(t *testing.T) {
	recs, err := parse(t, "example.com/!up/@v", upstream(map[string]string{"example.com/!up/@v/list": "v1.0.0-RC1\n"}))
	if err != nil || len(recs) != 1 {
		t.Fatalf("%v, %v", recs, err)
	}
	op, _ := format().Route(formattest.Request(t, "GET", "example.com/!up/@v/v1.0.0-!r!c1.zip", nil))
	if recs[0].Key() != op.Key() || recs[0].Scope != op.Scope {
		t.Errorf("record %s, file %s", recs[0].Key(), op.Key())
	}
}

func TestParseRefused(t *testing.T) {
	long := strings.Repeat("x", 70_000)
	var many strings.Builder
	for i := range 200_001 {
		fmt.Fprintf(&many, "v1.0.%d\n", i)
	}
	for name, tc := range map[string]struct {
		scope, body string
		want        error
	}{
		"HTML":           {mod + "/@v", "\n \n<!DOCTYPE html><title>Sign in</title>", formats.ErrUpstream},
		"long line":      {mod + "/@v", long, formats.ErrUpstream},
		"long list":      {mod + "/@v", many.String(), formats.ErrUpstream},
		"latest is HTML": {mod + "/@latest", "<html>", formats.ErrUpstream},
		"no version":     {mod + "/@latest", "{}", formats.ErrUpstream},
		"large":          {mod + "/@latest", `{"Version":"v1.0.0"}` + long, formats.ErrUpstream},
		"version has /":  {mod + "/@latest", `{"Version":"v1.0.0-a/b"}`, formats.ErrUpstream},
		"null":           {mod + "/@latest", "null", formats.ErrUpstream},
	} {
		path := tc.scope
		if strings.HasSuffix(path, "/@v") {
			path += "/list"
		}
		recs, err := parse(t, tc.scope, upstream(map[string]string{path: tc.body}))
		if !errors.Is(err, tc.want) || len(recs) > 0 {
			t.Errorf("%s: %d records, %v", name, len(recs), err)
		}
	}
	for _, scope := range []string{mod + "/@v", mod + "/@latest"} {
		if _, err := parse(t, scope, upstream(nil)); !errors.Is(err, formats.ErrNotFound) {
			t.Errorf("%s: %v", scope, err)
		}
		if _, err := parse(t, scope, &formattest.Source{Err: formats.ErrUpstreamTimeout}); !errors.Is(err, formats.ErrUpstreamTimeout) {
			t.Errorf("%s: %v", scope, err)
		}
	}
	if recs, err := parse(t, "sumdb/sum.example.com", upstream(nil)); err != nil || len(recs) > 0 {
		t.Errorf("a scope without documents: %v %v", recs, err)
	}
}

func TestLatest(t *testing.T) {
	pointer := func(version string) formats.Record {
		return formats.Record{Scope: mod + "/@latest", Name: ":" + version, Move: true, Meta: fmt.Appendf(nil, `{"Version":%q,"Time":"2024-05-06T07:08:09Z"}`, version)}
	}
	for _, tc := range []struct{ versions, want string }{
		{"v1.0.0 v1.10.0 v1.9.0", "v1.10.0"},
		{"v1.0.0 v1.1.0-rc.1", "v1.0.0"},
		{"v0.0.0-20240101000000-abcdefabcdef v0.1.0-alpha", "v0.1.0-alpha"},
		{"v0.0.0-20230101000000-abcdefabcdef v0.0.0-20240101000000-abcdefabcdef", "v0.0.0-20240101000000-abcdefabcdef"},
		{"v1.0.1-0.20240101000000-abcdefabcdef v1.0.0-rc.1", "v1.0.0-rc.1"},
	} {
		var recs []formats.Record
		for _, v := range strings.Fields(tc.versions) {
			recs = append(recs, pointer(v))
		}
		slices.SortFunc(recs, func(a, b formats.Record) int { return strings.Compare(a.Name, b.Name) })
		got, err := render(t, mod+"/@latest", recs)
		if want := fmt.Sprintf("{\"Version\":%q,\"Time\":\"2024-05-06T07:08:09Z\"}\n", tc.want); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", tc.versions, got, err, want)
		}
	}
	if _, err := render(t, mod+"/@latest", nil); !errors.Is(err, formats.ErrNotFound) {
		t.Errorf("no pointer: %v", err)
	}
	recs, err := parse(t, mod+"/@latest", upstream(map[string]string{mod + "/@latest": info}))
	if err != nil || len(recs) != 1 || recs[0].Name != ":v1.0.0" || !recs[0].Move {
		t.Fatalf("%+v, %v", recs, err)
	}
	if got, err := render(t, mod+"/@latest", recs); err != nil || got != info+"\n" {
		t.Errorf("through a cache: %s, %v", got, err)
	}
}

func TestVerify(t *testing.T) {
	zip := moduleZip(t, "v1.0.0", nil)
	lookup := "7\nexample.com/m v1.0.0 h1:AAAA=\nexample.com/m v1.0.0/go.mod h1:BBBB=\n\n" + string(tlog.FormatTree(tlog.Tree{N: 8})) + "\n— sum.example.com AAAA\n"
	const db = "sumdb/sum.example.com/"
	for _, tc := range []struct {
		target, body string
		bad          bool
	}{
		{mod + "/@v/v1.0.0.zip", zip, false},
		{mod + "/@v/v1.0.1.zip", zip, true},
		{"example.com/!m/@v/v1.0.0.zip", zip, true},
		{mod + "/@v/v1.0.0.zip", zip[:len(zip)-1], true},
		{mod + "/@v/v1.0.0.zip", "<html>", true},
		{mod + "/@v/v1.0.0.info", info, false},
		{mod + "/@v/v1.0.1.info", info, true},
		{mod + "/@v/main.info", info, false},
		{mod + "/@v/main.info", `{"Version":"main"}`, true},
		{mod + "/@v/v1.0.0.info", "<html>", true},
		{mod + "/@v/v1.0.0.info", info + strings.Repeat(" ", 20000), true},
		{mod + "/@v/v1.0.0.mod", "module example.com/origin\n", false},
		{mod + "/@v/v1.0.0.mod", "<html>\n", true},
		{db + "lookup/example.com/m@v1.0.0", lookup, false},
		{db + "lookup/example.com/m@v1.0.1", lookup, true},
		{db + "lookup/example.com/m@v1.0.0", "<html>", true},
		{db + "lookup/example.com/m@v1.0.0", lookup[:70], true},
		{db + "latest", string(tlog.FormatTree(tlog.Tree{N: 8})) + "\n— sum.example.com AAAA\n", false},
		{db + "latest", "<html>", true},
		{db + "tile/1/0/000", strings.Repeat("x", 64), false},
		{db + "tile/1/0/000", strings.Repeat("x", 32), true},
		{db + "tile/1/0/000.p/1", strings.Repeat("x", 32), false},
		{db + "tile/1/data/000", "a\nb\n\nc\n\n", false},
		{db + "tile/1/data/000", "a\nb\n\nc\n", true},
	} {
		op, ok := format().Route(formattest.Request(t, "GET", tc.target, nil))
		if !ok || !format().Verifies(op) {
			t.Errorf("%s is not verified", tc.target)
			continue
		}
		err := format().Verify(t.Context(), op, formattest.NewBytes([]byte(tc.body)), upstream(nil))
		if tc.bad != errors.Is(err, formats.ErrBadPackage) || (err != nil) != tc.bad {
			t.Errorf("%s: %v, bad %v", tc.target, err, tc.bad)
		}
	}
	if op, _ := format().Route(formattest.Request(t, "GET", db+"supported", nil)); format().Verifies(op) {
		t.Error("supported has nothing to verify")
	}
}

// A store of another member may fail; documents say so.
func TestRenderPassesErrors(t *testing.T) {
	broken := func(yield func(formats.Record, error) bool) { yield(formats.Record{}, formats.ErrUpstream) }
	for _, scope := range []string{mod + "/@v", mod + "/@latest"} {
		if err := format().Render(t.Context(), scope, broken, &formattest.Pub{}); !errors.Is(err, formats.ErrUpstream) {
			t.Errorf("%s: %v", scope, err)
		}
	}
	damaged := formattest.Seq(formats.Record{Scope: mod + "/@latest", Name: ":v1.0.0", Meta: []byte("x")})
	if err := format().Render(t.Context(), mod+"/@latest", damaged, &formattest.Pub{}); !errors.Is(err, formats.ErrCorrupt) {
		t.Errorf("damaged pointer: %v", err)
	}
}

func TestHostedAnswersNothingOfSumDB(t *testing.T) {
	s := formattest.NewStore(t, format())
	for _, target := range []string{"sumdb/sum.example.com/supported", "sumdb/sum.example.com/latest", mod + "/@v/list", mod + "/@latest"} {
		if _, err := s.Do(http.MethodGet, target, nil, nil); !errors.Is(err, formats.ErrNotFound) {
			t.Errorf("%s: %v", target, err)
		}
	}
}

func FuzzParseList(f *testing.F) {
	f.Add("v1.0.0\nv1.1.0-RC1 2024-01-01T00:00:00Z\r\n", info)
	f.Add("<html>", "{}")
	f.Fuzz(func(t *testing.T, list, latest string) {
		src := upstream(map[string]string{mod + "/@v/list": list, mod + "/@latest": latest})
		for target, scope := range map[string]string{mod + "/@v/list": mod + "/@v", mod + "/@latest": mod + "/@latest"} {
			recs, err := parse(t, scope, src)
			if err != nil {
				if !errors.Is(err, formats.ErrUpstream) {
					t.Errorf("%s: %v", target, err)
				}
				continue
			}
			if _, err := render(t, target, recs); err != nil && len(recs) > 0 {
				t.Errorf("%s: %v", target, err)
			}
		}
	})
}

func FuzzVerifySumDB(f *testing.F) {
	f.Add("lookup/example.com/m@v1.0.0", []byte("7\nexample.com/m v1.0.0 h1:AAAA=\n\ngo.sum database tree\n8\nAAAA\n"))
	f.Add("tile/8/data/000.p/1", []byte("a\n\n"))
	f.Add("latest", []byte("go.sum database tree\n"))
	f.Fuzz(func(t *testing.T, file string, data []byte) {
		p := "sumdb/sum.example.com/" + file
		if formats.CheckPath(p) != nil {
			t.Skip()
		}
		op, ok := format().Route(formats.Req{Method: "GET", Path: p})
		if !ok {
			t.Skip()
		}
		if err := format().Verify(t.Context(), op, formattest.NewBytes(data), nil); err != nil && !errors.Is(err, formats.ErrBadPackage) {
			t.Error(err)
		}
	})
}
