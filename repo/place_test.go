package repo_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"sync/atomic"
	"testing"

	"granary/blob"
	blobmem "granary/blob/mem"
	"granary/formats"
	"granary/formats/all"
	"granary/repo"
	"granary/repo/repotest"
)

// Where one of the documents that are stored beside each other can't be, none is
// published; once the store takes it again all are.
func TestDocumentsThatAreNotStored(t *testing.T) {
	if _, err := exec.LookPath("dpkg-deb"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("dpkg-deb is not installed")
		}
		t.Skip("dpkg-deb is not installed")
	}
	var left atomic.Int64 // commits until the store is full, below 0: it never is
	left.Store(-1)
	store := blobmem.New(blobmem.Config{
		Report: t.Errorf,
		Before: func(_ context.Context, call blobmem.Call, _ blob.ID) error {
			if call != blobmem.Commit || left.Load() < 0 {
				return nil
			}
			if left.Add(-1) < 0 {
				left.Store(0)
				return blob.ErrNoSpace
			}
			return nil
		},
	})
	r := repotest.New(t, repotest.Options{Formats: all.Formats, Blobs: store})
	r.Create("debs", "hosted", "apt", nil)
	read := func() ([]byte, error) {
		h := r.Open("debs")
		op, _ := h.Route(formats.Req{Method: "GET", Path: "dists/stable/main/binary-amd64/Packages"})
		c, err := h.Read(t.Context(), op, repo.ReadOptions{})
		if err != nil {
			return nil, err
		}
		body, err := c.Open(t.Context(), 0, -1)
		if err != nil {
			return nil, err
		}
		defer body.Close() //nolint:errcheck // only read
		return io.ReadAll(body)
	}
	failed := 0
	for i, name := range []string{"one", "two", "three", "four"} {
		r.Put("debs", "pool/stable/main/upload", noisyDeb(t, name))
		left.Store(int64(i))
		_, err := read()
		left.Store(-1)
		if err != nil {
			failed++
			if !errors.Is(err, blob.ErrNoSpace) {
				t.Errorf("with %d commits: %v", i, err)
			}
		}
		if got, err := read(); err != nil || !bytes.Contains(got, []byte("Package: "+name+"\n")) {
			t.Errorf("once there is room: %d bytes, %v", len(got), err)
		}
	}
	if failed == 0 {
		t.Error("the store was never full")
	}
}
