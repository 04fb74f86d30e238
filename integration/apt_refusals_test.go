package integration_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"granary/integration/node"
)

// Indexes that are compressed in several pieces are read by apt in each form.
func TestAptPieces(t *testing.T) {
	c := newApt(t)
	n := node.Start(t, node.Options{})
	aptRepository(n, "debs", "hosted", "")
	var files []string
	for i := range 6 {
		var text strings.Builder
		text.WriteString("X-Noise:")
		for range 1000 {
			fmt.Fprintf(&text, "\n %016x%016x%016x%016x", rand.Uint64(), rand.Uint64(), rand.Uint64(), rand.Uint64()) //nolint:gosec // no secret
		}
		files = append(files, debPackage(t, fmt.Sprintf("noisy%d", i), "1.0", "amd64", text.String()+"\n"))
	}
	c.upload(n, "debs", "stable", files...)
	c.setUp(n, "debs", "stable")
	c.apt("update")
	if out := c.run(c.root, "apt-cache", append(c.options(), "pkgnames")...); len(strings.Fields(out)) != len(files) {
		t.Errorf("apt knows %q", out)
	}
	// apt's own reader, whichever form apt-get prefers here.
	index := n.URL + "/repository/debs/dists/stable/main/binary-amd64/Packages"
	want := c.run("", "curl", "-fsS", "-u", "admin:"+node.Password, index)
	for _, form := range []string{".xz", ".gz"} {
		file := filepath.Join(c.root, "Packages"+form)
		c.run("", "curl", "-fsSo", file, "-u", "admin:"+node.Password, index+form)
		if got := c.run("", "/usr/lib/apt/apt-helper", "cat-file", file); got != want {
			t.Errorf("%s: apt reads %d bytes, want %d", form, len(got), len(want))
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
