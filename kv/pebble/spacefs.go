package pebble

import (
	"strings"
	"syscall"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// fs is the file system for Pebble. A log or manifest that finds the volume
// full, which would end the process, gets the reserve and tries again. A table
// doesn't: it fails early, and is written later.
func (s *space) fs() vfs.FS {
	return spaceFS{vfs.OnDiskFull(s.inner, s.release), s}
}

type spaceFS struct {
	vfs.FS
	space *space
}

// patience is how long the making of a table waits while there is no room:
// Pebble would try again at once, and for ever.
const patience = 100 * time.Millisecond

// Create implements vfs.FS.
func (f spaceFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if !strings.HasSuffix(name, ".sst") {
		return f.FS.Create(name, category)
	}
	if f.space.short() {
		time.Sleep(patience)
	}
	file, err := f.space.inner.Create(name, category)
	if err != nil {
		return nil, err
	}
	return &tableFile{File: file, space: f.space, unchecked: tableCheck}, nil
}

// Unwrap implements vfs.FS.
func (f spaceFS) Unwrap() vfs.FS { return f.FS }

// tableCheck is how many bytes of a table are written between two looks.
const tableCheck = 64 << 10

// tableFile is a table that is being written, by one goroutine.
type tableFile struct {
	vfs.File
	space     *space
	unchecked int
}

// Write implements vfs.File.
func (f *tableFile) Write(p []byte) (int, error) {
	if f.unchecked += len(p); f.unchecked > tableCheck {
		if !f.space.roomForTable() {
			return 0, syscall.ENOSPC
		}
		f.unchecked = 0
	}
	return f.File.Write(p)
}
