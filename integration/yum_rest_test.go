package integration_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"granary/integration/node"
)

// form is a multipart form of fields and one file.
func form(t *testing.T, field, file string, fields ...string) (body io.Reader, contentType string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(fields); i += 2 {
		if err := w.WriteField(fields[i], fields[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	part, err := w.CreateFormFile(field, filepath.Base(file))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := part.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b, w.FormDataContentType()
}

// The settings, forms and answers of a yum repository, as REST clients see them.
func TestYumREST(t *testing.T) {
	newDnf(t) // for its programs
	n := node.Start(t, node.Options{})
	const all = "/api/v1/repositories"
	for body, status := range map[string]int{
		`{"name":"a","repo_type":"hosted","format":"yum","repodata_depth":6}`:                                     400,
		`{"name":"a","repo_type":"cache","format":"yum","upstream_url":"http://127.0.0.1:1/","repodata_depth":1}`: 400,
		`{"name":"a","repo_type":"hosted","format":"raw","yum_sqlite":true}`:                                      400,
		`{"name":"a","repo_type":"hosted","format":"yum","yum_compression":"xz"}`:                                 422,
		`{"name":"rpms","repo_type":"hosted","format":"yum","repodata_depth":1,"yum_compression":"zst"}`:          201,
	} {
		n.Want(status, "POST", all, strings.NewReader(body), "Content-Type", "application/json")
	}
	var got map[string]any
	if err := json.Unmarshal(n.Want(200, "GET", all+"/rpms", nil), &got); err != nil {
		t.Fatal(err)
	}
	if got["repodata_depth"] != 1.0 || got["yum_sqlite"] != false || got["yum_compression"] != "zst" {
		t.Errorf("settings %v", got)
	}
	n.Want(404, "GET", "/repository/rpms/el9/repodata/repomd.xml", nil)

	hello := rpmPackage(t, "hello", "1.0")
	data, err := os.ReadFile(hello)
	if err != nil {
		t.Fatal(err)
	}
	if b := n.Want(201, "PUT", "/repository/rpms/el9/a/hello.rpm", bytes.NewReader(data)); len(b) != 0 {
		t.Errorf("a PUT is answered with %s", b)
	}
	body, kind := form(t, "file", rpmPackage(t, "second", "1"), "directory", "el9/b")
	if b := n.Want(200, "POST", "/repository/rpms/upload", body, "Content-Type", kind); !strings.Contains(string(b), "el9/b/second-1-1.noarch.rpm") {
		t.Errorf("the form is answered with %s", b)
	}
	body, kind = form(t, "yum.asset", rpmPackage(t, "third", "1"), "yum.directory", "el9/c", "yum.asset.filename", "3.rpm")
	n.Want(204, "POST", "/service/rest/v1/components?repository=rpms", body, "Content-Type", kind)
	n.Want(409, "PUT", "/repository/rpms/el9/other.rpm", bytes.NewReader(mustRead(t, rpmPackage(t, "hello", "1.0", "URL: https://example.com"))))
	n.Want(400, "PUT", "/repository/rpms/el9/bad.rpm", bytes.NewReader(data[:len(data)-10]))
	n.Want(201, "POST", "/repository/rpms/snapshots", strings.NewReader(`{"source":"el9","name":"one"}`))
	n.Want(204, "DELETE", "/repository/rpms/el9/c/3.rpm", nil)
	n.Want(404, "DELETE", "/repository/rpms/el9/c/3.rpm", nil)

	entry := string(n.Want(200, "GET", "/repository/rpms/el9/repodata/repomd.xml", nil))
	for _, want := range []string{"-primary.xml.zst", "-filelists.xml.zst", "-other.xml.zst"} {
		if !strings.Contains(entry, want) {
			t.Errorf("repomd.xml lacks %s:\n%s", want, entry)
		}
	}
	_, name, _ := strings.Cut(entry, `href="`)
	name, _, _ = strings.Cut(name, `"`)
	for path, want := range map[string]string{"el9/repodata/repomd.xml": "no-cache", "el9/" + name: "immutable"} {
		resp, _ := n.Do("GET", "/repository/rpms/"+path, nil)
		if got := resp.Header.Get("Cache-Control"); !strings.Contains(got, want) {
			t.Errorf("%s: Cache-Control %s, want %s", path, got, want)
		}
	}
	for _, path := range []string{"el9/repodata/repomd.xml.asc", "el9/repodata/repomd.xml.key", "repomd.xml.key", "snapshots/one/repodata/repomd.xml", "snapshots/one/el9/a/hello.rpm"} {
		n.Want(200, "GET", "/repository/rpms/"+path, nil)
	}
	if text := string(n.Want(200, "GET", "/repository/rpms/el9/x.repo", nil)); !strings.Contains(text, fmt.Sprintf("[x]\nname=x\nbaseurl=%s/repository/rpms/el9/\n", n.URL)) {
		t.Errorf("the .repo file: %s", text)
	}
	lines := strings.Fields(string(n.Want(200, "GET", "/repository/rpms/el9/repodata/mirrorlist", nil)))
	if len(lines) != 2 || !strings.HasPrefix(lines[0], n.URL+"/repository/rpms/generations/") || lines[1] != n.URL+"/repository/rpms/el9/" {
		t.Fatalf("the list of mirrors: %q", lines)
	}
	generation := strings.TrimPrefix(lines[0], n.URL)
	if got := string(n.Want(200, "GET", generation+"repodata/repomd.xml", nil)); got != entry {
		t.Errorf("the generation's repomd.xml: %s", got)
	}
	n.Want(200, "GET", generation+"a/hello.rpm", nil)
	if got := string(n.Want(200, "GET", "/repository/rpms/none/repodata/mirrorlist", nil)); got != n.URL+"/repository/rpms/none/\n" {
		t.Errorf("the list of mirrors of a root that is not there: %s", got)
	}
	// Nobody else may see any of it.
	for _, path := range []string{"el9/repodata/repomd.xml", "el9/x.repo", "el9/a/hello.rpm", "el9/repodata/mirrorlist", "generations/" + strings.Split(generation, "/")[4] + "/el9/repodata/repomd.xml"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.URL+"/repository/rpms/"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s without credentials: %d", path, resp.StatusCode)
		}
	}
}

func mustRead(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
