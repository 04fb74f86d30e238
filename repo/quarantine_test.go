package repo_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/golang"
	"granary/formats/helm"
	"granary/formats/raw"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/repotest"
)

func quarantine(t *testing.T, r *repotest.Rig, repository string, items ...string) {
	t.Helper()
	change(t, r, repository, func(c *config.Repository) {
		c.Quarantine = nil
		for _, item := range items {
			c.Quarantine = append(c.Quarantine, config.Quarantined{Item: item, Reason: "CVE-2026-1234", By: "ann"})
		}
	})
}

// What is shown again after other rules is another publication, made later:
// clients compare dates and take nothing for new that is older than what they
// have.
func TestRulesDoNotComeBack(t *testing.T) {
	r := policyRig(t)
	up := newModules(t, map[string]time.Time{"v1.0.0": {}, "v1.1.0": {}})
	r.Create("h", "hosted", "golang", nil)
	if _, _, err := r.Send(t.Context(), "h", "PUT", "upload", moduleZip(t, "example.com/m", "v1.1.0"), "Content-Type", "application/zip"); err != nil {
		t.Fatal(err)
	}
	r.Cache("c", "golang", up.URL, -1)
	r.Claiming("gh", "golang", "h")
	r.Claiming("ggh", "golang", "gh")
	r.Claiming("gc", "golang", "c")
	other := r.Create("other", "hosted", "golang", nil).ID
	made := func(name string) time.Time {
		t.Helper()
		c, _, err := r.Send(t.Context(), name, "GET", "example.com/m/@v/list", nil)
		if err != nil {
			t.Fatal(err)
		}
		return c.Time
	}
	for _, tt := range []struct {
		rule    string
		at      string
		on, off func(*config.Repository)
		in      []string
	}{
		{"quarantine", "h", func(c *config.Repository) {
			c.Quarantine = []config.Quarantined{{Item: "example.com/m@v1.0.0", Reason: "x"}}
		}, func(c *config.Repository) { c.Quarantine = nil }, []string{"h", "gh", "ggh"}},
		{"patterns", "c", func(c *config.Repository) { c.BlockPatterns = []string{"@v1.0.0$"} }, func(c *config.Repository) { c.BlockPatterns = nil }, []string{"gc"}},
		{"members", "gh", func(c *config.Repository) { c.Members = append(c.Members, other) }, func(c *config.Repository) { c.Members = c.Members[:1] }, []string{"gh", "ggh"}},
	} {
		times := map[string]time.Time{}
		for _, step := range []func(*config.Repository){func(*config.Repository) {}, tt.on, tt.off} {
			change(t, r, tt.at, step)
			r.Clock.Advance(time.Minute)
			for _, name := range tt.in {
				now := made(name)
				if before, ok := times[name]; ok && !now.After(before) {
					t.Errorf("%s: %s is of %v after one of %v", tt.rule, name, now, before)
				}
				times[name] = now
			}
		}
	}
	// What does not decide what is shown leaves everything as it was.
	before := made("h")
	change(t, r, "h", func(c *config.Repository) { c.QuotaArtifacts = new(int64(1000)) })
	r.Clock.Advance(time.Minute)
	if now := made("h"); !now.Equal(before) {
		t.Errorf("a quota made new documents: %v after %v", now, before)
	}
}

// Index and download agree, in hosted repositories, caches and groups of them,
// and release brings everything back.
func TestQuarantine(t *testing.T) {
	r := policyRig(t)
	up := newModules(t, map[string]time.Time{"v1.0.0": {}, "v1.1.0": {}})
	r.Create("h", "hosted", "golang", nil)
	for _, v := range []string{"v1.0.0", "v1.1.0"} {
		if _, _, err := r.Send(t.Context(), "h", "PUT", "upload", moduleZip(t, "example.com/m", v), "Content-Type", "application/zip"); err != nil {
			t.Fatal(err)
		}
	}
	r.Cache("c", "golang", up.URL, 0)
	r.Claiming("gh", "golang", "h")
	r.Claiming("gc", "golang", "c")
	check := func(when, want string, hidden ...string) {
		t.Helper()
		for _, name := range []string{"h", "c", "gh", "gc"} {
			if got := list(t, r, name); got != want {
				t.Errorf("%s: %s lists %q, want %q", when, name, got, want)
			}
			for _, v := range []string{"v1.0.0", "v1.1.0"} {
				want := ""
				if strings.Contains(strings.Join(hidden, " "), v) {
					want = repo.ReasonQuarantined
				}
				for _, ext := range []string{".mod", ".info"} {
					if got := get(t, r, name, "example.com/m/@v/"+v+ext); got != want {
						t.Errorf("%s: %s%s of %s: %q, want %q", when, v, ext, name, got, want)
					}
				}
			}
		}
	}
	check("before", "v1.0.0 v1.1.0")
	for _, name := range []string{"h", "c"} {
		quarantine(t, r, name, "example.com/m@v1.1.0")
	}
	check("a release", "v1.0.0", "v1.1.0")
	_, _, err := r.Send(t.Context(), "h", "GET", "example.com/m/@v/v1.1.0.mod", nil)
	if !errors.Is(err, formats.ErrBlocked) || !strings.Contains(err.Error(), "CVE-2026-1234") {
		t.Errorf("what is told: %v", err)
	}
	if _, _, err := r.Send(t.Context(), "gh", "GET", "example.com/m/@v/v1.1.0.mod", nil); !errors.Is(err, formats.ErrNotFound) {
		t.Errorf("what a group tells: %v", err)
	}
	// It was so yesterday too: what is in quarantine is given to nobody.
	r.Clock.Advance(time.Hour)
	past := "h@" + r.Clock.Now().Add(-time.Minute).UTC().Format(time.RFC3339)
	if got := list(t, r, past); got != "v1.0.0" {
		t.Errorf("as of a time: list %q", got)
	}
	if got := get(t, r, past, "example.com/m/@v/v1.1.0.mod"); got != repo.ReasonQuarantined {
		t.Errorf("as of a time: %q", got)
	}
	for _, name := range []string{"h", "c"} {
		quarantine(t, r, name)
	}
	check("released", "v1.0.0 v1.1.0")
	quarantine(t, r, "h", "example.com/m")
	if got := get(t, r, "h", "example.com/m/@v/v1.0.0.mod"); got != repo.ReasonQuarantined {
		t.Errorf("a package: %q", got)
	}
	if _, body, err := r.Send(t.Context(), "h", "GET", "example.com/m/@v/list", nil); err == nil && strings.TrimSpace(string(body)) != "" {
		t.Errorf("versions of a package in quarantine: %q", body)
	}
}

func TestQuarantineOfPaths(t *testing.T) {
	r := repotest.New(t, repotest.Options{Formats: func(time func() time.Time) []formats.Format {
		return []formats.Format{raw.New(), golang.New(time)}
	}})
	r.Create("files", "hosted", "raw", nil)
	for _, path := range []string{"a/x", "a/b/y", "ab/z"} {
		r.Put("files", path, []byte(path))
	}
	quarantine(t, r, "files", "a/", "ab")
	for path, want := range map[string]string{"a/x": repo.ReasonQuarantined, "a/b/y": repo.ReasonQuarantined, "ab/z": ""} {
		if got := get(t, r, "files", path); got != want {
			t.Errorf("a directory: %s: %q", path, got)
		}
	}
	quarantine(t, r, "files", "a/x")
	for path, want := range map[string]string{"a/x": repo.ReasonQuarantined, "a/b/y": "", "ab/z": ""} {
		if got := get(t, r, "files", path); got != want {
			t.Errorf("a file: %s: %q", path, got)
		}
	}
	// It is written and deleted like everything else.
	r.Put("files", "a/x", []byte("new"))
	if got := get(t, r, "files", "a/x"); got != repo.ReasonQuarantined {
		t.Errorf("overwritten: %q", got)
	}
	if _, _, err := r.Send(t.Context(), "files", "DELETE", "a/x", nil); err != nil {
		t.Error(err)
	}
	_, err := r.Registry.UpdateRepository(t.Context(), "files", func(c *config.Repository) error {
		c.Quarantine = []config.Quarantined{{Item: "/x", Reason: "why"}}
		return nil
	})
	if err == nil {
		t.Error("an absolute path is taken")
	}
}

func chart(t *testing.T, name, version string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	text := fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %s\n", name, version)
	if err := w.WriteHeader(&tar.Header{Name: name + "/Chart.yaml", Mode: 0o644, Size: int64(len(text))}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Which names the hosted members of a group have is read once per state, not
// for every download; a new name claims at once, one in quarantine goes on to.
func TestClaimsAreRemembered(t *testing.T) {
	r := repotest.New(t, repotest.Options{Formats: func(func() time.Time) []formats.Format { return []formats.Format{helm.New()} }})
	outer := chart(t, "outer", "1.0.0")
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/index.yaml":
			fmt.Fprint(w, "apiVersion: v1\nentries:\n")
			for _, name := range []string{"outer", "inner"} {
				fmt.Fprintf(w, "  %s:\n  - {apiVersion: v2, name: %s, version: 1.0.0, urls: [%s-1.0.0.tgz]}\n", name, name, name)
			}
		case "/outer-1.0.0.tgz":
			w.Write(outer) //nolint:errcheck // a test's server
		case "/inner-1.0.0.tgz":
			w.Write(chart(t, "inner", "1.0.0")) //nolint:errcheck // a test's server
		default:
			http.NotFound(w, req)
		}
	}))
	t.Cleanup(up.Close)
	r.Create("h", "hosted", "helm", nil)
	r.Cache("c", "helm", up.URL, -1)
	r.Claiming("g", "helm", "c", "h")
	for i := range 20 {
		r.Put("h", fmt.Sprintf("mine%d-1.0.0.tgz", i), chart(t, fmt.Sprintf("mine%d", i), "1.0.0"))
	}
	if got := get(t, r, "g", "inner-1.0.0.tgz"); got != "" {
		t.Fatalf("before it is claimed: %s", got)
	}
	lists := func() int {
		r.KV.Reset()
		for range 10 {
			if got := get(t, r, "g", "outer-1.0.0.tgz"); got != "" {
				t.Fatal(got)
			}
		}
		return r.KV.Calls()["Query"]
	}
	if n := lists(); n != 0 {
		t.Errorf("%d listings for ten downloads", n)
	}
	r.Put("h", "inner-2.0.0.tgz", chart(t, "inner", "2.0.0"))
	if got := get(t, r, "g", "inner-1.0.0.tgz"); got != repo.ReasonClaimed {
		t.Errorf("a name that was just claimed: %q", got)
	}
	if n := lists(); n != 0 {
		t.Errorf("%d listings for ten downloads of the next state", n)
	}
	quarantine(t, r, "h", "inner")
	if got := get(t, r, "g", "inner-1.0.0.tgz"); got == "" {
		t.Error("a name in quarantine is claimed no more")
	}
	if _, _, err := r.Send(t.Context(), "h", "DELETE", "inner-2.0.0.tgz", nil); err != nil {
		t.Fatal(err)
	}
	if got := get(t, r, "g", "inner-1.0.0.tgz"); got != "" {
		t.Errorf("a name that is free again: %q", got)
	}
}
