package formats_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"granary/formats"
)

func TestUnmarshalYAML(t *testing.T) {
	var many, twice, bombed strings.Builder
	for i := range 90_000 {
		fmt.Fprintf(&many, "k%d: x\n", i)
		twice.WriteString("k: x\n")
	}
	bombed.WriteString("b: &b {")
	for i := range 1000 {
		fmt.Fprintf(&bombed, "k%d: x, ", i)
	}
	bombed.WriteString("}\nlist: [")
	bombed.WriteString(strings.Repeat("*b, ", 20_000) + "]\n")
	for _, tt := range []struct {
		name, text, want string // want: part of the error, "" for none
	}{
		{"empty", "", ""},
		{"scalar", "x", ""},
		{"nested", "a: {b: [c, {d: e}]}", ""},
		{"alias", "a: &a {b: c}\nd: *a\ne: *a\n", ""},
		{"merge", "a: &a {b: c}\nd:\n  <<: *a\n  f: g\n", ""},
		{"same value as two keys", "a: {a: a}\nb: {a: a}", ""},
		{"some hundred keys", strings.Join(strings.SplitAfter(many.String(), "\n")[:1200], ""), ""},
		{"many keys", many.String(), "too many keys"},
		{"many keys below", "a:\n  b: {" + strings.ReplaceAll(many.String(), "\n", ", ") + "}", "too many keys"},
		{"one key twice", "a: b\na: c\n", "there already at line 1"},
		{"a key ever again", twice.String(), ""},
		{"aliases of much", bombed.String(), "aliases stand for too much"},
		{"alias of itself", "a: &a [*a]", "nested too deep"},
		{"no YAML", "a: [", "did not find"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var v any
			began := time.Now()
			err := formats.UnmarshalYAML([]byte(tt.text), &v)
			if took := time.Since(began); took > 20*time.Second {
				t.Errorf("it took %v", took)
			}
			refused := tt.want != "" || tt.name == "a key ever again"
			if (err != nil) != refused || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
