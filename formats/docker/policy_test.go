package docker_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/docker"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/repotest"
)

// images is a registry with one image, "app".
type images struct {
	*httptest.Server
	mu      sync.Mutex
	content map[string]string // by digest; guarded by mu
	tags    map[string]string // digests; guarded by mu
}

func sumOf(s string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(s))) }

func newImages(t *testing.T) *images {
	u := &images{content: map[string]string{}, tags: map[string]string{}}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		defer u.mu.Unlock()
		kind, name, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/app/"), "/")
		if name == "list" {
			var list []string
			for tag := range u.tags {
				list = append(list, `"`+tag+`"`)
			}
			fmt.Fprintf(w, `{"name":"app","tags":[%s]}`, strings.Join(list, ","))
			return
		}
		if to, ok := u.tags[name]; ok && kind == "manifests" {
			name = to
		}
		body, ok := u.content[name]
		if !ok {
			http.NotFound(w, r)
			return
		}
		w.Header().Set("Docker-Content-Digest", name)
		w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
		fmt.Fprint(w, body)
	}))
	t.Cleanup(u.Close)
	return u
}

func (u *images) add(body string) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.content[sumOf(body)] = body
	return sumOf(body)
}

// push tags an image that says when it was made.
func (u *images) push(tag, created string) (digest, layer string) {
	config := u.add(fmt.Sprintf(`{"created":%q,"tag":%q}`, created, tag))
	layer = u.add("layer of " + tag)
	digest = u.add(fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"digest":%q,"size":1},"layers":[{"digest":%q,"size":1}]}`, config, layer))
	u.mu.Lock()
	defer u.mu.Unlock()
	u.tags[tag] = digest
	return digest, layer
}

// refused is why, "" for nothing.
func refused(t *testing.T, r *repotest.Rig, repository, path string) string {
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

func TestPolicies(t *testing.T) {
	r := repotest.New(t, repotest.Options{Formats: func(func() time.Time) []formats.Format { return []formats.Format{docker.New()} }})
	up := newImages(t)
	now := r.Clock.Now()
	old, oldLayer := up.push("old", now.AddDate(0, 0, -30).Format(time.RFC3339Nano))
	young, _ := up.push("young", now.AddDate(0, 0, -2).Format(time.RFC3339Nano))
	same, _ := up.push("same", "1970-01-01T00:00:00Z") // as builds that are the same each time
	index := up.add(fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"digest":%q,"size":1},{"digest":%q,"size":1}]}`, young, old))
	dated := up.add(fmt.Sprintf(`{"schemaVersion":2,"annotations":{"org.opencontainers.image.created":%q},"manifests":[]}`, now.AddDate(0, 0, -9).Format(time.RFC3339)))
	built := up.add(fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":%q,"size":1}]}`, oldLayer))
	r.Cache("c", "docker", up.URL, 0)
	set := func(f func(*config.Repository)) {
		t.Helper()
		if _, err := r.Registry.UpdateRepository(t.Context(), "c", func(c *config.Repository) error { f(c); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	is := func(repository string, want map[string]string) {
		t.Helper()
		for path, reason := range want {
			if got := refused(t, r, repository, "v2/app/"+path); got != reason {
				t.Errorf("%s of %s: %q, want %q", path, repository, got, reason)
			}
		}
	}
	// Copies from before a rule do not get around it.
	is("c", map[string]string{"manifests/old": "", "manifests/young": "", "manifests/same": ""})
	week := int64(7)
	set(func(c *config.Repository) { c.MinimumAgeDays = &week })
	is("c", map[string]string{
		"manifests/old": "", "manifests/" + old: "", "blobs/" + oldLayer: "", "manifests/" + dated: "",
		"manifests/young": repo.ReasonTooYoung, "manifests/" + young: repo.ReasonTooYoung, "manifests/" + index: repo.ReasonTooYoung,
		"manifests/same": repo.ReasonAgeUnknown, "manifests/" + built: repo.ReasonAgeUnknown, "manifests/" + same: repo.ReasonAgeUnknown,
	})
	// A tag that moves on to what is too young stays where it was.
	up.mu.Lock()
	up.tags["old"] = young
	up.mu.Unlock()
	before := r.Get("c", "v2/app/manifests/old")
	if got := sumOf(string(before)); got != old {
		t.Errorf("the tag has moved to %s", got)
	}
	r.Clock.Advance(6 * 24 * time.Hour)
	is("c", map[string]string{"manifests/young": "", "manifests/" + index: ""})
	if got := sumOf(string(r.Get("c", "v2/app/manifests/old"))); got != young {
		t.Errorf("the tag is still %s", got)
	}

	set(func(c *config.Repository) {
		c.MinimumAgeDays, c.BlockPatterns = nil, []string{`^app@young$`, `^app@` + same + `$`}
	})
	is("c", map[string]string{
		"manifests/young": repo.ReasonBlocked, "manifests/" + young: "", "manifests/same": repo.ReasonBlocked, "manifests/" + same: repo.ReasonBlocked,
	})
	_, list, err := r.Send(t.Context(), "c", "GET", "v2/app/tags/list", nil)
	if err != nil || strings.Contains(string(list), "young") || !strings.Contains(string(list), "old") {
		t.Errorf("tags %s, %v", list, err)
	}
	set(func(c *config.Repository) { c.BlockPatterns = nil })

	r.Create("own", config.Hosted, "docker", nil)
	r.Claiming("g", "docker", "c", "own")
	is("g", map[string]string{"manifests/old": "", "manifests/" + old: ""})
	manifest := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
	if _, _, err := r.Send(t.Context(), "own", "PUT", "v2/app/manifests/mine", []byte(manifest), "Content-Type", "application/vnd.oci.image.index.v1+json"); err != nil {
		t.Fatal(err)
	}
	is("g", map[string]string{
		"manifests/mine": "", "manifests/old": repo.ReasonClaimed, "manifests/" + old: repo.ReasonClaimed, "blobs/" + oldLayer: repo.ReasonClaimed,
	})
	if _, list, err = r.Send(t.Context(), "g", "GET", "v2/app/tags/list", nil); err != nil || !strings.Contains(string(list), `["mine"]`) {
		t.Errorf("tags %s, %v", list, err)
	}
}
