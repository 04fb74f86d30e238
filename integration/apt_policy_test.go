package integration_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"granary/integration/node"
)

// trusts sets a client up for a cache, by the key that its upstream has.
func (c *aptClient) trusts(n *node.Node, repository string) {
	c.t.Helper()
	c.write("etc/apt/keyrings/mirror.asc", c.run("", "curl", "-fsS", "-u", "admin:"+node.Password, n.URL+"/repository/"+repository+"/public.key"))
	c.write("etc/apt/sources.list", fmt.Sprintf("deb [signed-by=%s/etc/apt/keyrings/mirror.asc] %s/repository/%s stable main\n", c.root, n.URL, repository))
	c.write("etc/apt/auth.conf", fmt.Sprintf("machine %s\nlogin admin\npassword %s\n", n.URL, node.Password))
}

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
	if out := c.run(c.root, "apt-cache", append(c.options(), "pkgnames")...); strings.TrimSpace(out) != "good" {
		t.Errorf("a client of the group sees %q", out)
	}
	c.apt("install", "-y", "good")

	// The cache itself passes on the index that its upstream has signed.
	direct := newApt(t)
	direct.write("etc/apt/keyrings/mirror.asc", direct.run("", "curl", "-fsS", "-u", "admin:"+node.Password, edge.URL+"/repository/mirror/public.key"))
	direct.write("etc/apt/sources.list", fmt.Sprintf("deb [signed-by=%s/etc/apt/keyrings/mirror.asc] %s/repository/mirror stable main\n", direct.root, edge.URL))
	direct.write("etc/apt/auth.conf", fmt.Sprintf("machine %s\nlogin admin\npassword %s\n", edge.URL, node.Password))
	direct.apt("update")
	direct.apt("install", "-y", "good")
	out, err := direct.try(direct.root, "apt-get", append(direct.options(), "install", "-y", "bad")...)
	if err == nil || !strings.Contains(out, "Failed to fetch "+edge.URL) || !strings.Contains(out, fmt.Sprint(http.StatusForbidden)) {
		t.Errorf("a blocked package: %v\n%s", err, out)
	}
}
