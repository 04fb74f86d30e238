package repo_test

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/golang"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/repotest"
)

// modules is an upstream of Go modules that remembers what it was asked.
type modules struct {
	*httptest.Server
	versions map[string]time.Time // of example.com/m

	mu    sync.Mutex
	asked []string // guarded by mu
}

func newModules(t *testing.T, versions map[string]time.Time) *modules {
	m := &modules{versions: versions}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m.mu.Lock()
		m.asked = append(m.asked, r.URL.Path)
		m.mu.Unlock()
		file, ok := strings.CutPrefix(r.URL.Path, "/example.com/m/@v/")
		base, ext, _ := strings.Cut(file, ".info")
		switch published, known := m.versions[base]; {
		case !ok:
			http.NotFound(w, r)
		case file == "list":
			for v := range m.versions {
				fmt.Fprintln(w, v)
			}
		case known && ext == "" && strings.HasSuffix(file, ".info"):
			if published.IsZero() {
				fmt.Fprintf(w, `{"Version":%q}`, base)
				return
			}
			fmt.Fprintf(w, `{"Version":%q,"Time":%q}`, base, published.Format(time.RFC3339))
		case strings.HasSuffix(file, ".mod"):
			fmt.Fprintln(w, "module example.com/m")
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(m.Close)
	return m
}

// requests are those since it was asked last.
func (m *modules) requests() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	asked := m.asked
	m.asked = nil
	return asked
}

func policyRig(t *testing.T) *repotest.Rig {
	return repotest.New(t, repotest.Options{Formats: func(now func() time.Time) []formats.Format {
		return []formats.Format{golang.New(now)}
	}})
}

func list(t *testing.T, r *repotest.Rig, repository string) string {
	t.Helper()
	return strings.Join(strings.Fields(string(r.Get(repository, "example.com/m/@v/list"))), " ")
}

func reason(err error) string {
	var p *repo.PolicyError
	if errors.As(err, &p) {
		return p.Reason
	}
	return fmt.Sprint(err)
}

// get asks for a file and returns the reason of a refusal, "" for none.
func get(t *testing.T, r *repotest.Rig, repository, path string) string {
	t.Helper()
	_, _, err := r.Send(t.Context(), repository, "GET", path, nil)
	if err == nil {
		return ""
	}
	return reason(err)
}

func change(t *testing.T, r *repotest.Rig, name string, f func(*config.Repository)) {
	t.Helper()
	_, err := r.Registry.UpdateRepository(t.Context(), name, func(c *config.Repository) error { f(c); return nil })
	if err != nil {
		t.Fatal(err)
	}
}

func TestBlockedReleases(t *testing.T) {
	r := policyRig(t)
	up := newModules(t, map[string]time.Time{"v1.0.0": {}, "v1.1.0": {}, "v2.0.0+incompatible": {}})
	r.Cache("c", "golang", up.URL, 0)
	if got := list(t, r, "c"); got != "v1.0.0 v1.1.0 v2.0.0+incompatible" {
		t.Errorf("list %q", got)
	}
	change(t, r, "c", func(c *config.Repository) { c.BlockPatterns = []string{`^example\.com/m@v1\.1\.`} })
	if got := list(t, r, "c"); got != "v1.0.0 v2.0.0+incompatible" {
		t.Errorf("list with a blocked version %q", got)
	}
	for _, ext := range []string{"info", "mod", "zip"} {
		if got := get(t, r, "c", "example.com/m/@v/v1.1.0."+ext); got != repo.ReasonBlocked {
			t.Errorf("%s of a blocked version: %s", ext, got)
		}
	}
	if got := get(t, r, "c", "example.com/m/@v/v1.0.0.mod"); got != "" {
		t.Errorf("another version: %s", got)
	}
	// A path is a pattern's business too, and what is not allowed is blocked.
	change(t, r, "c", func(c *config.Repository) {
		c.BlockPatterns, c.AllowPatterns = nil, []string{`/@v/list$`, `^example\.com/m@v1\.0`}
	})
	if got := list(t, r, "c"); got != "v1.0.0" {
		t.Errorf("list of what is allowed %q", got)
	}
	change(t, r, "c", func(c *config.Repository) { c.AllowPatterns = nil })
	if got := list(t, r, "c"); got != "v1.0.0 v1.1.0 v2.0.0+incompatible" {
		t.Errorf("list without patterns %q", got)
	}
	if err := (&repo.PolicyError{Reason: repo.ReasonBlocked}); !errors.Is(err, formats.ErrBlocked) || errors.Is(err, formats.ErrNotFound) {
		t.Error("a refusal is no ErrBlocked")
	}
}

func TestMinimumAge(t *testing.T) {
	r := policyRig(t)
	now := r.Clock.Now()
	up := newModules(t, map[string]time.Time{"v1.0.0": now.AddDate(0, 0, -30), "v1.1.0": now.AddDate(0, 0, -2), "v1.2.0": {}})
	r.Cache("c", "golang", up.URL, 0)
	r.Group("g", "golang", "c")
	days := int64(7)
	change(t, r, "c", func(c *config.Repository) { c.MinimumAgeDays = &days })
	for _, name := range []string{"c", "g"} {
		if got := list(t, r, name); got != "v1.0.0" {
			t.Errorf("%s: list %q", name, got)
		}
		for version, want := range map[string]string{"v1.0.0": "", "v1.1.0": repo.ReasonTooYoung, "v1.2.0": repo.ReasonAgeUnknown} {
			if got := get(t, r, name, "example.com/m/@v/"+version+".mod"); got != want {
				t.Errorf("%s: %s: %q, want %q", name, version, got, want)
			}
		}
	}
	_, _, err := r.Send(t.Context(), "g", "GET", "example.com/m/@v/v1.1.0.mod", nil)
	if !errors.Is(err, formats.ErrNotFound) {
		t.Errorf("in a group, where others may have it: %v", err)
	}
	// Time passes, and nobody else has to do anything.
	r.Clock.Advance(4 * 24 * time.Hour)
	if got := list(t, r, "c"); got != "v1.0.0" {
		t.Errorf("after four days: list %q", got)
	}
	r.Clock.Advance(25 * time.Hour)
	if got := list(t, r, "g"); got != "v1.0.0 v1.1.0" {
		t.Errorf("after five: list %q", got)
	}
	if got := get(t, r, "g", "example.com/m/@v/v1.1.0.mod"); got != "" {
		t.Errorf("after five: %s", got)
	}
}

func TestClaimedNames(t *testing.T) {
	r := policyRig(t)
	up := newModules(t, map[string]time.Time{"v1.0.0": {}, "v9.9.9+incompatible": {}})
	r.Cache("c", "golang", up.URL, 0)
	r.Create("h", "hosted", "golang", nil)
	r.Claiming("inner", "golang", "c")
	r.Claiming("g", "golang", "inner", "h") // the upstream comes first
	if got := list(t, r, "g"); got != "v1.0.0 v9.9.9+incompatible" {
		t.Errorf("before: list %q", got)
	}
	if _, _, err := r.Send(t.Context(), "h", "PUT", "upload", moduleZip(t, "example.com/m", "v1.2.3"), "Content-Type", "application/zip"); err != nil {
		t.Fatal(err)
	}
	up.requests()
	if got := list(t, r, "g"); got != "v1.2.3" {
		t.Errorf("claimed: list %q", got)
	}
	if got := get(t, r, "g", "example.com/m/@v/v9.9.9+incompatible.mod"); got != repo.ReasonClaimed {
		t.Errorf("claimed: %s", got)
	}
	if got := get(t, r, "g", "example.com/m/@v/v1.2.3.mod"); got != "" {
		t.Errorf("the inner one: %s", got)
	}
	if asked := up.requests(); len(asked) > 0 {
		t.Errorf("the upstream was asked for %q", asked)
	}
	// Who may not read the hosted member does not get the outer one either.
	h, err := r.Service.Open(t.Context(), "g", func(_ formats.Verb, name string) bool { return name != "h" })
	if err != nil {
		t.Fatal(err)
	}
	_, err = h.Read(t.Context(), formats.Op{Kind: formats.File, Scope: "example.com/m/@v", Name: "v1.0.0.mod"}, repo.ReadOptions{})
	if !errors.Is(err, formats.ErrNotFound) || len(up.requests()) > 0 {
		t.Errorf("without the right on the hosted member: %v", err)
	}
	// The cache by itself, and a group that shares names.
	if got := list(t, r, "c"); got != "v1.0.0 v9.9.9+incompatible" {
		t.Errorf("the cache: list %q", got)
	}
	off := false
	change(t, r, "g", func(c *config.Repository) { c.ClaimNames = &off })
	if got := list(t, r, "g"); got != "v1.0.0 v1.2.3 v9.9.9+incompatible" {
		t.Errorf("shared: list %q", got)
	}
}

func moduleZip(t *testing.T, path, version string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for name, content := range map[string]string{"go.mod": "module " + path + "\n", "m.go": "package m\n"} {
		w, err := z.Create(path + "@" + version + "/" + name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
