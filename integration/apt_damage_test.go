package integration_test

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"granary/integration/node"
)

// damages are the ways in which a file on the disk goes bad.
var damages = []struct {
	name   string
	change func(string) error
}{{"gone", os.Remove}, {"cut", cut}, {"changed", flip}}

// A package whose bytes are gone or changed on the disk is never installed. In a
// hosted repository the same package uploaded again makes it whole; a cache
// fetches it again at once, and apt notices nothing.
func TestAptDamagedPackages(t *testing.T) {
	c, mirrored := newApt(t), newApt(t)
	origin, edge := node.Start(t, node.Options{}), node.Start(t, node.Options{})
	aptRepository(origin, "debs", "hosted", "")
	aptRepository(edge, "mirror", "cache", fmt.Sprintf(`,"upstream_url":%q,"upstream_auth":{"username":"admin","password":%q}`, origin.URL+"/repository/debs", node.Password))
	debs := map[string]string{}
	for _, d := range damages {
		debs[d.name] = debPackage(t, d.name, "1.0", "amd64", noise())
		c.upload(origin, "debs", "stable", debs[d.name])
	}
	c.setUp(origin, "debs", "stable")
	mirrored.trusts(edge, "mirror")
	c.apt("update")
	mirrored.apt("update")
	for _, d := range damages {
		path := "/pool/main/" + d.name[:1] + "/" + d.name + "/" + d.name + "_1.0_amd64.deb"
		bytes := edge.Want(200, "GET", "/repository/mirror"+path, nil) // there is a copy now
		damage(t, origin, bytes, d.change)
		damage(t, edge, bytes, d.change)

		c.refused(d.name, "Failed to fetch "+origin.URL)
		startCheck(t, origin, `{}`).until(t, origin)
		c.refused(d.name, "500")
		c.upload(origin, "debs", "stable", debs[d.name])
		c.apt("install", "-y", d.name)

		mirrored.apt("install", "-y", d.name)
		if got := c.installed(d.name) + " " + mirrored.installed(d.name); got != "1.0 1.0" {
			t.Errorf("%s: installed %s", d.name, got)
		}
	}
}

// An index whose bytes are gone or changed on the disk is never taken by apt: a
// hosted repository makes it again, at once or after an audit; a cache fetches it
// again at once, as it does InRelease, and apt notices nothing.
func TestAptDamagedIndexes(t *testing.T) {
	origin, edge := node.Start(t, node.Options{}), node.Start(t, node.Options{})
	aptRepository(origin, "debs", "hosted", "")
	aptRepository(edge, "mirror", "cache", fmt.Sprintf(`,"upstream_url":%q,"upstream_auth":{"username":"admin","password":%q}`, origin.URL+"/repository/debs", node.Password))
	for i := range 12 { // so that InRelease is a file
		newApt(t).run("", "curl", "-fsS", "-u", "admin:"+node.Password, "-F", "distribution=stable", "-F", fmt.Sprintf("component=c%d", i),
			"-F", "file=@"+debPackage(t, fmt.Sprintf("other%d", i), "1.0", "amd64"), origin.URL+"/repository/debs/upload")
	}
	want := []string{"first", "second", "third"}
	for _, name := range want {
		newApt(t).upload(origin, "debs", "stable", debPackage(t, name, "1.0", "amd64", noise()))
	}
	for _, d := range damages {
		// A new one each time, so that nothing of it is known.
		want = append(want, "with-"+d.name)
		slices.Sort(want)
		newApt(t).upload(origin, "debs", "stable", debPackage(t, "with-"+d.name, "1.0", "amd64", noise()))
		for repository, n := range map[string]*node.Node{"debs": origin, "mirror": edge} {
			c := newApt(t)
			if repository == "mirror" {
				c.trusts(n, repository)
			} else {
				c.setUp(n, repository, "stable")
			}
			documents := []string{"main/binary-amd64/Packages", "main/binary-amd64/Packages.gz", "main/binary-amd64/Packages.xz"}
			if repository == "mirror" {
				documents = append(documents, "InRelease")
			}
			for _, name := range documents {
				damage(t, n, n.Want(200, "GET", "/repository/"+repository+"/dists/stable/"+name, nil), d.change)
			}
			n.Kill() // what is in memory is right
			n.Restart()
			if repository == "mirror" {
				c.apt("update")
				if got := c.knows(); got != strings.Join(want, " ") {
					t.Errorf("%s: from a cache apt knows %q", d.name, got)
				}
				c.apt("install", "-y", "with-"+d.name)
				for _, name := range documents {
					n.Want(http.StatusOK, "GET", "/repository/mirror/dists/stable/"+name, nil)
				}
				continue
			}
			out, err := c.try(c.root, "apt-get", append(c.options(), "update", "-o", "APT::Update::Error-Mode=any")...)
			switch {
			case err != nil && !strings.Contains(out, "Failed to fetch"):
				t.Errorf("%s, %s: %v\n%s", repository, d.name, err, out)
			case err == nil && c.knows() != strings.Join(want, " "):
				t.Errorf("%s, %s: apt has taken %q", repository, d.name, c.knows())
			}
			startCheck(t, n, `{}`).until(t, n)
			c.apt("update")
			if got := c.knows(); got != strings.Join(want, " ") {
				t.Errorf("%s, %s: after the audit apt knows %q", repository, d.name, got)
			}
			c.apt("install", "-y", "with-"+d.name)
			// Forms that apt did not ask for: who opens one first may find out that it
			// is gone, the next one has it.
			for _, form := range []string{"", ".gz", ".xz"} {
				path := "/repository/" + repository + "/dists/stable/main/binary-amd64/Packages" + form
				if resp, _ := n.Do("GET", path, nil); resp.StatusCode != http.StatusOK {
					n.Want(http.StatusOK, "GET", path, nil)
				}
			}
		}
	}
}
