package yum_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"path"
	"regexp"
	"strings"
	"testing"
	"time"

	"granary/formats"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/repotest"
)

// refusal is the reason for which a file is not to be had, "" if it is.
func refusal(t *testing.T, r *repotest.Rig, repository, path string) string {
	t.Helper()
	_, _, err := r.Send(t.Context(), repository, "GET", path, nil)
	var p *repo.PolicyError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &p):
		return p.Reason
	}
	return err.Error()
}

// built is hello(n) as it was built some days before a time.
func built(n int, now time.Time, days int) rpm {
	p := hello(n, "x")
	if n == 2 {
		p.more = manyFiles // what is said of it has several pieces
	}
	p.built = uint32(now.AddDate(0, 0, -days).Unix()) //nolint:gosec // in this century
	return p
}

// What a cache refuses is in none of the documents that a group makes of it, and
// what they list can be had.
func TestPolicies(t *testing.T) {
	r := newRig(t)
	r.Create("origin", config.Hosted, "yum", nil)
	now := r.Clock.Now()
	packages := []rpm{built(1, now, 30), built(2, now, 20), built(3, now, -9)}
	publish(t, r, "origin", packages...)
	up := r.Serve(t)
	r.Clock.Advance(10 * 24 * time.Hour)
	r.Cache("c", "yum", up.URL+"/origin", 60)
	r.Group("g", "yum", "c")
	set := func(f func(*config.Repository)) {
		t.Helper()
		if _, err := r.Registry.UpdateRepository(t.Context(), "c", func(c *config.Repository) error { f(c); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string, want map[int]string) {
		t.Helper()
		for i, p := range packages {
			reason := want[i+1]
			if got := refusal(t, r, "g", pathOf(p)); got != reason {
				t.Errorf("%s: 1.%d: %q, want %q", when, i+1, got, reason)
			}
			for _, doc := range []string{"primary", "filelists", "other"} {
				text := unzipped(t, r.Get("g", "repodata/"+doc+".xml.gz"))
				if got := strings.Contains(text, `ver="`+p.version+`"`); got != (reason == "") {
					t.Errorf("%s: 1.%d is in %s: %v", when, i+1, doc, got)
				}
				if !strings.Contains(text, `packages="`+map[int]string{0: "3", 1: "2", 2: "1"}[len(want)]+`"`) {
					t.Errorf("%s: %s counts wrongly: %.200s", when, doc, text)
				}
			}
		}
	}
	check("without a policy", nil)
	set(func(c *config.Repository) { c.BlockPatterns = []string{`^hello@1\.2`} })
	check("blocked", map[int]string{2: repo.ReasonBlocked})
	set(func(c *config.Repository) {
		c.BlockPatterns, c.AllowPatterns = nil, []string{`^hello@1\.[13]-`, `^repodata/`}
	})
	check("not allowed", map[int]string{2: repo.ReasonBlocked})
	week := int64(7)
	set(func(c *config.Repository) { c.AllowPatterns, c.MinimumAgeDays = nil, &week })
	if got := unzipped(t, r.Get("g", "repodata/primary.xml.gz")); strings.Contains(got, `ver="1.3"`) || !strings.Contains(got, `ver="1.2"`) {
		t.Errorf("too young:\n%s", got)
	}
	if got := refusal(t, r, "g", pathOf(packages[1])); got != "" {
		t.Errorf("old enough: %s", got)
	}
	r.Clock.Advance(7 * 24 * time.Hour)
	check("when it is old enough", nil)
	// The cache itself lists what its upstream has signed.
	set(func(c *config.Repository) { c.BlockPatterns = []string{`^hello@1\.2`} })
	if got := unzipped(t, r.Get("c", "repodata/primary.xml.gz")); !strings.Contains(got, `ver="1.2"`) {
		t.Errorf("the cache's own metadata is another:\n%s", got)
	}
	r.Refused(formats.ErrBlocked, "c", "GET", pathOf(packages[1]), nil)
}

// A package whose file is called otherwise, or as another package, is judged by
// what it is.
func TestPoliciesOfOddNames(t *testing.T) {
	r := newRig(t)
	r.Create("origin", config.Hosted, "yum", nil)
	now := r.Clock.Now()
	bad, young := built(2, now, 30), built(3, now, 0)
	for at, p := range map[string]rpm{"P/hello.rpm": built(1, now, 30), "P/fine-1-1.x86_64.rpm": bad} {
		r.Put("origin", at, p.build())
	}
	up := r.Serve(t)
	r.Clock.Advance(10 * 24 * time.Hour)
	r.Put("origin", "P/young.rpm", young.build())
	set := func(name string, f func(*config.Repository)) {
		t.Helper()
		if _, err := r.Registry.UpdateRepository(t.Context(), name, func(c *config.Repository) error { f(c); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"cold", "warm"} {
		r.Cache(name, "yum", up.URL+"/origin", 60)
	}
	paths := map[string]string{"P/hello.rpm": "", "P/fine-1-1.x86_64.rpm": "", "P/young.rpm": ""}
	check := func(when string, want map[string]string, repositories ...string) {
		t.Helper()
		for _, name := range repositories {
			for path := range paths {
				// Twice: as it is fetched, and as it was.
				for range 2 {
					if got := refusal(t, r, name, path); got != want[path] {
						t.Errorf("%s: %s of %s: %q, want %q", when, path, name, got, want[path])
					}
				}
			}
		}
	}
	check("without a policy", nil, "warm", "origin")
	week := int64(7)
	for _, name := range []string{"cold", "warm"} {
		set(name, func(c *config.Repository) { c.BlockPatterns, c.MinimumAgeDays = []string{`^hello@1\.2-`}, &week })
	}
	check("blocked", map[string]string{"P/fine-1-1.x86_64.rpm": repo.ReasonBlocked, "P/young.rpm": repo.ReasonTooYoung}, "cold", "warm")
	for _, name := range []string{"cold", "warm", "origin"} {
		set(name, func(c *config.Repository) {
			c.BlockPatterns, c.MinimumAgeDays = nil, nil
			c.Quarantine = []config.Quarantined{{Item: "hello@1.2-1", Reason: "bad"}}
		})
	}
	check("in quarantine", map[string]string{"P/fine-1-1.x86_64.rpm": repo.ReasonQuarantined}, "cold", "warm", "origin")
	if got := unzipped(t, r.Get("origin", "repodata/primary.xml.gz")); strings.Contains(got, `ver="1.2"`) || !strings.Contains(got, `href="P/hello.rpm"`) {
		t.Errorf("the metadata:\n%s", got)
	}
	// What a cache knows of its copies is not taken for what lists a package.
	if _, _, err := r.Send(t.Context(), "warm", "DELETE", "P/hello.rpm", nil); err != nil {
		t.Errorf("delete a copy: %v", err)
	}
}

// A package that an upstream lists and that is odd in what it says of itself is
// passed on, but not where a policy would have to know what it is.
func TestUnreadablePackages(t *testing.T) {
	r := newRig(t)
	r.Create("origin", config.Hosted, "yum", nil)
	odd := built(1, r.Clock.Now(), 30)
	odd.name = "two words"
	up := r.Serve(t)
	up.Misbehave(func(w http.ResponseWriter, req *http.Request) bool {
		if path.Ext(req.URL.Path) != ".rpm" {
			return false
		}
		w.Write(odd.build()) //nolint:errcheck // the test sees what has come
		return true
	})
	for _, name := range []string{"free", "ruled"} {
		r.Cache(name, "yum", up.URL+"/origin", 60)
	}
	if _, err := r.Registry.UpdateRepository(t.Context(), "ruled", func(c *config.Repository) error { c.BlockPatterns = []string{"^bad@"}; return nil }); err != nil {
		t.Fatal(err)
	}
	if got := r.Get("free", "P/odd-1-1.x86_64.rpm"); !bytes.Equal(got, odd.build()) {
		t.Errorf("%d bytes", len(got))
	}
	r.Refused(formats.ErrUpstream, "ruled", "GET", "P/odd-1-1.x86_64.rpm", nil)
}

// A package that was built long ago and uploaded lately is young, in the metadata
// as in what a cache lets through: the file's time is when it was uploaded. That
// stays what it was when the same bytes are uploaded again, promoted, cloned or
// put into a snapshot.
func TestUploadedLately(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"origin", "promoted"} {
		r.Create(name, config.Hosted, "yum", nil)
	}
	up := r.Serve(t)
	first := r.Clock.Now()
	old, late := built(1, first, 300), built(2, first, 200)
	publish(t, r, "origin", old)
	r.Clock.Advance(10 * 24 * time.Hour)
	publish(t, r, "origin", late)
	second := r.Clock.Now()
	r.Cache("c", "yum", up.URL+"/origin", 60)
	r.Group("g", "yum", "c")
	week := int64(7)
	if _, err := r.Registry.UpdateRepository(t.Context(), "c", func(c *config.Repository) error { c.MinimumAgeDays = &week; return nil }); err != nil {
		t.Fatal(err)
	}
	times := func(repository, doc string) string {
		var out []string
		for _, m := range regexp.MustCompile(`<time file="(\d+)" build="(\d+)"/>`).FindAllStringSubmatch(unzipped(t, r.Get(repository, doc)), -1) {
			out = append(out, m[1]+" "+m[2])
		}
		return strings.Join(out, ", ")
	}
	stamps := func(uploaded time.Time, p rpm) string { return fmt.Sprintf("%d %d", uploaded.Unix(), p.built) }
	both := stamps(first, old) + ", " + stamps(second, late)
	const primary = "repodata/primary.xml.gz"
	if got := times("origin", primary); got != both {
		t.Errorf("the metadata says %s, want %s", got, both)
	}
	if got := refusal(t, r, "g", pathOf(late)); got != repo.ReasonTooYoung {
		t.Errorf("what was uploaded today: %q", got)
	}
	if got := times("g", primary); got != stamps(first, old) {
		t.Errorf("a group lists %s", got)
	}
	r.Clock.Advance(8 * 24 * time.Hour)
	publish(t, r, "origin", late)
	if _, _, err := r.Send(t.Context(), "origin", "POST", "snapshots", []byte(`{"name":"s1","source":""}`), "Content-Type", "application/json"); err != nil {
		t.Fatal(err)
	}
	if err := r.Promoted("origin", "promoted", path.Dir(pathOf(late))); err != nil {
		t.Fatal(err)
	}
	for at, doc := range map[string]string{"origin": primary, "g": primary, "promoted": primary} {
		if got := times(at, doc); got != both {
			t.Errorf("later %s says %s, want %s", at, got, both)
		}
	}
	if got := times("origin", "snapshots/s1/"+primary); got != both {
		t.Errorf("the snapshot says %s, want %s", got, both)
	}
	if got := refusal(t, r, "g", pathOf(late)); got != "" {
		t.Errorf("when it is old enough: %s", got)
	}
}
