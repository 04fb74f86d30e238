package auth

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestMatch(t *testing.T) {
	for _, tt := range []struct {
		glob, name string
		want       bool
	}{
		{"*", "", true},
		{"*", "raw", true},
		{"", "", true},
		{"", "raw", false},
		{"raw", "raw", true},
		{"raw", "raw2", false},
		{"team-*", "team-", true},
		{"team-*", "team-a", true},
		{"team-*", "team", false},
		{"docker-?", "docker-1", true},
		{"docker-?", "docker-", false},
		{"docker-?", "docker-12", false},
		{"*a*b", "xxaxxbxb", true},
		{"*a*b", "xxaxxbx", false},
		{"a**b", "ab", true},
		{"?*", "", false},
		{".", "a", false},
	} {
		if got := match(tt.glob, tt.name); got != tt.want {
			t.Errorf("match(%q, %q) = %v", tt.glob, tt.name, got)
		}
	}
}

func TestMatchIsTheRegularExpression(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		glob := rapid.StringMatching(`[ab.*?]{0,12}`).Draw(t, "glob")
		name := rapid.StringMatching(`[ab.]{0,12}`).Draw(t, "name")
		re := strings.NewReplacer(`\*`, `.*`, `\?`, `.`).Replace(regexp.QuoteMeta(glob))
		if got, want := match(glob, name), regexp.MustCompile(`^(?:`+re+`)$`).MatchString(name); got != want {
			t.Fatalf("match(%q, %q) = %v", glob, name, got)
		}
	})
}

func TestMatchTakesNoTime(t *testing.T) {
	start := time.Now()
	glob, name := strings.Repeat("a*", maxGlob/2)+"c", strings.Repeat("a", 64)+"b"
	for range 1000 {
		if match(glob, name) {
			t.Fatalf("%q matches %q", glob, name)
		}
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("1000 hard matches took %v", d)
	}
}

func TestCheckGlob(t *testing.T) {
	for _, good := range []string{"*", "?", "raw", "team-*", "a.b_c-1"} {
		if !checkGlob(good) {
			t.Errorf("%q refused", good)
		}
	}
	for _, bad := range []string{"", "a b", "a/b", "a\x00", "a\n", "ü", "[ab]", "{a,b}", strings.Repeat("a", maxGlob+1)} {
		if checkGlob(bad) {
			t.Errorf("%q accepted", bad)
		}
	}
}
