package integration_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"granary/integration/node"
)

// everybodyReads lets clients read that show no credentials.
func everybodyReads(n *node.Node) {
	n.Want(http.StatusCreated, http.MethodPost, "/api/v1/roles", strings.NewReader(`{"name":"everybody","capabilities":[{"capability":"read","repo":"*"}]}`), "Content-Type", "application/json")
	n.Want(http.StatusOK, http.MethodPut, "/api/v1/users/anonymous", strings.NewReader(`{"roles":["everybody"]}`), "Content-Type", "application/json")
}

// debootstrap runs the program with mounts of its own: whatever it mounts in a
// system is gone when it ends.
func (c *aptClient) debootstrap(args ...string) (string, error) {
	return c.try("", "unshare", append([]string{"--mount", "--propagation", "private", "/usr/sbin/debootstrap", "--variant=minbase", "--arch=amd64", "--force-check-gpg"}, args...)...)
}

// TestDebootstrap makes a system to its end (packages extracted, then installed
// and configured by dpkg within it) with debootstrap's own script for Debian:
// from a hosted repository, from a cache of it, and from the cache when its
// upstream is gone. apt runs in each, trusts the repository's key and installs
// one more package. The system is a small one, of the programs of this machine.
func TestDebootstrap(t *testing.T) {
	c := newApt(t)
	for _, program := range []string{"/usr/sbin/debootstrap", "unshare", "ldd", "mawk"} {
		if _, err := exec.LookPath(program); err != nil {
			need(t, program)
		}
	}
	if os.Geteuid() != 0 {
		need(t, "root, which debootstrap wants")
	}
	origin, edge := node.Start(t, node.Options{}), node.Start(t, node.Options{})
	aptRepository(origin, "debs", "hosted", "")
	system := smallSystem(t)
	c.upload(origin, "debs", "stable", system...)
	c.upload(origin, "debs", "stable", debPackage(t, "wanted", "2.0", "amd64", "Priority: optional\nDepends: wanted-data\n"), debPackage(t, "wanted-data", "2.0", "all", "Priority: optional\n"),
		debPackage(t, "later", "3.0", "amd64", "Priority: optional\n"))
	aptRepository(edge, "mirror", "cache", fmt.Sprintf(`,"upstream_url":%q,"upstream_auth":{"username":"admin","password":%q}`, origin.URL+"/repository/debs", node.Password))
	keyring := filepath.Join(c.root, "keyring.gpg")
	c.run("", "curl", "-fsSo", keyring, "-u", "admin:"+node.Password, origin.URL+"/repository/debs/public.gpg")
	everybodyReads(origin) // debootstrap shows no credentials
	everybodyReads(edge)
	// Without the right key there is no system.
	if out, err := c.debootstrap("--keyring=/dev/null", "stable", filepath.Join(t.TempDir(), "system"), origin.URL+"/repository/debs"); err == nil {
		t.Errorf("debootstrap trusts anybody:\n%s", out)
	}
	for _, from := range []struct {
		name, url string
		before    func()
	}{
		{"hosted", origin.URL + "/repository/debs", func() {}},
		{"cache", edge.URL + "/repository/mirror", func() {}},
		{"cache without its upstream", edge.URL + "/repository/mirror", origin.Kill},
	} {
		from.before()
		target := filepath.Join(t.TempDir(), "system")
		if out, err := c.debootstrap("--include=wanted", "--keyring="+keyring, "stable", target, from.url); err != nil || !strings.Contains(out, "Base system installed successfully") {
			log, _ := os.ReadFile(filepath.Join(target, "debootstrap/debootstrap.log")) //nolint:errcheck // there may be none
			t.Fatalf("%s: %v\n%s\n%s", from.name, err, out, log)
		}
		if got := c.run("", "chroot", target, "dpkg-query", "-W", "-f", "${db:Status-Abbrev}\n"); strings.Count(got, "ii ") != len(system)+2 || len(strings.Fields(got)) != len(system)+2 {
			t.Errorf("%s: of %d packages dpkg says\n%s", from.name, len(system)+2, got)
		}
		if got := c.run("", "chroot", target, "dpkg", "--audit"); got != "" {
			t.Errorf("%s: %s", from.name, got)
		}
		if got := c.run("", "chroot", target, "cat", "/etc/configured"); got != "base-files\n" {
			t.Errorf("%s: its scripts left %q", from.name, got)
		}
		c.aptWithin(target, from.url, keyring)
		if got := c.run("", "chroot", target, "cat", "/usr/share/wanted-data/version", "/usr/share/later/version"); got != "2.0\n3.0\n" {
			t.Errorf("%s: installed %q", from.name, got)
		}
	}
}

// aptWithin updates and installs in a system.
func (c *aptClient) aptWithin(target, url, keyring string) {
	c.t.Helper()
	key, err := os.ReadFile(keyring)
	if err != nil {
		c.t.Fatal(err)
	}
	for name, text := range map[string]string{
		"etc/apt/keyrings/granary.gpg": string(key),
		"etc/apt/sources.list":         "deb [signed-by=/etc/apt/keyrings/granary.gpg] " + url + " stable main\n",
		"etc/apt/apt.conf.d/test":      `Acquire::Languages "none"; Acquire::http::Proxy "DIRECT"; APT::Sandbox::User "root"; Dpkg::Use-Pty "0";` + "\n",
	} {
		path := filepath.Join(target, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			c.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // no secret
			c.t.Fatal(err)
		}
	}
	for _, args := range [][]string{{"update", "-o", "APT::Update::Error-Mode=any"}, {"install", "-y", "later"}} {
		if out := c.run("", "chroot", append([]string{target, "apt-get"}, args...)...); strings.Contains(out, "W: ") || strings.Contains(out, "E: ") {
			c.t.Errorf("apt-get %s in the system:\n%s", args[0], out)
		}
	}
}
