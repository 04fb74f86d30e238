package pebble

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"granary/kv"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// What is kept free, at the most; together at most 1/20 of the volume.
const (
	maxFloor   = 32 << 20 // free bytes below which writes are refused
	maxReserve = 16 << 20 // bytes of the reserve file
	shareOf    = 20
)

// tableShare of the floor is kept free of tables.
const tableShare = 4

// How long, and for how many bytes written, one look at the volume holds.
const (
	lookEvery = 100 * time.Millisecond
	lookBytes = 256 << 10
)

// space watches the volume.
type space struct {
	inner          vfs.FS
	dir, file      string
	floor, reserve int64

	// mu guards what follows.
	mu      sync.Mutex
	looked  time.Time // monotonic
	written int64     // since looked
	full    bool
	filled  bool // the reserve file is there
}

func newSpace(fs vfs.FS, dir string) (*space, error) {
	usage, err := fs.GetDiskUsage(dir)
	if err != nil {
		return nil, fmt.Errorf("free space of %s: %w", dir, err)
	}
	share := int64(min(usage.TotalBytes/shareOf, maxFloor+maxReserve))
	s := &space{inner: fs, dir: dir, file: fs.PathJoin(dir, "reserve"), floor: share * 2 / 3, reserve: share / 3}
	_, err = fs.Stat(s.file)
	s.filled = err == nil
	return s, s.makeRoom(int64(min(usage.AvailBytes, 1<<62)))
}

// memtable is the size of a memory table that with its log fits in what is
// left when writes are refused.
func (s *space) memtable() int64 { return max(min(defaultMemtable, s.floor/2), 256<<10) }

// makeRoom sees that there is enough for Pebble's start, which writes what the
// log holds to a table and can't cope with a full volume. The reserve is for
// that, too.
func (s *space) makeRoom(free int64) error {
	if free < s.floor && s.filled {
		s.release()
		free += s.reserve
	}
	if need := s.memtable(); free < need {
		return fmt.Errorf("%w: %d bytes are free in %s, a start needs %d", kv.ErrNoSpace, free, s.dir, need)
	}
	return nil
}

// admit returns ErrNoSpace instead of letting a write of n bytes begin.
func (s *space) admit(n int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written += int64(n)
	if s.full || s.written > lookBytes || time.Since(s.looked) > lookEvery {
		if err := s.look(); err != nil {
			return err
		}
	}
	if s.full {
		return fmt.Errorf("%w: less than %d bytes are free in %s", kv.ErrNoSpace, s.floor, s.dir)
	}
	return nil
}

// look sees how much is free; mu is held. Once the reserve is gone, writes
// wait until it can be had again.
func (s *space) look() error {
	usage, err := s.inner.GetDiskUsage(s.dir)
	if err != nil {
		return fmt.Errorf("free space of %s: %w", s.dir, err)
	}
	s.looked, s.written = time.Now(), 0
	free := int64(min(usage.AvailBytes, 1<<62))
	if !s.filled && free >= s.floor+s.reserve {
		s.fill()
	}
	s.full = free < s.floor || !s.filled && s.full
	return nil
}

// refill makes the reserve at the start, if there is room for it.
func (s *space) refill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.filled = false // it may be there in part
	s.look()         //nolint:errcheck // the first write looks again
}

// fill makes the reserve file; mu is held. Where a volume can't set space
// aside there is none, and only the floor protects.
func (s *space) fill() {
	f, err := s.inner.Create(s.file, vfs.WriteCategoryUnspecified)
	if err != nil {
		return
	}
	err = f.Preallocate(0, s.reserve)
	if closed := f.Close(); closed != nil || err != nil {
		s.inner.Remove(s.file) //nolint:errcheck // it is of no use, and empty
	}
	s.filled = !errors.Is(noSpace(err), kv.ErrNoSpace)
}

// release gives the reserve up; Pebble found the volume full, and tries what
// it was doing once more when this returns.
func (s *space) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.inner.Remove(s.file) //nolint:errcheck // then there is nothing to give up
	s.filled, s.full = false, true
}

// roomForTable reports whether a table may grow. Tables can be written later;
// what is free, and the reserve, are then for the log and the manifest, which
// can't.
func (s *space) roomForTable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	usage, err := s.inner.GetDiskUsage(s.dir)
	if err == nil && int64(min(usage.AvailBytes, 1<<62)) < s.floor/tableShare {
		s.full = true
		return false
	}
	return true
}

// short reports whether there is no room now.
func (s *space) short() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.full {
		s.look() //nolint:errcheck // then it stays as it was
	}
	return s.full
}
