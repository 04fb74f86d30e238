package fs_test

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"granary/blob/fs"
)

// On ext4 the folders of a new store are placed far from one another; a store
// works on any file system.
func TestFoldersAreSpread(t *testing.T) {
	root := filepath.Join(t.TempDir(), "blobs")
	s, err := fs.Open(fs.Config{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close() //nolint:errcheck // only opened
	dir, err := os.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close() //nolint:errcheck // only read
	var on unix.Statfs_t
	if err := unix.Fstatfs(int(dir.Fd()), &on); err != nil {
		t.Fatal(err)
	}
	flags, err := unix.IoctlGetInt(int(dir.Fd()), unix.FS_IOC_GETFLAGS)
	if on.Type == unix.EXT4_SUPER_MAGIC && (err != nil || flags&0x20000 == 0) {
		t.Errorf("flags %#x, %v", flags, err)
	}
}
