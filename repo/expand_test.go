package repo

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// However a document is cut into writes, the same stand-ins are replaced.
func TestExpand(t *testing.T) {
	piece := rapid.SampledFrom([]string{standIn, standIn + "/a/b.tgz", "http://base.granary", "h", "ht", "text ", "\n", "\"" + standIn + "\""})
	rapid.Check(t, func(t *rapid.T) {
		text := strings.Join(rapid.SliceOfN(piece, 0, 12).Draw(t, "text"), "")
		want := strings.ReplaceAll(text, standIn, "https://x.example/r")
		var got bytes.Buffer
		w := Expand(&got, "https://x.example/r")
		for rest := text; rest != ""; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "n")
			if _, err := w.Write([]byte(rest[:n])); err != nil {
				t.Fatal(err)
			}
			rest = rest[n:]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got.String() != want {
			t.Fatalf("expanded %q to %q, want %q", text, got.String(), want)
		}
	})
}
