package httpapi

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"granary/auth"
	"granary/repo/config"
)

// Names that an image can't have store nothing, whatever they would be cleaned
// to elsewhere.
func TestRegistryNames(t *testing.T) {
	r := newRig(t)
	r.Create("hub", config.Hosted, "docker", nil)
	for _, c := range []struct {
		name   string
		status int
	}{
		{"hub/a", 202}, {"hub/a/b/c/d/e/f", 202}, {"hub/a__b/c--d.e_f", 202}, {"hub/a%2Fb", 202}, {"hub/" + strings.Repeat("a", 255), 202}, {"hub", 202},
		{"hub/A", 400}, {"hub/a..b", 400}, {"hub/a___b", 400}, {"hub/-a", 400}, {"hub/a.", 400}, {"hub/a%20b", 400}, {"hub/%C3%A4", 400},
		{"hub/a//b", 400}, {"hub//a", 400}, {"/hub/a", 400}, {"hub/./a", 400}, {"hub/../hub/a", 400}, {"hub/%2e%2e/a", 400}, {"hub/a%00b", 400}, {"hub/a%5Cb", 400},
		{"hub/" + strings.Repeat("a", 256), 414}, {"hub/" + strings.Repeat("abcde/", 43) + "a", 400}, {"hub/" + strings.Repeat("abcde/", 200) + "a", 414},
	} {
		target := "/v2/" + c.name + "/blobs/uploads/"
		if c.status == 202 {
			r.do("admin", "POST", target, nil).status(202)
			continue
		}
		r.do("admin", "POST", target, nil).refused(c.status, "NAME_INVALID")
		r.do("admin", "GET", "/v2/"+c.name+"/tags/list", nil).refused(c.status, "NAME_INVALID")
		r.do("admin", "GET", "/v2/"+c.name+"/manifests/latest", nil).refused(c.status, "NAME_INVALID")
		r.do("admin", "GET", "/v2/"+c.name+"/referrers/"+shaOf("x"), nil).refused(c.status, "NAME_INVALID")
	}
	// Tags: who reads one that can't be hears that it is not there.
	for _, tag := range []string{strings.Repeat("a", 129), ".a", "-a", "a%20b", "%C3%A4"} {
		r.do("admin", "PUT", "/v2/hub/a/manifests/"+tag, strings.NewReader("{}"), "Content-Type", imageType).refused(400, "TAG_INVALID")
		r.do("admin", "GET", "/v2/hub/a/manifests/"+tag, nil).refused(404, "MANIFEST_UNKNOWN")
	}
	for _, digest := range []string{"sha256:", "sha256:12", "md5:d41d8cd98f00b204e9800998ecf8427e", "SHA256:" + shaOf("x")[7:], "sha256:" + strings.ToUpper(shaOf("x")[7:]), "sha512:" + shaOf("x")[7:]} {
		r.do("admin", "GET", "/v2/hub/a/manifests/"+digest, nil).refused(400, "DIGEST_INVALID")
		r.do("admin", "HEAD", "/v2/hub/a/blobs/"+digest, nil).status(400)
		r.do("admin", "DELETE", "/v2/hub/a/blobs/"+digest, nil).refused(400, "DIGEST_INVALID")
	}
	r.do("admin", "GET", "/v2/_catalog", nil).status(200).is(`{"repositories":[]}`)
}

// containerd asks the mirror of a registry for names as they are there, and
// gets its token by the scope that it is told, without saying again whose
// mirror it asks.
func TestRegistryMirrorTokens(t *testing.T) {
	o := newOrigin(t)
	m := o.pushImage("admin", "hub/library/app", "v1", "layer")
	host := strings.TrimPrefix(strings.TrimSuffix(o.url, "/repository/hub/"), "http://")
	r := newRig(t)
	r.Cache("mirror", "docker", o.url, 0)
	r.user("reader", "read", "mirror")
	r.user("other", "read", "nothing")
	scopeOf := func(a *answer) string {
		_, scope, _ := strings.Cut(a.refused(401, "UNAUTHORIZED").Header.Get("Www-Authenticate"), `scope="`)
		return strings.TrimSuffix(scope, `"`)
	}
	for _, ns := range []string{host, "elsewhere.example.com"} { // alike: who is nobody does not learn what there is
		if got, want := scopeOf(r.do("", "GET", "/v2/library/app/manifests/v1?ns="+ns, nil)), "repository:"+ns+"/library/app:pull"; got != want {
			t.Errorf("scope %q, want %q", got, want)
		}
	}
	ask := "/v2/library/app/manifests/v1?ns=" + url.QueryEscape(host)
	scope := url.QueryEscape(scopeOf(r.do("", "GET", ask, nil)))
	token := r.registryToken("reader", "&scope=repository:library/app:pull&scope="+scope)
	r.bearer(token, "GET", ask, nil).status(200).is(m)
	r.bearer(token, "GET", "/v2/library/app/blobs/"+shaOf("layer")+"?ns="+host, nil).status(200).is("layer")
	r.bearer(token, "GET", "/v2/library/other/manifests/v1?ns="+host, nil).refused(401, "UNAUTHORIZED")
	r.bearer(r.registryToken("other", "&scope="+scope), "GET", ask, nil).refused(403, "DENIED")
	r.do("reader", "GET", ask, nil).status(200).is(m) // Basic
	r.do("other", "GET", ask, nil).refused(403, "DENIED")
	r.anyone("read", "mirror")
	r.do("", "GET", ask, nil).status(200).is(m)

	// Where there is no mirror the default repository answers.
	far := r.Create("far", config.Hosted, "docker", nil)
	r.pushImage("admin", "far/library/app", "v1", "in far")
	if _, err := r.Registry.UpdateSettings(t.Context(), func(s *config.Settings) error { s.DefaultDockerRepo = far.ID; return nil }); err != nil {
		t.Fatal(err)
	}
	ask = "/v2/library/app/tags/list?ns=elsewhere.example.com"
	scope = url.QueryEscape(scopeOf(r.do("", "GET", ask, nil)))
	r.bearer(r.registryToken("admin", "&scope="+scope), "GET", ask, nil).status(200).is(`{"name":"library/app","tags":["v1"]}`)
	if got := scopeOf(r.do("", "GET", "/v2/library/app/tags/list", nil)); got != "repository:library/app:pull" {
		t.Errorf("scope %q in the default repository", got)
	}
	// A pull does not become a push on the way.
	r.bearer(r.registryToken("admin", "&scope="+scope), "POST", "/v2/library/app/blobs/uploads/?ns=elsewhere.example.com", nil).refused(401, "UNAUTHORIZED")
}

// A repository has a catalog of its own at each of its addresses, cut down to
// what the caller may read.
func TestRegistryCatalogOfOne(t *testing.T) {
	r := newRig(t)
	r.Create("hub", config.Hosted, "docker", func(c *config.Repository) { c.Listen = "images.example.com" })
	r.Create("files", config.Hosted, "raw", nil)
	r.pushImage("admin", "hub/team/a", "v1", "a")
	r.pushImage("admin", "hub/b", "v1", "b")
	if _, err := r.auth.CreateRole(t.Context(), auth.NewRole{Name: "team", Capabilities: []auth.Capability{
		{Capability: "read", Repo: "hub", Paths: []string{"team/**"}}, {Capability: "read", Repo: "files"},
	}}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.auth.CreateUser(t.Context(), auth.NewUser{Username: "mate", Password: "password", Roles: []string{"team"}}); err != nil {
		t.Fatal(err)
	}
	r.user("other", "read", "files")
	at := func(user, target string) (int, string) {
		req := httptest.NewRequestWithContext(t.Context(), "GET", target, nil)
		password := "password"
		if user == "admin" {
			password = adminPassword
		}
		req.SetBasicAuth(user, password)
		w := httptest.NewRecorder()
		r.handler.ServeHTTP(w, req)
		return w.Code, w.Body.String()
	}
	for _, target := range []string{"http://example.com/v2/hub/_catalog", "http://example.com/repository/hub/v2/_catalog", "http://images.example.com/v2/_catalog"} {
		for user, want := range map[string]string{"admin": `{"repositories":["b","team/a"]}`, "mate": `{"repositories":["team/a"]}`} {
			if code, body := at(user, target); code != http.StatusOK || body != want {
				t.Errorf("%s as %s: %d %s, want %s", target, user, code, body, want)
			}
		}
		if code, body := at("other", target); code != http.StatusForbidden {
			t.Errorf("%s as other: %d %s", target, code, body)
		}
	}
	r.do("mate", "GET", "/v2/files/_catalog", nil).refused(404, "NAME_UNKNOWN")
	r.do("admin", "GET", "/v2/none/_catalog", nil).refused(404, "NAME_UNKNOWN")
	r.do("mate", "GET", "/v2/none/_catalog", nil).refused(403, "DENIED")
}
