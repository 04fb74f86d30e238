package docker

import (
	"net/http"
	"slices"
	"testing"
)

func TestMediaTypes(t *testing.T) {
	for _, c := range []struct {
		lines []string
		want  []string
	}{
		{nil, nil},
		{[]string{""}, nil},
		{[]string{"a/b, c/d;q=0.5", "e/f"}, []string{"a/b", "c/d", "e/f"}},
		{[]string{"A/B;q=0, c/d;q=0.000, e/f;q=1.0"}, []string{"e/f"}},
		{[]string{"*/*;q=0.1,;;,nonsense/"}, []string{"*/*"}},
	} {
		if got := mediaTypes(http.Header{"Accept": c.lines}); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.lines, got, c.want)
		}
	}
}

func FuzzMediaTypes(f *testing.F) {
	f.Add("a/b, c/d;q=0.5")
	f.Add(";q=,*/*;x=\"")
	f.Fuzz(func(t *testing.T, line string) {
		for _, m := range mediaTypes(http.Header{"Accept": {line}}) {
			if m == "" {
				t.Errorf("%q has an empty type", line)
			}
		}
	})
}
