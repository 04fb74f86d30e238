package integration_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"granary/integration/node"
)

// A full disk is 507: nothing that was acknowledged is lost, nothing is deleted
// to make room, reading goes on, also after a restart; and as soon as there is
// room uploads succeed again.
func TestFullDisk(t *testing.T) {
	dir := smallVolume(t, "size=160m")
	filler := filepath.Join(dir, "filler")
	fill := func(mib int) {
		t.Helper()
		if err := os.WriteFile(filler, make([]byte, mib<<20), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fill(64)
	n := node.Start(t, node.Options{Data: filepath.Join(dir, "data")})
	n.Create(`{"name":"files","repo_type":"hosted","format":"raw"}`)
	d := &diskful{n: n, t: t, acknowledged: map[string]string{}}

	d.uploadUntilFull("large", 3<<20) // blobs
	d.uploadUntilFull("small", 2_000) // in records
	d.uploadUntilFull("long", 20<<20) // streamed
	d.check("while it is full")
	for _, r := range []struct{ method, path, body string }{
		{"POST", "/api/v1/repositories", `{"name":"more","repo_type":"hosted","format":"raw"}`},
		{"PUT", "/api/v1/repositories/files", `{"conflict_policy":"deny"}`},
		{"POST", "/api/v1/users", `{"username":"more","password":"a password","roles":[]}`},
		{"DELETE", "/api/v1/repositories/files", ""},
		{"DELETE", "/repository/files/large/0/0", ""},
	} {
		resp, b := n.Do(r.method, r.path, strings.NewReader(r.body), "Content-Type", "application/json")
		if resp.StatusCode != 507 || code(string(b)) != "INSUFFICIENT_STORAGE" {
			t.Errorf("%s %s answered %s\n%s", r.method, r.path, resp.Status, b)
		}
	}
	d.check("after what could not be done")

	n.Stop()
	n.Restart()
	d.check("after a restart while it is full")
	d.refused()
	n.Kill()
	n.Restart()
	d.check("after a crash while it is full")
	d.refused()

	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	d.recovers("once there is room")
	d.check("once there is room")

	// The same without a restart in between.
	fill(20)
	d.uploadUntilFull("again", 1<<20)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	d.recovers("once there is room again")
	d.check("at the end")
	if len(d.acknowledged) < 20 {
		t.Errorf("only %d uploads were acknowledged", len(d.acknowledged))
	}
	t.Logf("%d uploads acknowledged, %d refused", len(d.acknowledged), d.full)
}

// smallVolume mounts a file system in memory.
func smallVolume(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount a tmpfs, which needs root: %v", err)
		}
		t.Skipf("mounting a tmpfs needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// diskful uploads to a node whose disk fills up and remembers what was
// acknowledged.
type diskful struct {
	n *node.Node
	t *testing.T

	mu           sync.Mutex
	acknowledged map[string]string // path → SHA-256, guarded by mu
	full         int               // uploads answered 507, guarded by mu
}

// put uploads random bytes of that size and returns the status.
func (d *diskful) put(path string, size int) (int, error) {
	b := make([]byte, size)
	seed := sha256.Sum256([]byte(path))
	rand.NewChaCha8(seed).Read(b) //nolint:errcheck // never fails
	resp, body, err := d.n.Try(d.t.Context(), http.MethodPut, "/repository/files/"+path, bytes.NewReader(b))
	if err != nil {
		return 0, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case resp.StatusCode == http.StatusCreated:
		sum := sha256.Sum256(b)
		d.acknowledged[path] = hex.EncodeToString(sum[:])
	case resp.StatusCode == http.StatusInsufficientStorage && code(string(body)) == "INSUFFICIENT_STORAGE":
		d.full++
	default:
		return 0, fmt.Errorf("%s answered %s\n%s", path, resp.Status, body)
	}
	return resp.StatusCode, nil
}

// uploadUntilFull has four clients upload until each was refused.
func (d *diskful) uploadUntilFull(name string, size int) {
	d.t.Helper()
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 200_000 {
				status, err := d.put(fmt.Sprintf("%s/%d/%d", name, w, i), size)
				if err != nil {
					d.t.Errorf("upload to a full disk: %v", err)
					return
				}
				if status == http.StatusInsufficientStorage {
					return
				}
			}
			d.t.Errorf("%s: the disk does not fill up", name)
		})
	}
	wg.Wait()
	if d.t.Failed() {
		d.t.FailNow()
	}
	d.refused()
}

// refused wants uploads of blobs to be refused, and to leave nothing.
func (d *diskful) refused() {
	d.t.Helper()
	status, err := d.put("refused", 32<<20)
	if err != nil || status != http.StatusInsufficientStorage {
		d.t.Fatalf("an upload to a full disk: %d, %v", status, err)
	}
	d.n.Want(http.StatusNotFound, http.MethodGet, "/repository/files/refused", nil)
}

// recovers wants an upload to succeed soon.
func (d *diskful) recovers(when string) {
	d.t.Helper()
	path := fmt.Sprintf("recovered/%d", time.Now().UnixNano())
	for until := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		status, err := d.put(path, 9<<20)
		if err != nil {
			d.t.Fatalf("%s: %v", when, err)
		}
		if status == http.StatusCreated {
			return
		}
		if time.Now().After(until) {
			d.t.Fatalf("%s uploads are still refused", when)
		}
	}
}

// check reads all that was acknowledged.
func (d *diskful) check(when string) {
	d.t.Helper()
	for path, want := range d.acknowledged {
		resp, body := d.n.Do(http.MethodGet, "/repository/files/"+path, nil)
		got := sha256.Sum256(body)
		if resp.StatusCode != http.StatusOK || hex.EncodeToString(got[:]) != want {
			d.t.Fatalf("%s: %s was acknowledged and answers %s with %d bytes", when, path, resp.Status, len(body))
		}
	}
	d.n.Want(200, http.MethodGet, "/api/v1/repositories/files/artifacts", nil)
	d.n.Want(200, http.MethodGet, "/api/v1/health", nil)
}
