package fs

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"granary/blob"
)

// smallDisk mounts a file system of 4 MiB.
func smallDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("mount a small disk, which needs root: %v", err)
		}
		t.Skipf("mounting a small disk needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// A full disk says so, keeps what it has, and takes blobs again when there is
// room.
func TestFullDisk(t *testing.T) {
	for _, c := range []struct {
		name  string
		named bool
	}{{"anonymous", false}, {"named", true}} {
		t.Run(c.name, func(t *testing.T) {
			root := smallDisk(t)
			s, err := Open(Config{Root: root, Sync: true})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			s.anonymous = s.anonymous && !c.named
			kept := put(t, s, make([]byte, 1<<20))
			id := newID(t)
			v, err := blob.Receive(t.Context(), s, bytes.NewReader(make([]byte, 5<<20)),
				blob.Options{Buffer: 1 << 20, Size: -1, NewID: func() (blob.ID, error) { return id, nil }})
			if v != nil || !errors.Is(err, blob.ErrNoSpace) {
				t.Errorf("Receive = %v, want ErrNoSpace", err)
			}
			if got := files(t, root); len(got) != 1 {
				t.Errorf("files are %v, want %s alone", got, kept)
			}
			put(t, s, make([]byte, 2<<20))
		})
	}
}

func TestReadOnlyDisk(t *testing.T) {
	dir := smallDisk(t)
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatalf("remount the small disk: %v", err)
	}
	if s, err := Open(Config{Root: dir}); err == nil {
		s.Close()
		t.Error("Open of a read-only disk succeeded")
	} else if !errors.Is(err, unix.EROFS) {
		t.Errorf("Open = %v, want read-only", err)
	}
}

// A file system without direct writes is refused, not silently written to in
// another way.
func TestDirectUnsupported(t *testing.T) {
	dir := smallDisk(t)
	f, err := os.OpenFile(dir+"/x", os.O_CREATE|os.O_WRONLY|unix.O_DIRECT, 0o600)
	if err == nil {
		f.Close()
		t.Skip("this kernel's tmpfs has direct writes")
	}
	if _, err := Open(Config{Root: dir, DirectIO: true}); err == nil || !strings.Contains(err.Error(), "direct_io") {
		t.Errorf("Open = %v, want an error about direct_io", err)
	}
}
