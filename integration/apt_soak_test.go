package integration_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"granary/integration/node"
)

// soakTime is how long publishers and readers go on: $GRANARY_TEST_SOAK, or a
// few seconds.
func soakTime(t *testing.T) time.Duration {
	t.Helper()
	if s := os.Getenv("GRANARY_TEST_SOAK"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatalf("GRANARY_TEST_SOAK: %v", err)
		}
		return d
	}
	if testing.Short() {
		return 4 * time.Second
	}
	return 8 * time.Second
}

// Four publishers upload and delete on two nodes while eight clients update from
// them: no update fails, whatever generation it began with.
func TestAptSoak(t *testing.T) {
	const publishers, readers, packages = 4, 8, 3
	nodes := node.Cluster(t, 2)
	aptRepository(nodes[0], "debs", "hosted", "")
	clients := make([]*aptClient, readers)
	for i := range clients {
		clients[i] = newApt(t)
	}
	clients[0].upload(nodes[0], "debs", "stable", debPackage(t, "anchor", "1.0", "amd64"))
	for i, c := range clients {
		c.setUp(nodes[i%2], "debs", "stable")
	}
	debs := map[string][]byte{}
	for p := range publishers {
		for i := range packages {
			name := fmt.Sprintf("pkg%d-%d", p, i)
			b, err := os.ReadFile(debPackage(t, name, "1.0", "amd64"))
			if err != nil {
				t.Fatal(err)
			}
			debs[name] = b
		}
	}
	until := time.Now().Add(soakTime(t))
	var uploads, updates atomic.Int64
	var wg sync.WaitGroup
	for p := range publishers {
		n := nodes[p%2]
		wg.Go(func() {
			for i := 0; time.Now().Before(until) && !t.Failed(); i++ {
				name := fmt.Sprintf("pkg%d-%d", p, i%packages)
				for _, step := range []struct {
					method, path string
					body         []byte
					want         int
				}{
					{http.MethodPut, "pool/stable/main/upload", debs[name], http.StatusCreated},
					{http.MethodDelete, "pool/main/p/" + name + "/" + name + "_1.0_amd64.deb", nil, http.StatusNoContent},
				} {
					resp, text, err := n.Try(t.Context(), step.method, "/repository/debs/"+step.path, bytes.NewReader(step.body))
					if err != nil || resp.StatusCode != step.want {
						t.Errorf("%s %s: %v\n%.500s", step.method, step.path, err, text)
						return
					}
				}
				uploads.Add(1)
			}
		})
	}
	for _, c := range clients {
		wg.Go(func() {
			for time.Now().Before(until) && !t.Failed() {
				out, err := c.try(c.root, "apt-get", append(c.options(), "update", "-o", "APT::Update::Error-Mode=any")...)
				if err != nil || strings.Contains(out, "W: ") || strings.Contains(out, "E: ") {
					t.Errorf("update %d: %v\n%s", updates.Load(), err, out)
					return
				}
				updates.Add(1)
			}
		})
	}
	wg.Wait()
	t.Logf("%d uploads with a delete each, %d updates", uploads.Load(), updates.Load())
	if uploads.Load() < publishers || updates.Load() < readers {
		t.Errorf("only %d uploads and %d updates", uploads.Load(), updates.Load())
	}
	// In the end everybody sees what there is.
	for _, c := range clients {
		c.apt("update")
		if out := c.run(c.root, "apt-cache", append(c.options(), "pkgnames")...); strings.TrimSpace(out) != "anchor" {
			t.Errorf("a client sees %q in the end", out)
		}
	}
}

// debootstrap finds out what a system is made of, fetches and validates it, from
// a hosted repository and from a cache of it, with packages of the test's own in
// the place of Debian's: they have nothing in them that could be a system.
func TestDebootstrap(t *testing.T) {
	c := newApt(t)
	program := "/usr/sbin/debootstrap"
	if _, err := os.Stat(program); err != nil {
		need(t, "debootstrap")
	}
	if os.Geteuid() != 0 {
		need(t, "root, which debootstrap wants")
	}
	origin, edge := node.Start(t, node.Options{}), node.Start(t, node.Options{})
	aptRepository(origin, "debs", "hosted", "")
	const required = "Priority: required\nEssential: yes\n"
	var files []string
	for _, name := range []string{"base-files", "base-passwd", "dpkg", "libc6", "perl-base", "mawk", "apt"} {
		arch := map[bool]string{true: "all", false: "amd64"}[name == "base-files"]
		files = append(files, debPackage(t, name, "1.0", arch, required))
	}
	files = append(files, debPackage(t, "wanted", "2.0", "amd64", "Priority: optional\nDepends: wanted-data\n"), debPackage(t, "wanted-data", "2.0", "all", "Priority: optional\n"))
	c.upload(origin, "debs", "stable", files...)
	auth := fmt.Sprintf(`,"upstream_url":%q,"upstream_auth":{"username":"admin","password":%q}`, origin.URL+"/repository/debs", node.Password)
	aptRepository(edge, "mirror", "cache", auth)
	keyring := filepath.Join(c.root, "keyring.gpg")
	c.run("", "curl", "-fsSo", keyring, "-u", "admin:"+node.Password, origin.URL+"/repository/debs/public.gpg")
	// debootstrap asks as nobody.
	for _, n := range []*node.Node{origin, edge} {
		n.Want(http.StatusCreated, http.MethodPost, "/api/v1/roles", strings.NewReader(`{"name":"everybody","capabilities":[{"capability":"read","repo":"*"}]}`), "Content-Type", "application/json")
		n.Want(http.StatusOK, http.MethodPut, "/api/v1/users/anonymous", strings.NewReader(`{"roles":["everybody"]}`), "Content-Type", "application/json")
	}
	for _, from := range []string{origin.URL + "/repository/debs", edge.URL + "/repository/mirror"} {
		target := filepath.Join(t.TempDir(), "system")
		c.run("", program, "--variant=minbase", "--download-only", "--arch=amd64", "--include=wanted", "--keyring="+keyring, "--force-check-gpg", "stable", target, from)
		list, err := filepath.Glob(filepath.Join(target, "var/cache/apt/archives/*.deb"))
		if err != nil || len(list) != len(files) {
			t.Errorf("from %s: %d of %d packages, %v", from, len(list), len(files), list)
		}
	}
	// Without the right key there is no system.
	if out, err := c.try("", program, "--variant=minbase", "--download-only", "--arch=amd64", "--keyring=/dev/null", "--force-check-gpg", "stable", filepath.Join(t.TempDir(), "system"), origin.URL+"/repository/debs"); err == nil {
		t.Errorf("debootstrap trusts anybody:\n%s", out)
	}
}
