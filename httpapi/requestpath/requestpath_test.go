package requestpath

import (
	"errors"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	long := strings.Repeat("s", MaxSegment)
	tests := []struct {
		raw  string // as on the request line
		want Target
	}{
		{"/repository/r/a/b.txt", Target{Repository: "r", Path: "a/b.txt"}},
		{"/repository/r", Target{Repository: "r"}},
		{"/repository/r/", Target{Repository: "r", Slash: true}},
		{"/repository/", Target{}},
		{"/repository/r/a/", Target{Repository: "r", Path: "a", Slash: true}},
		{"/repository/r/a/.", Target{Repository: "r", Path: "a", Slash: true}},
		{"/repository//r///a/./b", Target{Repository: "r", Path: "a/b"}},
		{"/repository/r/@scope%2fname", Target{Repository: "r", Path: "@scope/name"}},
		{"/repository/r%2Fa", Target{Repository: "r", Path: "a"}},
		{"/repository/r@v1/a", Target{Repository: "r", AsOf: "v1", Path: "a"}},
		{"/repository/r/%252e%252e/a", Target{Repository: "r", Path: "%2e%2e/a"}},
		{"/repository/r/a+b%20c%23%3F%25", Target{Repository: "r", Path: "a+b c#?%"}},
		{"/repository/r/%22'%3C%3E;*[]{}~&", Target{Repository: "r", Path: "\"'<>;*[]{}~&"}},
		{"/repository/r/.hidden/...", Target{Repository: "r", Path: ".hidden/..."}},
		{"/repository/r/%E6%97%A5/%D7%A9", Target{Repository: "r", Path: "日/ש"}},
		{"/repository/r/" + long, Target{Repository: "r", Path: long}},
	}
	for _, tt := range tests {
		u, err := url.ParseRequestURI(tt.raw)
		if err != nil {
			t.Fatalf("%q: %v", tt.raw, err)
		}
		got, err := Parse(u.Path)
		if err != nil {
			t.Errorf("Parse(%q): %v", tt.raw, err)
			continue
		}
		if d := cmp.Diff(tt.want, got); d != "" {
			t.Errorf("Parse(%q) -want +got:\n%s", tt.raw, d)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	tests := []struct {
		raw  string
		want error
	}{
		{"/repository/r/../a", ErrInvalid},
		{"/repository/r/%2e%2e/a", ErrInvalid},
		{"/repository/r/a%2f..%2fb", ErrInvalid},
		{"/repository/../r/a", ErrInvalid},
		{"/repository/r/..", ErrInvalid},
		{"/repository/r/a%00", ErrInvalid},
		{"/repository/r/a%0d%0ab", ErrInvalid},
		{"/repository/r/a%7f", ErrInvalid},
		{"/repository/r/%C2%85", ErrInvalid},
		{"/repository/r/a%5cb", ErrInvalid},
		{"/repository/r/%ff", ErrInvalid},
		{"/repository/r/%c0%ae", ErrInvalid},
		{"/repository/r@/a", ErrInvalid},
		{"/repository/@v1/a", ErrInvalid},
		{"/elsewhere/r/a", ErrInvalid},
		{"/repository/r/" + strings.Repeat("s", MaxSegment+1), ErrTooLong},
		{"/repository/r/" + strings.Repeat("ab/", 300) + "c", ErrTooLong},
	}
	for _, tt := range tests {
		u, err := url.ParseRequestURI(tt.raw)
		if err != nil {
			t.Fatalf("%q: %v", tt.raw, err)
		}
		if got, err := Parse(u.Path); !errors.Is(err, tt.want) {
			t.Errorf("Parse(%q) = %+v, %v, want error %v", tt.raw, got, err, tt.want)
		}
	}
}

func TestParseLongestPath(t *testing.T) {
	segment := strings.Repeat("x", 89) + "/"
	path := strings.Repeat(segment, 10) // 900 with the last slash
	got, err := Parse("/repository/r/" + path)
	if err != nil || len(got.Path) != MaxPath-1 || !got.Slash {
		t.Errorf("path of 899 bytes and a slash: %d bytes, slash %v, %v", len(got.Path), got.Slash, err)
	}
	if got, err = Parse("/repository/r/" + path + "y"); err == nil {
		t.Errorf("path of 901 bytes accepted: %d", len(got.Path))
	}
	if got, err = Parse("/repository/r/y" + path[:len(path)-1]); err != nil || len(got.Path) != MaxPath {
		t.Errorf("path of 900 bytes: %d, %v", len(got.Path), err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"/repository/r/a/b", "/repository/r/../x", "/repository/@/./", "/repository/a%2fb", "/repository/r/\xff", "x"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got, err := Parse(path)
		if err != nil {
			if !errors.Is(err, ErrInvalid) && !errors.Is(err, ErrTooLong) {
				t.Fatalf("unclassified error %v", err)
			}
			return
		}
		if !utf8.ValidString(got.Path) || len(got.Path) > MaxPath || strings.ContainsAny(got.Path, "\x00\\\n") {
			t.Fatalf("Parse(%q) = %+v", path, got)
		}
		if got.Path != "" {
			for s := range strings.SplitSeq(got.Path, "/") {
				if s == "" || s == "." || s == ".." || len(s) > MaxSegment {
					t.Fatalf("Parse(%q): segment %q in %q", path, s, got.Path)
				}
			}
		}
		name := got.Repository
		if got.AsOf != "" {
			name += "@" + got.AsOf
		}
		again, err := Parse(Prefix + name + "/" + got.Path)
		if got.Repository != "" && (err != nil || again.Path != got.Path || again.Repository != got.Repository) {
			t.Fatalf("Parse is not idempotent: %q, then %+v %v", path, again, err)
		}
	})
}

func BenchmarkParse(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse("/repository/bench/h00/d12/file-000123.bin"); err != nil {
			b.Fatal(err)
		}
	}
}
