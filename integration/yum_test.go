package integration_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"granary/integration/node"
)

// dnfClient is dnf with a root and a configuration of its own.
type dnfClient struct {
	t    testing.TB
	root string
}

func newDnf(t testing.TB) *dnfClient {
	t.Helper()
	for _, program := range []string{"dnf", "rpm", "rpmbuild", "createrepo_c", "mergerepo_c", "sqlite3", "curl"} {
		if _, err := exec.LookPath(program); err != nil {
			need(t, program)
		}
	}
	c := &dnfClient{t: t, root: t.TempDir()}
	c.write("dnf.conf", fmt.Sprintf(`[main]
gpgcheck=0
plugins=0
best=1
reposdir=%[1]s/repos
cachedir=%[1]s/cache
logdir=%[1]s/log
persistdir=%[1]s/persist
varsdir=%[1]s/vars
module_platform_id=platform:el9
metadata_expire=0
retries=1
`, c.root))
	return c
}

func (c *dnfClient) write(name, text string) {
	c.t.Helper()
	path := filepath.Join(c.root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		c.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil { //nolint:gosec // no secret
		c.t.Fatal(err)
	}
}

func (c *dnfClient) try(name string, args ...string) (string, error) {
	cmd := exec.CommandContext(c.t.Context(), name, args...)
	cmd.Dir = c.root
	cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME="+c.root, "http_proxy=", "HTTP_PROXY=", "https_proxy=", "HTTPS_PROXY=")
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func (c *dnfClient) run(name string, args ...string) string {
	c.t.Helper()
	out, err := c.try(name, args...)
	if err != nil {
		c.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// setUp adds a repository by the file that it offers for that, with the
// credentials of a private one.
func (c *dnfClient) setUp(n *node.Node, repository string) {
	c.t.Helper()
	name := filepath.Base(repository)
	text := c.run("curl", "-fsS", "-u", "admin:"+node.Password, n.URL+"/repository/"+repository+"/"+name+".repo")
	c.write("repos/"+name+".repo", text+"username=admin\npassword="+node.Password+"\n")
}

func (c *dnfClient) args(args ...string) []string {
	return append([]string{
		"-y", "-c", filepath.Join(c.root, "dnf.conf"), "--installroot=" + filepath.Join(c.root, "root"),
		"--releasever=9", "--forcearch=x86_64",
	}, args...)
}

func (c *dnfClient) dnf(args ...string) string {
	c.t.Helper()
	return c.run("dnf", c.args(args...)...)
}

func (c *dnfClient) installed(name string) string {
	b, err := os.ReadFile(filepath.Join(c.root, "root/usr/share", name, "version"))
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b))
}

// rpmPackage builds a package with a file that says what it is.
func rpmPackage(t testing.TB, name, version string, preamble ...string) string {
	t.Helper()
	dir := t.TempDir()
	spec := fmt.Sprintf(`Name: %[1]s
Version: %[2]s
Release: 1
Summary: A test
License: MIT
BuildArch: noarch
%[3]s
%%description
A test of <things> & such.
%%install
mkdir -p %%{buildroot}/usr/share/%[1]s %%{buildroot}/etc
echo %[2]s >%%{buildroot}/usr/share/%[1]s/version
echo x >%%{buildroot}/etc/%[1]s.conf
%%files
/usr/share/%[1]s
/etc/%[1]s.conf
%%ghost /usr/share/%[1]s/state
%%changelog
* Sun Nov 22 2026 A <a@example.com> - %[2]s-1
- Second & last.
* Sat Nov 21 2026 A <a@example.com> - 0-1
- First.
`, name, version, strings.Join(preamble, "\n"))
	path := filepath.Join(dir, name+".spec")
	if err := os.WriteFile(path, []byte(spec), 0o644); err != nil { //nolint:gosec // no secret
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "rpmbuild", "-ba", "--define", "_topdir "+dir, "--define", "_build_id_links none", path)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "HOME="+dir)
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("rpmbuild: %v\n%s", err, b)
	}
	return filepath.Join(dir, "RPMS/noarch", fmt.Sprintf("%s-%s-1.noarch.rpm", name, version))
}

// sourceOf is the source package that rpmPackage built beside a package.
func sourceOf(path string) string {
	return filepath.Join(filepath.Dir(path), "../../SRPMS", strings.TrimSuffix(filepath.Base(path), "noarch.rpm")+"src.rpm")
}

// upload puts packages into a directory of a repository.
func (c *dnfClient) upload(n *node.Node, repository, directory string, files ...string) {
	c.t.Helper()
	for _, f := range files {
		url := n.URL + "/repository/" + repository + "/" + directory + filepath.Base(f)
		c.run("curl", "-fsS", "-u", "admin:"+node.Password, "-T", f, url)
	}
}

func yumRepository(n *node.Node, name, kind, more string) {
	n.Create(fmt.Sprintf(`{"name":%q,"repo_type":%q,"format":"yum"%s}`, name, kind, more))
}

// A package is uploaded, found, installed and upgraded; then the same through
// a cache whose upstream is killed, and through a group that signs for both.
func TestYum(t *testing.T) {
	c := newDnf(t)
	origin, edge := node.Start(t, node.Options{}), node.Start(t, node.Options{})
	yumRepository(origin, "rpms", "hosted", "")
	c.upload(origin, "rpms", "Packages/", rpmPackage(t, "hello", "1.0", "Requires: hello-data >= 1.0", "Recommends: extra"), rpmPackage(t, "hello-data", "1.0"))

	c.setUp(origin, "rpms")
	c.dnf("makecache")
	c.dnf("install", "hello")
	if got := c.installed("hello") + " " + c.installed("hello-data"); got != "1.0 1.0" {
		t.Errorf("installed %s", got)
	}
	// A client that looks after the upload was answered sees it.
	c.upload(origin, "rpms", "Packages/", rpmPackage(t, "hello", "1.1", "Requires: hello-data"))
	c.dnf("upgrade", "--refresh")
	if got := c.installed("hello"); got != "1.1" {
		t.Errorf("upgraded to %s", got)
	}
	if out := c.dnf("provides", "/usr/share/hello-data/version"); !strings.Contains(out, "hello-data-1.0-1.noarch") {
		t.Errorf("dnf provides: %s", out)
	}
	if out := c.run("rpm", "--root", filepath.Join(c.root, "root"), "-V", "--nodeps", "hello"); strings.Contains(out, "5") {
		t.Errorf("rpm -V: %s", out)
	}

	yumRepository(edge, "mirror", "cache", fmt.Sprintf(`,"upstream_url":%q,"cache_ttl_secs":1,"upstream_auth":{"username":"admin","password":%q}`,
		origin.URL+"/repository/rpms", node.Password))
	yumRepository(edge, "own", "hosted", "")
	yumRepository(edge, "all", "proxy", `,"members":["own","mirror"]`)
	mirrored := newDnf(t)
	mirrored.setUp(edge, "mirror")
	mirrored.dnf("makecache")
	mirrored.dnf("install", "hello")
	mirrored.upload(edge, "own", "", rpmPackage(t, "extra", "3.0"))
	grouped := newDnf(t)
	grouped.setUp(edge, "all")
	grouped.dnf("install", "hello", "extra")

	origin.Kill()
	again := newDnf(t)
	again.setUp(edge, "mirror")
	again.dnf("makecache")
	again.dnf("install", "hello")
	grouped.dnf("makecache", "--refresh")
	for name, got := range map[string]string{
		"mirror": mirrored.installed("hello"), "mirror without its upstream": again.installed("hello"),
		"group": grouped.installed("hello") + " " + grouped.installed("extra"),
	} {
		if want := map[bool]string{true: "1.1 3.0", false: "1.1"}[name == "group"]; got != want {
			t.Errorf("%s installed %s, want %s", name, got, want)
		}
	}
	for _, client := range []*dnfClient{c, mirrored, grouped, again} {
		b, err := filepath.Glob(filepath.Join(client.root, "repos/*.repo"))
		if err != nil || len(b) != 1 {
			t.Fatalf("%v %v", b, err)
		}
		text, err := os.ReadFile(b[0])
		if err != nil || !strings.Contains(string(text), "repo_gpgcheck=1\n") {
			t.Errorf("metadata is not verified: %s, %v", text, err)
		}
	}
}
