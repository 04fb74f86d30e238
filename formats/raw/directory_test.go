package raw_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"granary/formats"
	"granary/formats/formattest"
	"granary/formats/raw"
)

type listing struct {
	Path    string `json:"path"`
	Entries []struct {
		Name        string            `json:"name"`
		Directory   bool              `json:"directory"`
		Size, Count int64             `json:",omitempty"`
		Type        string            `json:"content_type"`
		Checksum    map[string]string `json:"checksum"`
	} `json:"entries"`
	Next string `json:"next"`
}

func (l listing) names() []string {
	var out []string
	for _, e := range l.Entries {
		if e.Directory {
			e.Name += "/"
		}
		out = append(out, e.Name)
	}
	return out
}

func list(t testing.TB, s *formattest.Store, target string) listing {
	t.Helper()
	a, err := s.Do("GET", target, nil, nil)
	if err != nil {
		t.Fatalf("GET %s: %v", target, err)
	}
	var l listing
	if err := json.Unmarshal(a.Body, &l); err != nil {
		t.Fatalf("GET %s: %v in %s", target, err, a.Body)
	}
	return l
}

func filled(t testing.TB, paths ...string) *formattest.Store {
	t.Helper()
	s := formattest.NewStore(t, raw.New())
	for _, p := range paths {
		target := url.URL{Path: p}
		if _, err := s.Do("PUT", target.EscapedPath(), nil, []byte("12345")); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func TestListJSON(t *testing.T) {
	s := filled(t, "a/x.txt", "a/b/y", "a/b/z", "a/c/q", "top", ":colon")
	for target, want := range map[string]string{
		"?list":                    "a/ :colon top",
		"a/?list":                  "b/ c/ x.txt",
		"a/?list&limit=2":          "b/ c/ next=c/",
		"a/?list&limit=2&after=c/": "x.txt",
		"a/?list&after=b/":         "c/ x.txt",
		"a/?list&after=a":          "x.txt",
		"?list&deep=1":             "a/b/y a/b/z a/c/q a/x.txt :colon top",
		"?list&deep=1&limit=2":     "a/b/y a/b/z next=a/b/",
		"?list&deep&after=a/b/y":   "a/b/z a/c/q a/x.txt :colon top",
		"?list&deep&after=a/b/":    "a/c/q a/x.txt :colon top",
		"?list&deep&after=a/":      ":colon top",
		"?list&deep&after=a/b/y/":  "a/b/y a/b/z a/c/q a/x.txt :colon top",
		"?list&deep&after=a/bb/c":  "a/c/q a/x.txt :colon top",
		"?list&deep&after=top":     "",
		"a/?list&deep=0":           "b/ c/ x.txt",
		"a/b/?list&deep=true":      "y z",
	} {
		l := list(t, s, target)
		got := l.names()
		if l.Next != "" {
			got = append(got, "next="+l.Next)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("GET %s: %q, want %q", target, got, want)
		}
	}
	l := list(t, s, "a/?list")
	if b, x := l.Entries[0], l.Entries[2]; l.Path != "a" || b.Size != 10 || b.Count != 2 || x.Size != 5 ||
		x.Type != "text/plain; charset=utf-8" || len(x.Checksum["sha256"]) != 64 || len(x.Checksum) != 2 {
		t.Errorf("got %+v", l)
	}
	for _, target := range []string{"?list&limit=0", "?list&limit=x", "?list&limit=10001", "?limit=-1", "?after=/", "?after=..", "?deep&after=a//b", "?after=%00"} {
		if _, err := s.Do("GET", target, nil, nil); !errors.Is(err, formats.ErrBadRequest) {
			t.Errorf("GET %s: %v", target, err)
		}
	}
	if _, err := s.Do("GET", "none/", nil, nil); !errors.Is(err, formats.ErrNotFound) {
		t.Errorf("a directory that is not there: %v", err)
	}
	if got := list(t, formattest.NewStore(t, raw.New()), "?list"); got.Entries == nil || len(got.Entries) != 0 {
		t.Errorf("empty repository: %+v", got)
	}
}

// Pages of any size, put together, are the whole, whatever the tree.
func TestListPages(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		seg := rapid.SampledFrom([]string{"a", "b", "a b", "a-", "B", ":", "é", "a.b"})
		paths := rapid.SliceOfNDistinct(rapid.Custom(func(rt *rapid.T) string {
			return strings.Join(rapid.SliceOfN(seg, 1, 4).Draw(rt, "path"), "/")
		}), 1, 25, rapid.ID[string]).Draw(rt, "paths")
		root := rapid.SampledFrom([]string{"", "r/s/"}).Draw(rt, "root")
		for i := range paths {
			paths[i] = root + paths[i]
		}
		s := filled(t, paths...)
		limit := rapid.IntRange(1, 7).Draw(rt, "limit")
		deep := rapid.Bool().Draw(rt, "deep")
		target := fmt.Sprintf("%s?list&limit=%d", root, limit)
		if deep {
			target += "&deep"
		}
		var got []string
		for after, n := "", 0; ; n++ {
			l := list(t, s, target+"&after="+url.QueryEscape(after))
			if len(l.Entries) > limit || n > 60 {
				rt.Fatalf("page %d has %d entries", n, len(l.Entries))
			}
			got = append(got, l.names()...)
			if after = l.Next; after == "" {
				break
			}
		}
		want := list(t, s, strings.Replace(target, fmt.Sprintf("limit=%d", limit), "limit=10000", 1)).names()
		if !slices.Equal(got, want) {
			rt.Fatalf("pages of %d: %q\nwhole: %q", limit, got, want)
		}
		if deep && len(got) != len(paths) {
			rt.Fatalf("%d files listed, %d stored", len(got), len(paths))
		}
	})
}

// A page of a deep listing reads at most maxDirs directories, and the next goes
// on where it ended.
func TestListManyDirectories(t *testing.T) {
	if testing.Short() {
		t.Skip("reads a thousand directories")
	}
	var paths []string
	for i := range 1100 {
		paths = append(paths, fmt.Sprintf("d%04d/f", i))
	}
	s := filled(t, paths...)
	first := list(t, s, "?list&deep&limit=10000")
	if len(first.Entries) != 999 || first.Next != "d0998/" {
		t.Fatalf("first page has %d entries, next %q", len(first.Entries), first.Next)
	}
	second := list(t, s, "?list&deep&limit=10000&after="+first.Next)
	if len(second.Entries) != 101 || second.Next != "" {
		t.Fatalf("second page has %d entries, next %q", len(second.Entries), second.Next)
	}
}

func TestListHTML(t *testing.T) {
	s := filled(t, "d/<script>alert(1)<img src=x onerror=y>", "d/javascript:alert(1)", "d/a b?c#d%e\"f'", "d/sub/x", "d/..x")
	a, err := s.Do("GET", "d/", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	page := string(a.Body)
	for _, bad := range []string{"<script", "<img", `href="javascript`} {
		if strings.Contains(page, bad) {
			t.Errorf("page has %q", bad)
		}
	}
	for _, want := range []string{
		`href="./%3Cscript%3Ealert%281%29%3Cimg%20src=x%20onerror=y%3E"`, `href="./javascript:alert%281%29"`,
		`href="./a%20b%3Fc%23d%25e%22f%27"`, `href="./sub/"`, `href="./..x"`, `href="./../"`, "2026-11-22 10:20:30",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("page lacks %s", want)
		}
	}
	for name, want := range map[string]string{
		"Content-Type": "text/html; charset=utf-8", "X-Content-Type-Options": "nosniff",
		"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox allow-downloads",
	} {
		if got := a.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	a, err = s.Do("GET", "d/?limit=2", nil, nil)
	if err != nil || !strings.Contains(string(a.Body), `href="./?after=..x&amp;limit=2" rel="next"`) {
		t.Errorf("no link to the next page: %v\n%s", err, a.Body)
	}
	if a, err = s.Do("HEAD", "d/", nil, nil); err != nil || len(a.Body) != 0 || a.Header.Get("Content-Length") == "0" {
		t.Errorf("HEAD: %v, %d bytes", err, len(a.Body))
	}
}
