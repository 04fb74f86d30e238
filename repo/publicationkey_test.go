package repo

import (
	"encoding/hex"
	"fmt"
	"testing"
	"time"

	"github.com/zeebo/blake3"
	"pgregory.net/rapid"

	"granary/formats"
)

// fingerprints is a signer of which only the keys are asked.
type fingerprints struct {
	formats.Signer
	list []string
}

func (f fingerprints) Fingerprints() []string { return f.list }

// A key is the digest of what fmt makes of its parts: a node that computes it
// otherwise would render everything anew.
func TestPublicationKey(t *testing.T) {
	now := time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SliceOfN(rapid.String(), 0, 3)
		stamp, renderer, keys := rapid.String().Draw(t, "stamp"), rapid.String().Draw(t, "renderer"), words.Draw(t, "keys")
		set := formats.Settings{
			Architectures: words.Draw(t, "architectures"), Components: words.Draw(t, "components"),
			ValidFor: time.Duration(rapid.Int64Min(0).Draw(t, "valid for")), SQLite: rapid.Bool().Draw(t, "sqlite"), Zstd: rapid.Bool().Draw(t, "zstd"),
		}
		want := fmt.Sprintf("%q %q", stamp, renderer)
		var signer formats.Signer
		if rapid.Bool().Draw(t, "signed") {
			signer = fingerprints{list: keys}
			want += fmt.Sprintf(" %q", keys)
		}
		if len(set.Architectures) > 0 || len(set.Components) > 0 || set.ValidFor > 0 || set.SQLite || set.Zstd {
			want += fmt.Sprintf(" %q %q %d %t", set.Architectures, set.Components, set.ValidFor, set.SQLite)
		}
		if set.Zstd {
			want += " zst"
		}
		if half := set.ValidFor / 2; half > 0 {
			want += fmt.Sprint(" ", now.UnixNano()/int64(half))
		}
		sum := blake3.Sum256([]byte(want))
		if got := publicationKey(stamp, renderer, signer, set, now); got != hex.EncodeToString(sum[:20]) {
			t.Errorf("the key of %s is %s", want, got)
		}
	})
}

func BenchmarkPublicationKey(b *testing.B) {
	signer, now := fingerprints{list: []string{"8D3A4BC2F19E0D7755AA8D3A4BC2F19E0D7755AA"}}, time.Now()
	for b.Loop() {
		publicationKey("h-01JDKQ2M7P9V6X3Z8W5T4R1N0B", "apt/7", signer, formats.Settings{}, now)
	}
}
