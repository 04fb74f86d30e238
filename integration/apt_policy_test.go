package integration_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"granary/integration/node"
)

// knows is what a client finds in the indexes that it has.
func (c *aptClient) knows() string {
	c.t.Helper()
	out := strings.Fields(c.run(c.root, "apt-cache", append(c.options(), "pkgnames")...))
	slices.Sort(out)
	return strings.Join(out, " ")
}

// refused tries to install what a server does not give.
func (c *aptClient) refused(pkg, want string) {
	c.t.Helper()
	out, err := c.try(c.root, "apt-get", append(c.options(), "install", "-y", pkg)...)
	if err == nil || !strings.Contains(out, want) {
		c.t.Errorf("install of %s: %v, without %q in\n%s", pkg, err, want, out)
	}
	name, _, _ := strings.Cut(pkg, "=")
	if got := c.installed(name); !strings.Contains(got, "no such file") {
		c.t.Errorf("%s is installed: %s", name, got)
	}
}

// policyOf asks for a file that is not given, and returns status and reason.
func policyOf(n *node.Node, path string) string {
	resp, _ := n.Do(http.MethodGet, path, nil)
	return fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("X-Granary-Policy"))
}

// What an administrator puts away is in no index, is not given to who knows its
// path, and comes back to clients that have updated meanwhile.
func TestAptQuarantine(t *testing.T) {
	n := node.Start(t, node.Options{})
	aptRepository(n, "debs", "hosted", "")
	aptRepository(n, "all", "proxy", `,"members":["debs"]`)
	const hello = "/pool/main/h/hello/hello_1.1_amd64.deb"
	for _, item := range []string{"hello@1.1", strings.TrimPrefix(hello, "/")} {
		clients := map[string]*aptClient{"debs": newApt(t), "all": newApt(t)}
		if item == "hello@1.1" {
			clients["debs"].upload(n, "debs", "stable", debPackage(t, "hello", "1.0", "amd64"), debPackage(t, "hello", "1.1", "amd64"), debPackage(t, "other", "1.0", "all"))
		}
		for name, c := range clients {
			c.setUp(n, name, "stable")
			c.apt("update")
		}
		n.Want(http.StatusCreated, http.MethodPost, "/api/v1/repositories/debs/quarantine", strings.NewReader(fmt.Sprintf(`{"item":%q,"reason":"CVE-2026-1"}`, item)), "Content-Type", "application/json")
		for name, want := range map[string]string{"debs": "403 quarantined", "all": "404 quarantined"} {
			if got := policyOf(n, "/repository/"+name+hello); got != want {
				t.Errorf("%s: %s answers %s, want %s", item, name, got, want)
			}
			// Who has the index of before is refused, too.
			clients[name].refused("hello=1.1", want[:3])
		}
		time.Sleep(1100 * time.Millisecond) // the next Release is of another second
		for name, c := range clients {
			c.apt("update")
			c.refused("hello=1.1", "was not found")
			c.apt("install", "-y", "hello", "other")
			if got := c.installed("hello"); got != "1.0" {
				t.Errorf("%s: %s installed %s beside the quarantine", item, name, got)
			}
		}
		n.Want(http.StatusNoContent, http.MethodDelete, "/api/v1/repositories/debs/quarantine/"+url.PathEscape(item), nil)
		for name, c := range clients {
			c.apt("update")
			c.apt("upgrade", "-y")
			if got := c.installed("hello"); got != "1.1" {
				t.Errorf("%s: %s upgraded to %s after the quarantine", item, name, got)
			}
		}
	}
}

// A package that is too young is refused by the cache of it and by a group with
// that cache, whoever knows its path; one that is old enough is given. The index
// of the cache is its upstream's, and a group's is not judged by age.
func TestAptMinimumAge(t *testing.T) {
	origin, edge := node.Start(t, node.Options{}), node.Start(t, node.Options{})
	aptRepository(origin, "debs", "hosted", "")
	newApt(t).upload(origin, "debs", "stable", debPackage(t, "young", "1.0", "amd64"), debPackage(t, "ripe", "1.0", "amd64"))
	to, err := url.Parse(origin.URL + "/repository/debs")
	if err != nil {
		t.Fatal(err)
	}
	// One of them has been there for long.
	upstream := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to); r.Out.SetBasicAuth("admin", node.Password) },
		ModifyResponse: func(r *http.Response) error {
			if strings.Contains(r.Request.URL.Path, "/ripe_") {
				r.Header.Set("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
			}
			return nil
		},
	})
	defer upstream.Close()
	aptRepository(edge, "mirror", "cache", fmt.Sprintf(`,"upstream_url":%q,"minimum_age_days":30`, upstream.URL))
	aptRepository(edge, "all", "proxy", `,"members":["mirror"]`)
	for name, want := range map[string]string{"mirror": "403", "all": "404"} {
		c := newApt(t)
		if name == "mirror" {
			c.trusts(edge, name)
		} else {
			c.setUp(edge, name, "stable")
		}
		c.apt("update")
		c.refused("young", want)
		c.apt("install", "-y", "ripe")
		if got := policyOf(edge, "/repository/"+name+"/pool/main/y/young/young_1.0_amd64.deb"); got != want+" too-young" {
			t.Errorf("%s answers %s", name, got)
		}
	}
}

// What a policy of a cache refuses is in no index of a group and can't be
// downloaded, and apt's user reads that it is forbidden.
func TestAptPolicy(t *testing.T) {
	c := newApt(t)
	origin, edge := node.Start(t, node.Options{}), node.Start(t, node.Options{})
	aptRepository(origin, "debs", "hosted", "")
	c.upload(origin, "debs", "stable", debPackage(t, "good", "1.0", "amd64"), debPackage(t, "bad", "1.0", "amd64"))
	upstream := fmt.Sprintf(`,"upstream_url":%q,"upstream_auth":{"username":"admin","password":%q}`, origin.URL+"/repository/debs", node.Password)
	aptRepository(edge, "mirror", "cache", upstream+`,"block_patterns":["^bad@1\\."]`)
	aptRepository(edge, "all", "proxy", `,"members":["mirror"]`)

	c.setUp(edge, "all", "stable")
	c.apt("update")
	if got := c.knows(); got != "good" {
		t.Errorf("a client of the group sees %q", got)
	}
	c.apt("install", "-y", "good")
	const bad = "/pool/main/b/bad/bad_1.0_amd64.deb"
	for name, want := range map[string]string{"mirror": "403 blocked", "all": "404 blocked"} {
		if got := policyOf(edge, "/repository/"+name+bad); got != want {
			t.Errorf("%s answers %s, want %s", name, got, want)
		}
	}

	// The cache itself passes on the index that its upstream has signed.
	direct := newApt(t)
	direct.trusts(edge, "mirror")
	direct.apt("update")
	direct.apt("install", "-y", "good")
	direct.refused("bad", "Failed to fetch "+edge.URL+"/repository/mirror"+bad+"  403")
}
