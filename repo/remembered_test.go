package repo_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"granary/blob/fs"
	"granary/formats"
	"granary/formats/all"
	"granary/repo"
	"granary/repo/repotest"
)

// A long document is sent from its file once it was found right.
func TestLongDocumentsAreSentFromFiles(t *testing.T) {
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("dpkg-deb is not installed")
		}
		t.Skip("dpkg-deb is not installed")
	}
	folder, err := fs.Open(fs.Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	r := repotest.New(t, repotest.Options{Formats: all.Formats, Blobs: folder})
	r.Create("debs", "hosted", "apt", nil)
	for _, name := range []string{"one", "two", "three"} {
		r.Put("debs", "pool/stable/main/upload", noisyDeb(t, name))
	}

	const path = "dists/stable/main/binary-amd64/Packages"
	open := func() (io.ReadCloser, []byte, error) {
		h := r.Open("debs")
		op, _ := h.Route(formats.Req{Method: "GET", Path: path})
		c, err := h.Read(t.Context(), op, repo.ReadOptions{})
		if err != nil {
			return nil, nil, err
		}
		body, err := c.Open(t.Context(), 0, -1)
		if err != nil {
			return nil, nil, err
		}
		defer body.Close() //nolint:errcheck // only read
		b, err := io.ReadAll(body)
		return body, b, err
	}
	_, first, err := open()
	if err != nil || !bytes.Contains(first, []byte("Package: two\n")) || len(first) < 256<<10 {
		t.Fatalf("%d bytes, %v", len(first), err)
	}
	body, again, err := open()
	if err != nil || !bytes.Equal(first, again) {
		t.Fatalf("the second time %d bytes, %v", len(again), err)
	}
	if got := fmt.Sprintf("%T", body); got != "*fs.reader" {
		t.Errorf("the second time it is sent by a %s", got)
	}
}

// noisyDeb is a package whose stanza has 100 KiB.
func noisyDeb(t *testing.T, name string) []byte {
	t.Helper()
	text := "Package: " + name + "\nVersion: 1\nArchitecture: amd64\nMaintainer: A <a@example.com>\nX-Noise:"
	for range 3200 {
		text += fmt.Sprintf("\n %016x%016x", rand.Uint64(), rand.Uint64()) //nolint:gosec // no secret
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "root/DEBIAN"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "root/DEBIAN/control"), []byte(text+"\nDescription: a test\n"), 0o644); err != nil { //nolint:gosec // no secret
		t.Fatal(err)
	}
	deb := filepath.Join(dir, "x.deb")
	if out, err := exec.CommandContext(t.Context(), "dpkg-deb", "--root-owner-group", "--build", filepath.Join(dir, "root"), deb).CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb: %v\n%s", err, out)
	}
	data, err := os.ReadFile(deb)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
