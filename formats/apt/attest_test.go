package apt_test

import (
	"bytes"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	"granary/formats"
	"granary/repo/config"
	"granary/repo/repotest"
)

// signedOrigin is an upstream, its public key, and a key of somebody else.
func signedOrigin(t *testing.T) (r *repotest.Rig, up *repotest.Upstream, key, stranger string) {
	t.Helper()
	r = newRig(t)
	days := int64(7)
	for _, name := range []string{"origin", "stranger"} {
		r.Create(name, "hosted", "apt", func(c *config.Repository) { c.ValidUntilDays = &days })
	}
	uploaded(t, r, "hello")
	return r, r.Serve(t), string(r.Get("origin", "public.key")), string(r.Get("stranger", "public.key"))
}

func trusting(t *testing.T, r *repotest.Rig, name, url, keys string, unsigned bool) {
	t.Helper()
	r.Cache(name, "apt", url, 0)
	if _, err := r.Registry.UpdateRepository(t.Context(), name, func(c *config.Repository) error {
		c.UpstreamKeys, c.UpstreamUnsigned = keys, unsigned
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// A cache that knows its upstream's keys takes what they signed and nothing
// else; one that is told to pass on what is not signed does.
func TestUpstreamSignatures(t *testing.T) {
	origin, up, key, stranger := signedOrigin(t)
	const clear, plain, detached = "dists/stable/InRelease", "dists/stable/Release", "dists/stable/Release.gpg"
	in, rel := origin.Get("origin", clear), origin.Get("origin", plain)
	// instead answers some requests with other bytes, "" is a 404.
	instead := func(bodies map[string]string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			body, ok := bodies[path.Base(r.URL.Path)]
			if !ok {
				return false
			}
			if body == "" {
				w.WriteHeader(http.StatusNotFound)
				return true
			}
			w.Write([]byte(body)) //nolint:errcheck // the test sees what has come
			return true
		}
	}
	both := strings.TrimSpace(stranger) + "\n" + key
	for _, c := range []struct {
		name, keys string
		ahead      time.Duration
		bad        map[string]string
		path       string
		good       bool
	}{
		{"signed within", key, 0, nil, clear, true},
		{"signed beside", key, 0, nil, plain, true},
		{"one of two keys", both, 0, nil, clear, true},
		{"another's key", stranger, 0, nil, clear, false},
		{"another's key beside", stranger, 0, nil, plain, false},
		{"changed", key, 0, map[string]string{"InRelease": strings.Replace(string(in), "hello", "jello", 1) + " "}, clear, true}, // white space behind is nothing
		{"changed within", key, 0, map[string]string{"InRelease": strings.Replace(string(in), "Suite: stable", "Suite: staple", 1)}, clear, false},
		{"changed beside", key, 0, map[string]string{"Release": string(rel) + "Extra: yes\n"}, plain, false},
		{"text before", key, 0, map[string]string{"InRelease": "Suite: mine\n" + string(in)}, clear, false},
		{"text behind", key, 0, map[string]string{"InRelease": string(in) + "Suite: mine\n"}, clear, false},
		{"not signed", key, 0, map[string]string{"InRelease": string(rel)}, clear, false},
		{"no signature", key, 0, map[string]string{"Release.gpg": ""}, plain, false},
		{"no good signature", key, 0, map[string]string{"Release.gpg": "what?"}, plain, false},
		{"still valid", key, 6 * 24 * time.Hour, map[string]string{"InRelease": string(in)}, clear, true},
		{"expired", key, 8 * 24 * time.Hour, map[string]string{"InRelease": string(in)}, clear, false},
		{"our clock is a little late", key, -5 * time.Minute, map[string]string{"InRelease": string(in)}, clear, true},
		{"of tomorrow", key, -24 * time.Hour, map[string]string{"InRelease": string(in)}, clear, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			up.Misbehave(instead(c.bad))
			defer up.Misbehave(nil)
			r := newRig(t)
			r.Clock.Advance(c.ahead)
			trusting(t, r, "strict", up.URL+"/origin", c.keys, false)
			trusting(t, r, "lenient", up.URL+"/origin", c.keys, true)
			if c.good {
				r.Get("strict", c.path)
			} else {
				r.Refused(formats.ErrUpstream, "strict", "GET", c.path, nil)
			}
			if got := r.Get("lenient", c.path); len(got) == 0 {
				t.Error("the lenient one passes on nothing")
			}
		})
	}
	t.Run("the old copy stays", func(t *testing.T) {
		r := newRig(t)
		trusting(t, r, "strict", up.URL+"/origin", key, false)
		before := r.Get("strict", clear)
		up.Misbehave(instead(map[string]string{"InRelease": string(rel)}))
		defer up.Misbehave(nil)
		if got := r.Get("strict", clear); !bytes.Equal(got, before) {
			t.Errorf("after an unsigned answer: %.100q", got)
		}
		r.Get("strict", "dists/stable/main/binary-amd64/Packages")
		r.Get("strict", detached)
	})
}
