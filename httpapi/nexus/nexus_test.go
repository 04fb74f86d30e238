package nexus

import (
	"net/http"
	"net/url"
	"slices"
	"testing"
)

func TestNatural(t *testing.T) {
	sorted := []string{"a", "a-1.2.3", "a-1.9", "a-1.10", "a-1.010", "a-1.10b", "a-2", "a-18446744073709551616", "b"}
	for i, a := range sorted {
		for j, b := range sorted {
			got := natural(a, b)
			if i == j && got != 0 || i < j && got >= 0 && a != "a-1.10" || i > j && got <= 0 && b != "a-1.10" {
				t.Errorf("natural(%q, %q) = %d", a, b, got)
			}
			if got != -natural(b, a) {
				t.Errorf("natural(%q, %q) has no opposite", a, b)
			}
		}
	}
}

func TestID(t *testing.T) {
	for _, want := range []id{{"r", "", "n"}, {"r", "a/b", "n:1"}, {"r", "a:b", ":t"}} {
		if got, ok := parseID(want.String()); !ok || got != want {
			t.Errorf("%v became %v, %v", want, got, ok)
		}
	}
}

// FuzzQuery: no query makes a search panic, and what a directory leaves out is
// what the search would not find.
func FuzzQuery(f *testing.F) {
	f.Add("name=a/b*", "a/b/c")
	f.Add("name=/a%2F..%2Fb*&group=/x/", "b")
	f.Add("name=a//b*", "a//b")
	f.Add("group=a/./b&q=X&keyword=%22y%22&limit=3&sort=version", "a/./bxy")
	f.Add("name=*a*b*&name=+", "aab")
	f.Fuzz(func(t *testing.T, query, path string) {
		c, err := parse(&http.Request{URL: &url.URL{RawQuery: query}})
		if err != nil {
			return
		}
		if c.limit < 1 || c.limit > maxLimit {
			t.Errorf("limit %d", c.limit)
		}
		if dir := c.directory(); c.match(path) && dir != "" && !slices.Contains([]string{dir + "/"}, path[:min(len(path), len(dir)+1)]) {
			t.Errorf("%q matches %q, which is not below %q", path, query, dir)
		}
		if i, ok := parseID(path); ok {
			if again, ok := parseID(i.String()); !ok || again != i {
				t.Errorf("id %v became %v", i, again)
			}
		}
	})
}
