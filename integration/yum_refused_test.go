package integration_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"granary/integration/node"
)

// What is put away, or has gone bad on the disk, can't be installed, and dnf
// says why as far as it can.
func TestYumRefused(t *testing.T) {
	c := newDnf(t)
	origin, edge := node.Start(t, node.Options{}), node.Start(t, node.Options{})
	yumRepository(origin, "rpms", "hosted", "")
	// Longer than what is kept in a record.
	var many []string
	for i := range 900 {
		many = append(many, fmt.Sprintf("Provides: rotten(%d-%x)", i, i*7919+104729))
	}
	rotten := rpmPackage(t, "rotten", "1.0", many...)
	c.upload(origin, "rpms", "", rpmPackage(t, "hello", "1.0"), rpmPackage(t, "hello", "1.1"), rotten)
	yumRepository(edge, "mirror", "cache", fmt.Sprintf(`,"upstream_url":%q,"upstream_auth":{"username":"admin","password":%q}`, origin.URL+"/repository/rpms", node.Password))
	mirrored := newDnf(t)
	c.setUp(origin, "rpms")
	mirrored.setUp(edge, "mirror")

	const put = "/api/v1/repositories/%s/quarantine"
	quarantine := func(n *node.Node, repository string) {
		n.Want(http.StatusCreated, http.MethodPost, fmt.Sprintf(put, repository), strings.NewReader(`{"item":"hello@1.1-1","reason":"CVE-2026-1"}`), "Content-Type", "application/json")
	}
	fails := func(c *dnfClient, want string, args ...string) {
		t.Helper()
		out, err := c.try("dnf", c.args(args...)...)
		if err == nil || !strings.Contains(out, want) {
			t.Errorf("dnf %s: %v, without %q in\n%s", strings.Join(args, " "), err, want, out)
		}
	}
	// What an upstream has signed names it still: the download is refused.
	quarantine(edge, "mirror")
	fails(mirrored, "403", "--refresh", "install", "hello")
	mirrored.dnf("install", "hello-1.0")
	// Here it is left out of the metadata.
	quarantine(origin, "rpms")
	fails(c, "No match for argument: hello-1.1", "--refresh", "install", "hello-1.1")
	c.dnf("install", "hello")
	if got := c.installed("hello"); got != "1.0" {
		t.Errorf("installed %s beside the quarantine", got)
	}
	origin.Want(http.StatusNoContent, http.MethodDelete, fmt.Sprintf(put, "rpms")+"/hello@1.1-1", nil)
	c.dnf("--refresh", "upgrade")
	if got := c.installed("hello"); got != "1.1" {
		t.Errorf("upgraded to %s after the quarantine", got)
	}

	if n := spoil(t, origin.Data, mustRead(t, rotten)); n == 0 {
		t.Fatal("no file has the package")
	}
	// dnf itself finds out; a cache does not keep it; and it is not served any
	// more when an audit has found it.
	fails(c, "checksum doesn't match", "install", "rotten")
	fails(mirrored, "502", "install", "rotten")
	if got := startCheck(t, origin, `{}`).until(t, origin); got.Result.Mismatched != 1 {
		t.Errorf("the audit found %+v", got.Result)
	}
	fails(c, "500", "install", "rotten")
	for _, client := range []*dnfClient{c, mirrored} {
		if got := client.installed("rotten"); !strings.Contains(got, "no such file") {
			t.Errorf("bad bytes were installed: %s", got)
		}
	}
	// The same package again makes it whole.
	c.upload(origin, "rpms", "", rotten)
	c.dnf("install", "rotten")
	mirrored.dnf("install", "rotten")
}

// spoil changes a byte in the files below a directory that hold data, and tells
// how many there are.
func spoil(t *testing.T, dir string, data []byte) int {
	t.Helper()
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(b, data) {
			return err
		}
		n++
		b[len(b)-1] ^= 1
		if err := os.Chmod(path, 0o600); err != nil {
			return err
		}
		return os.WriteFile(path, b, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// Metadata in zchunk comes through a cache byte by byte and in ranges, which is
// how it is asked for; a group, which writes metadata anew, has none.
func TestYumZchunk(t *testing.T) {
	c := newDnf(t)
	dir := filepath.Join(c.root, "upstream")
	c.write("upstream/hello-1.0-1.noarch.rpm", string(mustRead(t, rpmPackage(t, "hello", "1.0"))))
	if out, err := c.try("createrepo_c", "--zck", dir); err != nil {
		need(t, "a createrepo_c that makes zchunk: "+out)
	}
	upstream := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer upstream.Close()
	n := node.Start(t, node.Options{})
	yumRepository(n, "mirror", "cache", fmt.Sprintf(`,"upstream_url":%q`, upstream.URL))
	yumRepository(n, "all", "proxy", `,"members":["mirror"]`)

	entry := n.Want(200, "GET", "/repository/mirror/repodata/repomd.xml", nil)
	if want := mustRead(t, filepath.Join(dir, "repodata/repomd.xml")); !bytes.Equal(entry, want) {
		t.Error("repomd.xml is another")
	}
	chunked := regexp.MustCompile(`href="(repodata/[^"]+\.zck)"`).FindAllStringSubmatch(string(entry), -1)
	if len(chunked) != 3 || !strings.Contains(string(entry), `type="primary_zck"`) {
		t.Fatalf("the upstream has %d zchunk documents:\n%s", len(chunked), entry)
	}
	for i, m := range chunked {
		want, path := mustRead(t, filepath.Join(dir, m[1])), "/repository/mirror/"+m[1]
		// A client reads the header first, then the chunks that it lacks, with and
		// without the document being here.
		for range 2 {
			resp, body := n.Do("GET", path, nil, "Range", "bytes=0-88")
			if resp.StatusCode != http.StatusPartialContent || !bytes.Equal(body, want[:min(89, len(want))]) {
				t.Errorf("%s: the beginning: %d, %d bytes", m[1], resp.StatusCode, len(body))
			}
			resp, body = n.Do("GET", path, nil, "Range", "bytes=10-19,40-49")
			if resp.StatusCode != http.StatusPartialContent || !bytes.Contains(body, want[10:20]) || !bytes.Contains(body, want[40:50]) ||
				!strings.HasPrefix(resp.Header.Get("Content-Type"), "multipart/byteranges") {
				t.Errorf("%s: two ranges: %d %s", m[1], resp.StatusCode, resp.Header.Get("Content-Type"))
			}
		}
		if i > 0 {
			continue
		}
		if got := n.Want(200, "GET", path, nil); !bytes.Equal(got, want) {
			t.Errorf("%s: other bytes", m[1])
		}
	}
	if merged := n.Want(200, "GET", "/repository/all/repodata/repomd.xml", nil); strings.Contains(string(merged), "zck") || !strings.Contains(string(merged), `type="primary"`) {
		t.Errorf("a group's metadata:\n%s", merged)
	}
	for _, repository := range []string{"mirror", "all"} {
		client := newDnf(t)
		client.setUp(n, repository)
		client.write("dnf.conf", string(mustRead(t, filepath.Join(client.root, "dnf.conf")))+"zchunk=1\n")
		client.dnf("makecache")
		client.dnf("install", "hello")
		if got := client.installed("hello"); got != "1.0" {
			t.Errorf("%s: installed %s", repository, got)
		}
	}
}
