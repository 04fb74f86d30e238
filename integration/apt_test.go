package integration_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"granary/integration/node"
)

// aptClient is apt with a root of its own, which trusts what a setup script
// said and nothing else.
type aptClient struct {
	t    *testing.T
	root string
}

func newApt(t *testing.T) *aptClient {
	t.Helper()
	for _, program := range []string{"apt-get", "dpkg-deb", "dpkg-source", "gpgv", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			need(t, program)
		}
	}
	c := &aptClient{t: t, root: t.TempDir()}
	for _, dir := range []string{"etc/apt/apt.conf.d", "etc/apt/preferences.d", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial", "var/lib/dpkg/updates", "var/lib/dpkg/info", "var/log/apt"} {
		if err := os.MkdirAll(filepath.Join(c.root, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c.write("var/lib/dpkg/status", "")
	c.write("var/lib/dpkg/available", "")
	return c
}

func (c *aptClient) write(name, text string) {
	c.t.Helper()
	path := filepath.Join(c.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // no secret
		c.t.Fatal(err)
	}
}

// setUp adds a repository by its own script. What authorises a client is given
// to apt's configuration, which the script leaves alone.
func (c *aptClient) setUp(n *node.Node, repository, distribution string, components ...string) {
	c.t.Helper()
	url := n.URL + "/repository/" + repository
	script := c.run("", "curl", "-fsS", "-u", "admin:"+node.Password, url+"/setup.sh")
	c.write("setup.sh", script)
	c.run("", "env", append([]string{"APT_CONFIG_DIR=" + filepath.Join(c.root, "etc/apt"), "sh", filepath.Join(c.root, "setup.sh"), distribution}, components...)...)
	list, err := filepath.Glob(filepath.Join(c.root, "etc/apt/sources.list.d/*.sources"))
	if err != nil || len(list) == 0 {
		c.t.Fatalf("the setup script left no sources: %v", err)
	}
	for _, name := range list {
		b, err := os.ReadFile(name)
		if err != nil {
			c.t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(strings.Replace(string(b), "Types: deb\n", "Types: deb deb-src\n", 1)), 0o644); err != nil { //nolint:gosec // no secret
			c.t.Fatal(err)
		}
	}
	c.write("etc/apt/auth.conf", fmt.Sprintf("machine %s\nlogin admin\npassword %s\n", n.URL, node.Password))
}

// trusts sets a client up for a cache, by the key that its upstream has.
func (c *aptClient) trusts(n *node.Node, repository string) {
	c.t.Helper()
	c.write("etc/apt/keyrings/mirror.asc", c.run("", "curl", "-fsS", "-u", "admin:"+node.Password, n.URL+"/repository/"+repository+"/public.key"))
	c.write("etc/apt/sources.list", fmt.Sprintf("deb [signed-by=%s/etc/apt/keyrings/mirror.asc] %s/repository/%s stable main\n", c.root, n.URL, repository))
	c.write("etc/apt/auth.conf", fmt.Sprintf("machine %s\nlogin admin\npassword %s\n", n.URL, node.Password))
}

func (c *aptClient) run(dir, name string, args ...string) string {
	c.t.Helper()
	out, err := c.try(dir, name, args...)
	if err != nil {
		c.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func (c *aptClient) try(dir, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(c.t.Context(), name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive", "http_proxy=", "HTTP_PROXY=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// apt runs apt-get within the root.
func (c *aptClient) apt(args ...string) string {
	c.t.Helper()
	out, err := c.try(c.root, "apt-get", append(c.options(), args...)...)
	if err != nil || strings.Contains(out, "\nW: ") || strings.HasPrefix(out, "W: ") {
		c.t.Fatalf("apt-get %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func (c *aptClient) options() []string {
	var out []string
	for _, o := range []string{
		"Dir=" + c.root, "Dir::Etc=" + filepath.Join(c.root, "etc/apt"), "Dir::State=" + filepath.Join(c.root, "var/lib/apt"),
		"Dir::State::status=" + filepath.Join(c.root, "var/lib/dpkg/status"), "Dir::Cache=" + filepath.Join(c.root, "var/cache/apt"),
		"Dir::Log=" + filepath.Join(c.root, "var/log/apt"), "Dir::Bin::methods=/usr/lib/apt/methods", "Dir::Bin::dpkg=/usr/bin/dpkg",
		"APT::Architecture=amd64", "APT::Architectures::=amd64", "Acquire::Languages=none", "APT::Sandbox::User=root", "Acquire::Retries=0",
		"Acquire::http::Proxy=DIRECT", "Dpkg::Options::=--root=" + c.root, "Dpkg::Options::=--force-script-chrootless", "Dpkg::Use-Pty=0",
		"Acquire::AllowInsecureRepositories=false", "DPkg::Lock::Timeout=400",
	} {
		out = append(out, "-o", o)
	}
	return out
}

// debPackage builds a package with a file that says what it is.
func debPackage(t *testing.T, name, version, arch string, extra ...string) string {
	t.Helper()
	dir := t.TempDir()
	for path, text := range map[string]string{
		"DEBIAN/control": fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: A <a@example.com>\nDescription: a test\n%s",
			name, version, arch, strings.Join(extra, "")),
		"usr/share/" + name + "/version": version + "\n",
	} {
		path = filepath.Join(dir, "root", path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // no secret
			t.Fatal(err)
		}
	}
	out := filepath.Join(dir, name+".deb")
	if b, err := exec.CommandContext(t.Context(), "dpkg-deb", "--root-owner-group", "--build", filepath.Join(dir, "root"), out).CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb: %v\n%s", err, b)
	}
	return out
}

func (c *aptClient) upload(n *node.Node, repository, distribution string, files ...string) {
	c.t.Helper()
	args := []string{"-fsS", "-u", "admin:" + node.Password, "-F", "distribution=" + distribution}
	for _, f := range files {
		args = append(args, "-F", "file=@"+f)
	}
	c.run("", "curl", append(args, n.URL+"/repository/"+repository+"/upload")...)
}

func (c *aptClient) installed(name string) string {
	b, err := os.ReadFile(filepath.Join(c.root, "usr/share", name, "version"))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

func aptRepository(n *node.Node, name, kind, more string) {
	n.Create(fmt.Sprintf(`{"name":%q,"repo_type":%q,"format":"apt"%s}`, name, kind, more))
}

// A package is uploaded, found, installed and upgraded; then the same through
// a cache whose upstream is killed, and through a group that signs for both.
func TestApt(t *testing.T) {
	c := newApt(t)
	origin, edge := node.Start(t, node.Options{}), node.Start(t, node.Options{})
	aptRepository(origin, "debs", "hosted", "")
	c.upload(origin, "debs", "stable", debPackage(t, "hello", "1.0", "amd64", "Depends: hello-data\n"), debPackage(t, "hello-data", "1.0", "all"))

	c.setUp(origin, "debs", "stable")
	c.apt("update")
	c.apt("install", "-y", "hello")
	if got := c.installed("hello") + " " + c.installed("hello-data"); got != "1.0 1.0" {
		t.Errorf("installed %s", got)
	}
	// A client that updates after the upload was answered sees it.
	c.upload(origin, "debs", "stable", debPackage(t, "hello", "1.1", "amd64", "Depends: hello-data\n"))
	c.apt("update")
	c.apt("install", "-y", "hello")
	if got := c.installed("hello"); got != "1.1" {
		t.Errorf("upgraded to %s", got)
	}
	// Which package has a file is asked for as apt-file does.
	const target = "Acquire::IndexTargets::deb::Contents-deb::"
	if out := c.apt("update", "-o", target+"MetaKey=$(COMPONENT)/Contents-$(ARCHITECTURE)", "-o", target+"ShortDescription=Contents", "-o", target+"Description=Contents"); !strings.Contains(out, "Contents") {
		t.Errorf("apt has no Contents:\n%s", out)
	}
	c.sources(origin)

	mirrored := newApt(t)
	aptRepository(edge, "mirror", "cache", fmt.Sprintf(`,"upstream_url":%q,"cache_ttl_secs":1,"upstream_auth":{"username":"admin","password":%q}`,
		origin.URL+"/repository/debs", node.Password))
	aptRepository(edge, "own", "hosted", "")
	aptRepository(edge, "all", "proxy", `,"members":["own","mirror"]`)
	// The mirror passes its upstream's signatures on, and the upstream's key.
	mirrored.trusts(edge, "mirror")
	mirrored.apt("update")
	mirrored.apt("install", "-y", "hello")
	if got := string(edge.Want(200, "GET", "/repository/mirror/distributions", nil)); got != "[\"stable\"]\n" {
		t.Errorf("distributions of the upstream: %s", got)
	}
	edge.Want(404, "GET", "/repository/mirror/setup.sh", nil) // that of the upstream would lead past the mirror

	mirrored.upload(edge, "own", "stable", debPackage(t, "extra", "3.0", "amd64"))
	// Another distribution has the same version with other bytes, at the same
	// path of a pool before the mirror's.
	mirrored.upload(edge, "own", "testing", debPackage(t, "hello", "1.1", "amd64", "Homepage: http://registry.example.com\n"))
	grouped := newApt(t)
	grouped.setUp(edge, "all", "stable")
	grouped.apt("update")
	grouped.apt("install", "-y", "hello", "extra", "hello-data")
	grouped.apt("source", "thing")
	rebuilt := newApt(t)
	rebuilt.setUp(edge, "all", "testing")
	rebuilt.apt("update")
	rebuilt.apt("install", "-y", "hello")

	origin.Kill()
	again := newApt(t)
	again.trusts(edge, "mirror")
	again.apt("update")
	again.apt("install", "-y", "hello")
	grouped.apt("update")
	for name, got := range map[string]string{
		"mirror": mirrored.installed("hello"), "mirror without its upstream": again.installed("hello"),
		"group": grouped.installed("hello") + " " + grouped.installed("extra"), "another distribution of the group": rebuilt.installed("hello"),
	} {
		if want := map[bool]string{true: "1.1 3.0", false: "1.1"}[name == "group"]; got != want {
			t.Errorf("%s installed %s, want %s", name, got, want)
		}
	}
}

// When the last package of a distribution is deleted clients see that it is
// empty, and go on.
func TestAptEmptied(t *testing.T) {
	c := newApt(t)
	n := node.Start(t, node.Options{})
	aptRepository(n, "debs", "hosted", "")
	aptRepository(n, "all", "proxy", `,"members":["debs"]`)
	c.upload(n, "debs", "stable", debPackage(t, "hello", "1.0", "amd64"))
	grouped := newApt(t)
	c.setUp(n, "debs", "stable")
	grouped.setUp(n, "all", "stable")
	for _, client := range []*aptClient{c, grouped} {
		client.apt("update")
	}
	n.Want(204, "DELETE", "/repository/debs/pool/main/h/hello/hello_1.0_amd64.deb", nil)
	for _, client := range []*aptClient{c, grouped} {
		client.apt("update")
		if got := client.knows(); got != "" {
			t.Errorf("apt knows %q", got)
		}
	}
	c.upload(n, "debs", "stable", debPackage(t, "hello", "1.1", "amd64"))
	for _, client := range []*aptClient{c, grouped} {
		client.apt("update")
		client.apt("install", "-y", "hello")
	}
	n.Want(204, "DELETE", "/repository/debs/dists/stable", nil)
	n.Want(404, "GET", "/repository/debs/dists/stable/InRelease", nil)
}

// While keys are rotated a client that trusts only the old one can verify; when
// that is ended it has to be told of the new one.
func TestAptKeys(t *testing.T) {
	c := newApt(t)
	n := node.Start(t, node.Options{})
	aptRepository(n, "debs", "hosted", "")
	c.upload(n, "debs", "stable", debPackage(t, "hello", "1.0", "amd64"))
	c.setUp(n, "debs", "stable")
	c.apt("update")
	keys := func() (out []struct{ Fingerprint, Algorithm, Until string }) {
		t.Helper()
		if err := json.Unmarshal(n.Want(200, "GET", "/api/v1/repositories/debs/signing-keys", nil), &out); err != nil {
			t.Fatal(err)
		}
		return out
	}
	if k := keys(); len(k) != 1 || k[0].Algorithm != "ed25519" || k[0].Until != "" {
		t.Fatalf("keys %+v", k)
	}
	n.Want(201, "POST", "/api/v1/repositories/debs/signing-keys", strings.NewReader(`{"algorithm":"rsa4096","overlap_days":7}`), "Content-Type", "application/json")
	k := keys()
	if len(k) != 2 || k[0].Algorithm != "rsa4096" || k[1].Until == "" {
		t.Fatalf("keys %+v", k)
	}
	c.upload(n, "debs", "stable", debPackage(t, "hello", "1.1", "amd64"))
	c.apt("update")
	c.apt("install", "-y", "hello")
	if got := c.installed("hello"); got != "1.1" {
		t.Errorf("installed %s", got)
	}
	n.Want(400, "DELETE", "/api/v1/repositories/debs/signing-keys/"+k[0].Fingerprint, nil)
	n.Want(204, "DELETE", "/api/v1/repositories/debs/signing-keys/"+k[1].Fingerprint, nil)
	n.Want(404, "DELETE", "/api/v1/repositories/debs/signing-keys/"+k[1].Fingerprint, nil)
	if out, err := c.try(c.root, "apt-get", append(c.options(), "update", "-o", "APT::Update::Error-Mode=any")...); err == nil || !strings.Contains(out, "NO_PUBKEY") {
		t.Errorf("apt took a signature of a key that it does not trust: %v\n%s", err, out)
	}
	c.setUp(n, "debs", "stable")
	c.apt("update")
	for body, status := range map[string]int{
		`{"algorithm":"dsa"}`: 400, `{"private_key":"x"}`: 400, `{"overlap_days":-1}`: 400, `{"overlap_days":"x"}`: 422,
	} {
		n.Want(status, "POST", "/api/v1/repositories/debs/signing-keys", strings.NewReader(body), "Content-Type", "application/json")
	}
}

// sources uploads a source package and has apt fetch and unpack it.
func (c *aptClient) sources(n *node.Node) {
	c.t.Helper()
	dir := c.t.TempDir()
	tree := filepath.Join(dir, "thing-1.0")
	for name, text := range map[string]string{
		"debian/control":       "Source: thing\nMaintainer: A <a@example.com>\nStandards-Version: 4.6.0\n\nPackage: thing\nArchitecture: all\nDescription: a test\n",
		"debian/changelog":     "thing (1.0) stable; urgency=low\n\n  * First.\n\n -- A <a@example.com>  Sun, 22 Nov 2026 10:00:00 +0000\n",
		"debian/source/format": "3.0 (native)\n",
		"hello.c":              "int main(void) { return 0; }\n",
	} {
		path := filepath.Join(tree, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			c.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // no secret
			c.t.Fatal(err)
		}
	}
	c.run(dir, "dpkg-source", "-b", tree)
	c.upload(n, "debs", "stable", filepath.Join(dir, "thing_1.0.dsc"), filepath.Join(dir, "thing_1.0.tar.xz"))
	c.apt("update")
	c.apt("source", "thing")
	if _, err := os.Stat(filepath.Join(c.root, "thing-1.0/hello.c")); err != nil {
		c.t.Errorf("apt-get source: %v", err)
	}
}
