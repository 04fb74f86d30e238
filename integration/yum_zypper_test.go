package integration_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"granary/integration/node"
)

// zypper runs zypper in the client's root. It takes credentials from a file that
// the URL names.
func (c *dnfClient) zypper(args ...string) (string, error) {
	root := filepath.Join(c.root, "root")
	return c.try("zypper", append([]string{"--non-interactive", "--gpg-auto-import-keys", "--root", root}, args...)...)
}

func (c *dnfClient) zypped(args ...string) string {
	c.t.Helper()
	out, err := c.zypper(args...)
	if err != nil {
		c.t.Fatalf("zypper %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

func newZypper(t *testing.T) *dnfClient {
	t.Helper()
	c := newDnf(t)
	if _, err := exec.LookPath("zypper"); err != nil {
		need(t, "zypper")
	}
	c.write("root/etc/zypp/credentials.d/granary", "username=admin\npassword="+node.Password+"\n")
	return c
}

// addRepo adds a repository by its .repo file, at the address of a node or of
// what stands before it.
func (c *dnfClient) addRepo(n *node.Node, at, name string) {
	c.t.Helper()
	text := string(n.Want(http.StatusOK, http.MethodGet, "/repository/"+name+"/"+name+".repo", nil))
	base := "baseurl=" + n.URL + "/repository/" + name + "/"
	if !strings.Contains(text, base+"\n") || !strings.Contains(text, "repo_gpgcheck=1\n") {
		c.t.Fatalf("the .repo file:\n%s", text)
	}
	text = strings.Replace(text, base, base+"?credentials=granary", 1)
	c.write(name+".repo", strings.ReplaceAll(text, n.URL, at))
	c.zypped("addrepo", "--refresh", filepath.Join(c.root, name+".repo"))
}

// zypper, which knows baseurl only, installs from a hosted repository, from a
// cache whose upstream is gone, and from a group; all are private, and their
// metadata is verified.
func TestZypper(t *testing.T) {
	c := newZypper(t)
	origin, edge := node.Start(t, node.Options{}), node.Start(t, node.Options{})
	yumRepository(origin, "rpms", "hosted", "")
	c.upload(origin, "rpms", "Packages/", rpmPackage(t, "hello", "1.0", "Requires: (hello-data >= 1.0 if hello)", "Requires: hello-data"), rpmPackage(t, "hello-data", "1.0"))
	c.addRepo(origin, origin.URL, "rpms")
	c.zypped("refresh")
	for what, want := range map[string]string{"hello-data >= 1.0": "hello-data", "/etc/hello.conf": "hello"} {
		if out := c.zypped("search", "--provides", what); !strings.Contains(out, "| "+want+" ") {
			t.Errorf("what provides %s:\n%s", what, out)
		}
	}
	c.zypped("install", "hello")
	if got := c.installed("hello") + " " + c.installed("hello-data"); got != "1.0 1.0" {
		t.Errorf("installed %s", got)
	}
	// Whoever looks after the upload was answered sees it.
	c.upload(origin, "rpms", "Packages/", rpmPackage(t, "hello", "1.1", "Requires: hello-data"))
	c.zypped("refresh")
	c.zypped("update")
	if got := c.installed("hello"); got != "1.1" {
		t.Errorf("updated to %s", got)
	}

	yumRepository(edge, "mirror", "cache", fmt.Sprintf(`,"upstream_url":%q,"upstream_auth":{"username":"admin","password":%q}`, origin.URL+"/repository/rpms", node.Password))
	yumRepository(edge, "own", "hosted", "")
	yumRepository(edge, "all", "proxy", `,"members":["own","mirror"]`)
	c.upload(edge, "own", "", rpmPackage(t, "extra", "3.0"))
	for _, name := range []string{"mirror", "all"} {
		warm := newZypper(t)
		warm.addRepo(edge, edge.URL, name)
		warm.zypped("refresh")
		warm.zypped("install", "hello")
	}
	origin.Kill()
	for name, want := range map[string]string{"mirror": "1.1", "all": "1.1 3.0"} {
		client := newZypper(t)
		client.addRepo(edge, edge.URL, name)
		client.zypped("refresh")
		client.zypped("install", "hello")
		got := client.installed("hello")
		if name == "all" {
			client.zypped("install", "extra")
			got += " " + client.installed("extra")
		}
		if got != want {
			t.Errorf("%s without its upstream: installed %s, want %s", name, got, want)
		}
	}
}

// zypper refuses metadata that was changed on its way, wherever it got the
// repository's URL from: by the .repo file it must be signed, by the URL alone
// it must be if there is a signature.
func TestZypperVerifies(t *testing.T) {
	c := newZypper(t)
	n := node.Start(t, node.Options{})
	yumRepository(n, "rpms", "hosted", "")
	c.upload(n, "rpms", "", rpmPackage(t, "hello", "1.0"))
	u, err := url.Parse(n.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httputil.NewSingleHostReverseProxy(u)
	proxy.ModifyResponse = func(r *http.Response) error {
		if !strings.HasSuffix(r.Request.URL.Path, "/repomd.xml") || r.Request.Method != http.MethodGet {
			return nil
		}
		var b bytes.Buffer
		if _, err := b.ReadFrom(r.Body); err != nil {
			return err
		}
		changed := bytes.Replace(b.Bytes(), []byte("<timestamp>"), []byte("<timestamp>9"), 1)
		r.Header.Set("Content-Length", strconv.Itoa(len(changed)))
		r.ContentLength, r.Body = int64(len(changed)), io.NopCloser(bytes.NewReader(changed))
		return nil
	}
	between := httptest.NewServer(proxy)
	defer between.Close()

	// The plain URL.
	direct := newZypper(t)
	direct.zypped("addrepo", "--refresh", n.URL+"/repository/rpms/?credentials=granary", "rpms")
	direct.zypped("refresh")
	direct.zypped("install", "hello")
	if got := direct.installed("hello"); got != "1.0" {
		t.Errorf("by the plain URL: installed %s", got)
	}
	byURL := newZypper(t)
	byURL.zypped("addrepo", "--refresh", between.URL+"/repository/rpms/?credentials=granary", "rpms")
	c.addRepo(n, between.URL, "rpms")
	for how, client := range map[string]*dnfClient{"the URL": byURL, "the .repo file": c} {
		out, err := client.zypper("refresh")
		if err == nil || !strings.Contains(out, "Signature verification failed") {
			t.Errorf("changed metadata by %s: %v\n%s", how, err, out)
		}
		if out, err := client.zypper("install", "hello"); err == nil {
			t.Errorf("installed from changed metadata by %s:\n%s", how, out)
		}
		if _, err := os.Stat(filepath.Join(client.root, "root/usr/share/hello")); err == nil {
			t.Errorf("installed from changed metadata by %s", how)
		}
	}
	// Without credentials it sees nothing.
	stranger := newDnf(t)
	stranger.zypped("addrepo", "--refresh", n.URL+"/repository/rpms/", "rpms")
	if out, err := stranger.zypper("refresh"); err == nil || !strings.Contains(out, "Login failed") {
		t.Errorf("without credentials: %v\n%s", err, out)
	}
}
