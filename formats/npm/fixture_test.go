package npm_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha1" //nolint:gosec // as npm has it
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"granary/formats/formattest"
	"granary/formats/npm"
)

func format() *npm.Format { return npm.New() }

// tarball builds one with a package.json and other files, "name=content".
func tarball(t testing.TB, packageJSON string, files ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	for _, f := range append([]string{"package/package.json=" + packageJSON}, files...) {
		name, content, _ := strings.Cut(f, "=")
		err := w.WriteHeader(&tar.Header{Name: name, Size: int64(len(content)), Mode: 0o644})
		if err == nil {
			_, err = io.WriteString(w, content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func packageJSON(name, version, more string) string {
	return fmt.Sprintf(`{"name":%q,"version":%q%s}`, name, version, more)
}

// document is what npm sends to publish a tarball.
func document(t testing.TB, name, version string, tgz []byte, tags ...string) []byte {
	t.Helper()
	dist := map[string]string{}
	for _, tag := range append([]string{"latest"}, tags...) {
		dist[tag] = version
	}
	sum, sha := sha512.Sum512(tgz), sha1.Sum(tgz) //nolint:gosec // as npm has it
	doc, err := json.Marshal(map[string]any{
		"_id": name, "name": name, "dist-tags": dist, "access": nil,
		"versions": map[string]any{version: map[string]any{
			"name": name, "version": version, "_npmVersion": "11.0.0", "dependencies": map[string]string{"lied": "1"},
			"dist": map[string]string{"integrity": "sha512-" + base64.StdEncoding.EncodeToString(sum[:]), "shasum": hex.EncodeToString(sha[:]), "tarball": "http://x/y.tgz"},
		}},
		"_attachments": map[string]any{name + "-" + version + ".tgz": map[string]any{
			"content_type": "application/octet-stream", "data": base64.StdEncoding.EncodeToString(tgz), "length": len(tgz),
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

func publish(t testing.TB, s *formattest.Store, name, version, more string, tags ...string) error {
	t.Helper()
	_, err := s.Do("PUT", strings.Replace(name, "/", "%2f", 1), nil, document(t, name, version, tarball(t, packageJSON(name, version, more)), tags...))
	return err
}

func mustPublish(t testing.TB, s *formattest.Store, name, version, more string, tags ...string) {
	t.Helper()
	if err := publish(t, s, name, version, more, tags...); err != nil {
		t.Fatalf("publish %s@%s: %v", name, version, err)
	}
}

func get(t testing.TB, s *formattest.Store, target string, header ...string) string {
	t.Helper()
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	a, err := s.Do("GET", target, h, nil)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(a.Body)
}

// packument is what tests look at of one.
type packument struct {
	Name     string
	Rev      string            `json:"_rev"`
	Tags     map[string]string `json:"dist-tags"`
	Time     map[string]string
	Modified string
	Versions map[string]map[string]any
}

func read(t testing.TB, s *formattest.Store, target string, header ...string) packument {
	t.Helper()
	var p packument
	body := get(t, s, target, header...)
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("GET %s: %v: %.500s", target, err, body)
	}
	return p
}
