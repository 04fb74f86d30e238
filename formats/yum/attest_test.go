package yum_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"testing"
	"time"

	"granary/formats"
	"granary/repo/config"
)

// A cache that knows its upstream's keys takes a repomd.xml that they signed and
// no other; one that is told to pass on what is not signed does.
func TestUpstreamSignatures(t *testing.T) {
	const entry = "repodata/repomd.xml"
	origin := newRig(t)
	origin.Create("origin", "hosted", "yum", nil)
	origin.Create("stranger", "hosted", "yum", nil)
	for _, name := range []string{"origin", "stranger"} {
		origin.Put(name, pathOf(hello(1, "text")), hello(1, "text").build())
	}
	key, stranger := string(origin.Get("origin", entry+".key")), string(origin.Get("stranger", entry+".key"))
	signed := origin.Get("origin", entry)
	up := origin.Serve(t)
	for _, c := range []struct {
		name, keys string
		file, body string // that the upstream answers in the place of its own; "" is a 404
		good       bool
	}{
		{"signed", key, "none", "", true},
		{"one of two keys", stranger + "\n" + key, "none", "", true},
		{"another's key", stranger, "none", "", false},
		{"changed", key, "repomd.xml", string(bytes.Replace(signed, []byte("<revision>"), []byte("<revision>9"), 1)), false},
		{"no signature", key, "repomd.xml.asc", "", false},
		{"no good signature", key, "repomd.xml.asc", "what?", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			up.Misbehave(func(w http.ResponseWriter, r *http.Request) bool {
				if path.Base(r.URL.Path) != c.file {
					return false
				}
				if c.body == "" {
					w.WriteHeader(http.StatusNotFound)
				}
				w.Write([]byte(c.body)) //nolint:errcheck // the test sees what has come
				return true
			})
			defer up.Misbehave(nil)
			r := newRig(t)
			for name, unsigned := range map[string]bool{"strict": false, "lenient": true} {
				r.Create(name, "cache", "yum", func(rc *config.Repository) {
					rc.UpstreamURL, rc.UpstreamKeys, rc.UpstreamUnsigned = up.URL+"/origin", c.keys, unsigned
				})
			}
			if c.good {
				r.Get("strict", entry)
			} else {
				r.Refused(formats.ErrUpstream, "strict", "GET", entry, nil)
			}
			if got := r.Get("lenient", entry); len(got) == 0 {
				t.Error("the lenient one passes on nothing")
			}
		})
	}
}

// Of mirrors, what is verified is a mirror's own signature, and how old a
// package is is asked of them too.
func TestMirrorsAreVerified(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"origin", "stranger"} {
		r.Create(name, "hosted", "yum", nil)
		publish(t, r, name, hello(1, name))
	}
	key := string(r.Get("origin", "repodata/repomd.xml.key"))
	up := r.Serve(t)
	lists := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%s/none\n%s/stranger\n%s/origin\n", up.URL, up.URL, up.URL)
	}))
	defer lists.Close()
	r.Clock.Advance(10 * 24 * time.Hour)
	week := int64(7)
	r.Create("c", "cache", "yum", func(rc *config.Repository) {
		rc.UpstreamURL, rc.UpstreamKeys, rc.MinimumAgeDays = lists.URL+"/mirrorlist", key, &week
	})
	if got := r.Get("c", "repodata/repomd.xml"); !bytes.Equal(got, r.Get("origin", "repodata/repomd.xml")) {
		t.Errorf("the metadata is not that of the mirror with the right key:\n%s", got)
	}
	r.Get("c", pathOf(hello(1, "")))
}
