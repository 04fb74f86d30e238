package gc_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"testing"
	"time"

	"granary/gc"
	"granary/kv"
	"granary/repo/config"
)

// Stamps and publications of empty scopes go; the documents come back with the
// next version that is published.
func TestPublicationsOfEmptyScopesGo(t *testing.T) {
	r := newRig(t)
	mods := r.Create("mods", config.Hosted, "golang", nil)
	sp := kv.Space{Repo: mods.ID, Shards: mods.Shards}
	publish := func() {
		t.Helper()
		var z bytes.Buffer
		w := zip.NewWriter(&z)
		f, err := w.Create("example.com/m@v1.0.0/go.mod")
		if err == nil {
			_, err = f.Write([]byte("module example.com/m\n"))
		}
		if err = errors.Join(err, w.Close()); err != nil {
			t.Fatal(err)
		}
		r.Put("mods", "example.com/m/@v/v1.0.0.zip", z.Bytes())
	}
	index := func() (n int) {
		for s := range mods.Shards {
			for range r.KV.Query(t.Context(), sp.Index(s), "", "") {
				n++
			}
		}
		return n
	}
	publish()
	if got := string(r.Get("mods", "example.com/m/@v/list")); got != "v1.0.0\n" {
		t.Fatalf("the list is %q", got)
	}
	if n := index(); n < 2 {
		t.Fatalf("%d stamps and publications", n)
	}
	full := index()
	for range 3 {
		r.later()
		r.round(gc.Options{})
	}
	if got := index(); got != full {
		t.Errorf("of %d stamps and publications %d are left, although the scope is not empty", full, got)
	}
	r.delete("mods", "example.com/m/@v/v1.0.0.zip")
	for range 3 {
		r.later()
		r.round(gc.Options{})
	}
	if got := index(); got != 0 {
		t.Errorf("%d stamps and publications of an empty scope are left", got)
	}
	publish()
	if got := string(r.Get("mods", "example.com/m/@v/list")); got != "v1.0.0\n" {
		t.Errorf("published again, the list is %q", got)
	}
}

func TestSuperfluousPublications(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	ago := func(d ...time.Duration) []gc.Kept {
		var out []gc.Kept
		for _, one := range d {
			out = append(out, gc.KeptAt(now.Add(-one)))
		}
		return out
	}
	const day = 24 * time.Hour
	for name, try := range map[string]struct {
		pubs       []gc.Kept
		seenBefore time.Time
		want       int
	}{
		"the current and the last three": {ago(2*day, 3*day, 4*day, 5*day), now.Add(-day), 0},
		"older ones":                     {ago(2*day, 3*day, 4*day, 5*day, 6*day, 7*day), now.Add(-day), 2},
		"one an hour":                    {ago(0, 1, 2, 3, 2*time.Hour, 2*time.Hour+1, 3*time.Hour), now, 1},
		"met by no round yet":            {ago(2*day, 3*day, 4*day, 5*day, 6*day, 7*day), now.Add(-8 * day), 0},
	} {
		if got := gc.Superfluous(try.pubs, now, try.seenBefore); len(got) != try.want {
			t.Errorf("%s: %d go, want %d", name, len(got), try.want)
		}
	}
}
