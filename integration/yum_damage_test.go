package integration_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"granary/integration/node"
)

// bulky is a package of more than is kept in a record.
func bulky(t *testing.T, name string, salt int) string {
	var many []string
	for i := range 3000 {
		many = append(many, fmt.Sprintf("Provides: %s(%x)", name, (salt*3000+i+1)*7919*104729))
	}
	return rpmPackage(t, name, "1.0", many...)
}

// A package whose bytes are gone, cut off or changed on the disk is an error to
// dnf, which installs nothing of it, and is whole again when it was uploaded once
// more.
func TestDamagedPackages(t *testing.T) {
	c := newDnf(t)
	n := node.Start(t, node.Options{})
	yumRepository(n, "rpms", "hosted", "")
	c.setUp(n, "rpms")
	packages := map[string]string{}
	for i, d := range damages {
		packages[d.name] = bulky(t, d.name, i)
		c.upload(n, "rpms", "", packages[d.name])
	}
	c.dnf("makecache")
	for _, d := range damages {
		name := d.name
		damage(t, n, mustRead(t, packages[name]), d.change)
		fails := func(when, want string) {
			t.Helper()
			out, err := c.try("dnf", c.args("install", name)...)
			if err == nil || !strings.Contains(out, want) || !strings.Contains(c.installed(name), "no such file") {
				t.Errorf("%s, %s: %v\n%s", name, when, err, out)
			}
		}
		// What is gone or too short is known when it is opened; what was changed is
		// found by dnf.
		fails("before an audit", "Error downloading packages")
		if got := startCheck(t, n, `{}`).until(t, n); len(got.Result.Findings) == 0 {
			t.Errorf("the audit finds nothing wrong with %s: %+v", name, got)
		}
		fails("after an audit", "Status code: 500 for "+n.URL)
		c.upload(n, "rpms", "", packages[name])
		c.dnf("install", name)
		if got := c.installed(name); got != "1.0" {
			t.Errorf("%s after the next upload: %s", name, got)
		}
	}
}

// Metadata whose bytes are gone, cut off or changed on the disk is made again from
// what is known of the packages when somebody asks for it, or fetched again, like
// a package that a cache has, and dnf notices nothing.
func TestDamagedMetadata(t *testing.T) {
	c := newDnf(t)
	origin, edge := node.Start(t, node.Options{}), node.Start(t, node.Options{})
	yumRepository(origin, "rpms", "hosted", "")
	yumRepository(edge, "mirror", "cache", fmt.Sprintf(`,"upstream_url":%q,"cache_ttl_secs":3600,"upstream_auth":{"username":"admin","password":%q}`, origin.URL+"/repository/rpms", node.Password))
	big := bulky(t, "big", 0)
	c.upload(origin, "rpms", "", big)
	for _, d := range damages {
		name := d.name
		for repository, n := range map[string]*node.Node{"rpms": origin, "mirror": edge} {
			entry := string(n.Want(http.StatusOK, http.MethodGet, "/repository/"+repository+"/repodata/repomd.xml", nil))
			m := regexp.MustCompile(`href="(repodata/[^"]+-primary\.xml\.gz)"`).FindStringSubmatch(entry)
			if m == nil {
				t.Fatalf("no primary in\n%s", entry)
			}
			path := "/repository/" + repository + "/" + m[1]
			whole := n.Want(http.StatusOK, http.MethodGet, path, nil)
			if len(whole) < 17<<10 {
				t.Fatalf("primary has %d bytes and is no file", len(whole))
			}
			n.Stop()
			damage(t, n, whole, d.change)
			n.Restart()
			fresh := newDnf(t)
			fresh.setUp(n, repository)
			if out, err := fresh.try("dnf", fresh.args("makecache")...); err != nil {
				t.Errorf("%s metadata of %s: %v\n%s", name, repository, err, out)
			}
			if got := n.Want(http.StatusOK, http.MethodGet, path, nil); string(got) != string(whole) {
				t.Errorf("%s metadata of %s came back with other bytes", name, repository)
			}
			if repository == "mirror" {
				whole := n.Want(http.StatusOK, http.MethodGet, "/repository/mirror/"+filepath.Base(big), nil)
				n.Stop()
				damage(t, n, whole, d.change)
				n.Restart()
				fresh.dnf("install", "big")
				if got := fresh.installed("big"); got != "1.0" {
					t.Errorf("a package of a cache whose bytes are %s: %s", name, got)
				}
			}
		}
	}
}
