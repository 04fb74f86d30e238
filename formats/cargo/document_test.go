package cargo_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"granary/digest"
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

func render(t testing.TB, target string, recs ...formats.Record) (string, error) {
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

// sum is the digest of version n.
func sum(n int) string { return fmt.Sprintf("%064x", n+1) }

func indexLine(name, version string, n int, more string) string {
	return fmt.Sprintf(`{"name":%q,"vers":%q,"cksum":%q,"deps":[],"features":{},"yanked":false%s}`+"\n", name, version, sum(n), more)
}

func upstream(entry, index, dl string) *formattest.Source {
	return &formattest.Source{Files: map[string]string{entry: index, "config.json": fmt.Sprintf(`{"dl":%q,"api":"https://x"}`, dl)}}
}

// An index says where its crates are.
func TestDownloadLocation(t *testing.T) {
	for _, tc := range []struct{ name, dl, want string }{
		{"MyCrate", "https://dl.example/crates", "https://dl.example/crates/MyCrate/1.0.0/download"},
		{"MyCrate", "https://dl.example/{crate}/{crate}-{version}.crate", "https://dl.example/MyCrate/MyCrate-1.0.0.crate"},
		{"MyCrate", "https://dl.example/{prefix}/{lowerprefix}/{sha256-checksum}", "https://dl.example/My/Cr/my/cr/" + sum(0)},
		{"Abc", "https://dl.example/{prefix}/{lowerprefix}/", "https://dl.example/3/A/3/a/"},
		{"Ab", "https://dl.example/{prefix}/x", "https://dl.example/2/x"},
		{"a", "https://dl.example/{lowerprefix}/x", "https://dl.example/1/x"},
	} {
		op, _ := format().Route(formattest.Request(t, "GET", "api/v1/crates/"+tc.name+"/1.0.0/download", nil))
		src := upstream(format().Entry(op.Scope), indexLine(tc.name, "1.0.0", 0, ""), tc.dl)
		recs, err := parse(t, op.Scope, src)
		if err != nil {
			t.Errorf("%s: %v", tc.dl, err)
			continue
		}
		found := false
		for _, r := range recs {
			if r.Name == op.Name {
				found = true
				if r.URL != tc.want || r.Sums.Hex(digest.SHA256) != sum(0) {
					t.Errorf("%s: %s %s", tc.dl, r.URL, r.Sums.Hex(digest.SHA256))
				}
			}
		}
		if !found || !format().Promised(op) {
			t.Errorf("%s: no record of %s", tc.dl, op.Name)
		}
	}
}

func TestIndexThroughACache(t *testing.T) {
	v := func(version string, n int) string { return indexLine("foo", version, n, `,"new_field":{"a":[1]}`) }
	for name, tc := range map[string]struct{ index, want string }{
		"order":              {v("1.10.0", 1) + v("1.9.0", 2) + v("2.0.0-rc.1", 3), v("1.9.0", 2) + v("1.10.0", 1) + v("2.0.0-rc.1", 3)},
		"twice":              {v("1.0.0", 1) + v("1.0.0", 2), v("1.0.0", 1)},
		"build metadata":     {v("1.0.0+b", 1) + v("1.0.0+a", 2) + v("1.0.0", 3), v("1.0.0", 3) + v("1.0.0+a", 2) + v("1.0.0+b", 1)},
		"others passed over": {"\n# comment\r\n{\"name\":\"foo\"}\n" + indexLine("bar", "1.0.0", 1, "") + v("1.0.0", 1) + v("x", 2), v("1.0.0", 1)},
		"yanked":             {strings.Replace(v("1.0.0", 1), "false", "true", 1), strings.Replace(v("1.0.0", 1), "false", "true", 1)},
		"CR":                 {strings.Replace(v("1.0.0", 1), "\n", "\r\n", 1), v("1.0.0", 1)},
	} {
		recs, err := parse(t, "crates/foo", upstream("3/f/foo", tc.index, "https://dl.example"))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got, err := render(t, "3/f/foo", recs...); err != nil || got != tc.want {
			t.Errorf("%s: %v\n%s", name, err, got)
		}
	}
	if recs, err := parse(t, "crates/foo", upstream("3/f/foo", "\n", "https://dl.example")); err != nil || len(recs) > 0 {
		t.Errorf("empty: %v %v", recs, err)
	}
	if recs, err := parse(t, "names/foo", upstream("3/f/foo", v("1.0.0", 1), "https://dl.example")); err != nil || len(recs) > 0 {
		t.Errorf("a scope without index: %v %v", recs, err)
	}
}

func TestParseRefused(t *testing.T) {
	good := indexLine("foo", "1.0.0", 1, "")
	for name, src := range map[string]*formattest.Source{
		"HTML":      upstream("3/f/foo", "<!DOCTYPE html>", "https://dl.example"),
		"long line": upstream("3/f/foo", strings.Repeat("x", 5<<20), "https://dl.example"),
		"no digest": upstream("3/f/foo", `{"name":"foo","vers":"1.0.0"}`, "https://dl.example"),
		"no config": {Files: map[string]string{"3/f/foo": good}},
		"no dl":     upstream("3/f/foo", good, ""),
		"no JSON":   {Files: map[string]string{"3/f/foo": good, "config.json": "<html>"}},
		"large":     {Files: map[string]string{"3/f/foo": good, "config.json": `{"dl":"x"}` + strings.Repeat(" ", 1<<17)}},
	} {
		if recs, err := parse(t, "crates/foo", src); !errors.Is(err, formats.ErrUpstream) || len(recs) > 0 {
			t.Errorf("%s: %d records, %v", name, len(recs), err)
		}
	}
	if _, err := parse(t, "crates/foo", &formattest.Source{}); !errors.Is(err, formats.ErrNotFound) {
		t.Errorf("no such crate: %v", err)
	}
}

// What a crash or a group leaves of a version is not in the index.
func TestRenderWhatAgrees(t *testing.T) {
	recs, err := parse(t, "crates/foo", upstream("3/f/foo", indexLine("foo", "1.0.0", 1, ""), "https://dl.example"))
	if err != nil || len(recs) != 2 {
		t.Fatalf("%v %v", recs, err)
	}
	pointer, file := recs[0], recs[1]
	if _, err := render(t, "3/f/foo", pointer); !errors.Is(err, formats.ErrNotFound) {
		t.Errorf("a pointer without its crate: %v", err)
	}
	if _, err := render(t, "3/f/foo", file); !errors.Is(err, formats.ErrNotFound) {
		t.Errorf("a crate without its pointer: %v", err)
	}
	other := file
	other.Sums = digest.Sums{SHA256: make([]byte, 32)}
	if _, err := render(t, "3/f/foo", pointer, other); !errors.Is(err, formats.ErrNotFound) {
		t.Errorf("another crate: %v", err)
	}
	pointer.Meta = []byte("x")
	if _, err := render(t, "3/f/foo", pointer, file); !errors.Is(err, formats.ErrCorrupt) {
		t.Errorf("a damaged pointer: %v", err)
	}
	broken := func(yield func(formats.Record, error) bool) { yield(formats.Record{}, formats.ErrUpstream) }
	if err := format().Render(t.Context(), "crates/foo", broken, &formattest.Pub{}); !errors.Is(err, formats.ErrUpstream) {
		t.Errorf("a failing member: %v", err)
	}
}

func FuzzParseIndex(f *testing.F) {
	f.Add(indexLine("foo", "1.0.0", 1, "")+indexLine("foo", "1.0.0+a", 2, `,"yanked":true`), `{"dl":"https://dl.example/{prefix}"}`)
	f.Add("<html>", "{}")
	f.Fuzz(func(t *testing.T, index, config string) {
		recs, err := parse(t, "crates/foo", &formattest.Source{Files: map[string]string{"3/f/foo": index, "config.json": config}})
		if err != nil {
			if !errors.Is(err, formats.ErrUpstream) {
				t.Error(err)
			}
			return
		}
		for i, r := range recs {
			if i > 0 && r.Name <= recs[i-1].Name || formats.CheckPath(r.Key()) != nil {
				t.Errorf("record %q", r.Name)
			}
		}
		if _, err := render(t, "3/f/foo", recs...); err != nil && len(recs) > 0 {
			t.Error(err)
		}
	})
}

func FuzzPublish(f *testing.F) {
	f.Add(body(metadata("foo", "1.0.0", manyDepsSaid), crate(f, "foo", "1.0.0", manyDeps)))
	f.Add(body(metadata("foo", "1.0.0", ""), crate(f, "foo", "1.0.0", "")))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := formattest.NewStore(t, format())
		if _, err := s.Do("PUT", "api/v1/crates/new", nil, data); err != nil && !errors.Is(err, formats.ErrBadRequest) {
			t.Error(err)
		}
	})
}

// FuzzManifest puts a Cargo.toml and metadata beside each other.
func FuzzManifest(f *testing.F) {
	f.Add("[package]\nname = \"foo\"\nversion = \"1.0.0\"\n"+manyDeps, metadata("foo", "1.0.0", manyDepsSaid))
	f.Add("a = [[[[", "{}")
	f.Fuzz(func(t *testing.T, toml, said string) {
		s := formattest.NewStore(t, format())
		c := formattest.TarGz(t, formattest.Entry{Name: "foo-1.0.0/Cargo.toml", Content: toml})
		if _, err := s.Do("PUT", "api/v1/crates/new", nil, body(said, c)); err != nil {
			if !errors.Is(err, formats.ErrBadRequest) {
				t.Error(err)
			}
			return
		}
		if got := get(t, s, "3/f/foo"); strings.Count(got, "\n") != 1 {
			t.Errorf("index %q", got)
		}
	})
}

func FuzzRoute(f *testing.F) {
	f.Add("GET", "index/se/rd/serde")
	f.Add("DELETE", "api/v1/crates/serde/1.0.0/yank")
	f.Fuzz(func(t *testing.T, method, path string) {
		if formats.CheckPath(path) != nil {
			t.Skip()
		}
		op, ok := format().Route(formats.Req{Method: method, Path: path})
		if ok && op.Name != "" && formats.CheckPath(op.Key()) != nil {
			t.Errorf("%s: %q", path, op.Key())
		}
	})
}
