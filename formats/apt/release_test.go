package apt_test

import (
	"fmt"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	"granary/formats"
)

// dateOf is the Date of a Release file.
func dateOf(t *testing.T, text []byte) time.Time {
	t.Helper()
	_, rest, _ := strings.Cut(string(text), "\nDate: ")
	line, _, _ := strings.Cut(rest, "\n")
	date, err := time.Parse("Mon, 02 Jan 2006 15:04:05 UTC", line)
	if err != nil {
		t.Fatal(err)
	}
	return date
}

// Two publications made by nodes whose clocks differ have dates in their order:
// apt ignores a Release file that is older than the one it has. A clock that was
// wrong and is put right is not kept up with.
func TestDateDoesNotGoBack(t *testing.T) {
	r := newRig(t)
	r.Create("origin", "hosted", "apt", nil)
	next := func(name string, by time.Duration) time.Time {
		r.Clock.Advance(by)
		uploaded(t, r, name)
		return dateOf(t, r.Get("origin", "dists/stable/InRelease"))
	}
	first := next("first", 0)
	if want := r.Clock.Now().Truncate(time.Second); !first.Equal(want) {
		t.Errorf("the first is of %s, want %s", first, want)
	}
	for i, by := range []time.Duration{0, -10 * time.Second, -10 * time.Second} {
		if got := next("more"+string(rune('a'+i)), by); !got.Equal(first) {
			t.Errorf("with a clock that went %s: %s, want %s", by, got, first)
		}
	}
	for i := range 100 {
		if got := next(fmt.Sprintf("many%02d", i), 0); !got.Equal(first) {
			t.Fatalf("the date of publication %d of one second is %s: %s later", i, got, got.Sub(first))
		}
	}
	if got, want := next("later", time.Hour), r.Clock.Now().Truncate(time.Second); !got.Equal(want) {
		t.Errorf("an hour later: %s, want %s", got, want)
	}
	if got, want := next("corrected", -30*time.Minute), r.Clock.Now().Truncate(time.Second); !got.Equal(want) {
		t.Errorf("with a clock that was half an hour ahead: %s, want %s", got, want)
	}
}

// apt asks by the time, in whole seconds, of what it has. Of two publications of
// one second the later one has none, so that it is sent.
func TestPublicationsOfOneSecond(t *testing.T) {
	r := newRig(t)
	r.Create("origin", "hosted", "apt", nil)
	modified := func(name string) time.Time {
		t.Helper()
		uploaded(t, r, name)
		c, _, err := r.Send(t.Context(), "origin", http.MethodGet, "dists/stable/InRelease", nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Time
	}
	if got, want := modified("first"), r.Clock.Now().Truncate(time.Second); !got.Equal(want) {
		t.Errorf("the first is of %s, want %s", got, want)
	}
	if got := modified("second"); !got.IsZero() {
		t.Errorf("the second is of %s too", got)
	}
	r.Clock.Advance(time.Second)
	if got, want := modified("third"), r.Clock.Now().Truncate(time.Second); !got.Equal(want) {
		t.Errorf("the third is of %s, want %s", got, want)
	}
}

const (
	releaseDoc = "dists/stable/Release"
	signature  = "dists/stable/Release.gpg"
)

// The signature that a client is given is that of the Release file that it was
// given, though the upstream has gone on.
func TestReleaseAndSignatureGoTogether(t *testing.T) {
	origin, r := newRig(t), newRig(t)
	origin.Create("origin", "hosted", "apt", nil)
	uploaded(t, origin, "hello")
	r.Cache("cache", "apt", origin.Serve(t).URL+"/origin", 60)

	for _, more := range []string{"second", "third"} {
		rel, sig := origin.Get("origin", releaseDoc), origin.Get("origin", signature)
		r.Clock.Advance(2 * time.Minute)
		if got := r.Get("cache", releaseDoc); string(got) != string(rel) {
			t.Fatalf("before %s: the cache has another Release:\n%s\nwant\n%s", more, got, rel)
		}
		origin.Clock.Advance(time.Minute)
		uploaded(t, origin, more)
		if string(origin.Get("origin", signature)) == string(sig) {
			t.Fatal("the upstream has not gone on")
		}
		if got := r.Get("cache", signature); string(got) != string(sig) {
			t.Errorf("before %s: the signature is of another Release", more)
		}
	}
}

// An upstream may have only InRelease, or only Release, signed or not.
func TestUpstreamsWithout(t *testing.T) {
	for _, lacks := range [][]string{{"Release", "Release.gpg"}, {"InRelease"}, {"InRelease", "Release.gpg"}} {
		t.Run(strings.Join(lacks, " "), func(t *testing.T) {
			origin, r := newRig(t), newRig(t)
			origin.Create("origin", "hosted", "apt", nil)
			uploaded(t, origin, "hello")
			up := origin.Serve(t)
			missing := map[string]bool{}
			for _, name := range lacks {
				missing[name] = true
			}
			up.Misbehave(func(w http.ResponseWriter, req *http.Request) bool {
				if missing[path.Base(req.URL.Path)] {
					http.NotFound(w, req)
					return true
				}
				return false
			})
			r.Cache("cache", "apt", up.URL+"/origin", 60)
			for _, name := range []string{"InRelease", "Release", "Release.gpg"} {
				doc := "dists/stable/" + name
				if missing[name] {
					r.Refused(formats.ErrNotFound, "cache", "GET", doc, nil)
				} else if got, want := r.Get("cache", doc), origin.Get("origin", doc); string(got) != string(want) {
					t.Errorf("%s is not the upstream's", name)
				}
			}
			if !strings.Contains(string(r.Get("cache", "dists/stable/main/binary-amd64/Packages")), "Package: hello\n") {
				t.Error("no index")
			}
		})
	}
}
