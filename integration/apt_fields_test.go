package integration_test

import (
	"strings"
	"testing"

	"granary/integration/node"
)

// Fields of a hosted distribution, as apt reads them, also through a group; and
// a package that leaves one distribution.
func TestAptFields(t *testing.T) {
	c := newApt(t)
	n := node.Start(t, node.Options{})
	aptRepository(n, "debs", "hosted", "")
	aptRepository(n, "all", "proxy", `,"members":["debs"]`)
	everybodyReads(n)
	n.Want(201, "PUT", "/repository/debs/dists/bookworm", strings.NewReader(`{"origin":"Example","label":"Example's own","suite":"stable","version":"12.8","not_automatic":true,"but_automatic_upgrades":true}`))
	c.upload(n, "debs", "bookworm", debPackage(t, "hello", "1.0", "amd64"), debPackage(t, "other", "1.0", "amd64"))
	for _, repository := range []string{"debs", "all"} {
		c.setUp(n, repository, "bookworm")
		if out := c.apt("update"); strings.Contains(out, "W:") {
			t.Errorf("%s: apt warns:\n%s", repository, out)
		}
		out := c.run(c.root, "apt-cache", append(c.options(), "policy")...)
		for _, want := range []string{" 100 " + n.URL + "/repository/" + repository, "release v=12.8,o=Example,a=stable,n=bookworm,l=Example's own,c=main,b=amd64"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: apt's policy lacks %q:\n%s", repository, want, out)
			}
		}
	}
	n.Want(204, "DELETE", "/repository/debs/pool/bookworm/main/hello/1.0/amd64", nil)
	c.apt("update")
	if out, err := c.try(c.root, "apt-get", append(c.options(), "install", "-y", "hello")...); err == nil {
		t.Errorf("apt installs what the distribution lists no more:\n%s", out)
	}
	c.apt("install", "-y", "other")
}
