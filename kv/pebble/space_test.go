package pebble

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"granary/kv"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// volume is a file system of a certain size over a real directory. other is
// what somebody else has put on it.
type volume struct {
	vfs.FS
	size, other atomic.Int64
	failed      atomic.Int64 // writes that found it full

	mu    sync.Mutex
	files map[string]*int64 // bytes taken, written or set aside
}

func newVolume(size int64) *volume {
	v := &volume{FS: vfs.Default, files: map[string]*int64{}}
	v.size.Store(size)
	return v
}

func (v *volume) free() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	free := v.size.Load() - v.other.Load()
	for _, n := range v.files {
		free -= *n
	}
	return max(0, free)
}

// grow takes room for a file up to an offset.
func (v *volume) grow(file *int64, to int64) error {
	free := v.free()
	v.mu.Lock()
	defer v.mu.Unlock()
	if need := to - *file; need > free {
		v.failed.Add(1)
		return syscall.ENOSPC
	}
	*file = max(*file, to)
	return nil
}

func (v *volume) GetDiskUsage(string) (vfs.DiskUsage, error) {
	free, size := v.free(), v.size.Load()
	return vfs.DiskUsage{AvailBytes: uint64(free), TotalBytes: uint64(size), UsedBytes: uint64(size - free)}, nil
}

func (v *volume) track(name string) *int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := new(int64)
	v.files[name] = n
	return n
}

func (v *volume) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := v.FS.Create(name, category)
	if err != nil {
		return nil, err
	}
	return &volumeFile{File: f, v: v, taken: v.track(name)}, nil
}

func (v *volume) ReuseForWrite(oldName, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := v.FS.ReuseForWrite(oldName, name, category)
	if err != nil {
		return nil, err
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.files[name] = v.files[oldName]
	delete(v.files, oldName)
	return &volumeFile{File: f, v: v, taken: v.files[name]}, nil
}

func (v *volume) Rename(oldName, name string) error {
	v.mu.Lock()
	if n, ok := v.files[oldName]; ok {
		v.files[name] = n
		delete(v.files, oldName)
	}
	v.mu.Unlock()
	return v.FS.Rename(oldName, name)
}

func (v *volume) Remove(name string) error {
	v.mu.Lock()
	delete(v.files, name)
	v.mu.Unlock()
	return v.FS.Remove(name)
}

type volumeFile struct {
	vfs.File
	v      *volume
	taken  *int64
	offset int64
}

func (f *volumeFile) Write(p []byte) (int, error) {
	if err := f.v.grow(f.taken, f.offset+int64(len(p))); err != nil {
		return 0, err
	}
	n, err := f.File.Write(p)
	f.offset += int64(n)
	return n, err
}

func (f *volumeFile) Preallocate(offset, length int64) error {
	return f.v.grow(f.taken, offset+length)
}

func TestSpaceOfTheReserve(t *testing.T) {
	for _, size := range []int64{16 << 20, 1 << 30, 1 << 40} {
		v := newVolume(size)
		s := open(t, t.TempDir(), Options{fs: v, Logger: quiet()})
		if kept := s.space.floor + s.space.reserve; kept > size/20 || kept > 48<<20 || kept < min(size/20, 48<<20)-2 {
			t.Errorf("on %d bytes %d are kept free", size, kept)
		}
		if n := v.files[s.space.file]; n == nil || *n != s.space.reserve {
			t.Errorf("on %d bytes the reserve is %v, want %d", size, n, s.space.reserve)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// noise doesn't get smaller by compression.
func noise(seed, size int) string {
	random := rand.NewPCG(uint64(seed), 1)
	b := make([]byte, 0, size+8)
	for len(b) < size {
		b = binary.NativeEndian.AppendUint64(b, random.Uint64())
	}
	return string(b[:size])
}

// fillUp writes until there is no room, and returns what was acknowledged.
func fillUp(t *testing.T, s *Store, from int) int {
	t.Helper()
	for n := from; n < from+1<<11; n++ {
		if err := s.PutIf(t.Context(), item(n, noise(n, 50<<10)), ""); errors.Is(err, kv.ErrNoSpace) {
			return n
		} else if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("the volume does not fill up")
	return 0
}

// wantsAll checks that items 0 to n are there.
func wantsAll(t *testing.T, s *Store, n int) {
	t.Helper()
	got := 0
	for _, err := range s.Query(t.Context(), item(0, "").Partition, "", "", kv.KeysOnly) {
		if err != nil {
			t.Fatal(err)
		}
		got++
	}
	if got != n {
		t.Fatalf("%d items are there, want %d", got, n)
	}
}

func TestFullVolume(t *testing.T) {
	v := newVolume(16 << 20)
	dir := t.TempDir()
	o := Options{fs: v, Logger: quiet(), Fatal: func(err error) { t.Error(err) }}
	s := open(t, dir, o)
	n := fillUp(t, s, 0)
	v.other.Store(v.free()) // whatever a compaction may give back
	for method, err := range map[string]error{
		"PutIf":     s.PutIf(t.Context(), item(-1, ""), ""),
		"PutIfLazy": s.PutIfLazy(t.Context(), item(-1, ""), ""),
		"Put":       s.Put(t.Context(), item(-1, "")),
		"BatchPut":  s.BatchPut(t.Context(), []kv.Item{item(-1, "")}),
	} {
		if !errors.Is(err, kv.ErrNoSpace) {
			t.Errorf("%s on a full volume: %v, want ErrNoSpace", method, err)
		}
	}
	if err := s.PutIf(t.Context(), item(0, ""), ""); !errors.Is(err, kv.ErrConflict) {
		t.Errorf("a refused PutIf on a full volume: %v, want ErrConflict", err)
	}
	wantsAll(t, s, n)
	v.other.Store(0)

	// A new start finds everything, and refuses again before it is too late.
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, dir, o)
	wantsAll(t, s, n)
	n = fillUp(t, s, n)
	wantsAll(t, s, n)

	// Room is noticed.
	v.size.Add(16 << 20)
	put(t, s, item(n, ""))
	wantsAll(t, s, n+1)
	if got := v.failed.Load(); got > 0 {
		t.Logf("%d writes of the engine failed", got)
	}
}

// TestVolumeFilledByOthers: somebody takes all that was kept free while
// writers are at it. The engine lives on the reserve, nothing acknowledged is
// lost, and the store recovers with a new reserve.
func TestVolumeFilledByOthers(t *testing.T) {
	v := newVolume(1 << 30)
	s := open(t, t.TempDir(), Options{fs: v, Logger: quiet(), Fatal: func(err error) { t.Error(err) }})
	value := noise(1, 16<<10)
	var acknowledged, refused atomic.Int64
	var next atomic.Int64
	var wg sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for refused.Load() < 100 {
				select {
				case <-stop:
					return
				default:
				}
				switch err := s.PutIf(t.Context(), item(int(next.Add(1)), value), ""); {
				case err == nil:
					acknowledged.Add(1)
				case errors.Is(err, kv.ErrNoSpace):
					refused.Add(1)
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	for acknowledged.Load() < 200 {
		time.Sleep(time.Millisecond)
	}
	v.other.Add(v.free())
	late := time.AfterFunc(time.Minute, func() { close(stop) })
	wg.Wait()
	if !late.Stop() {
		t.Fatal("writers were not refused")
	}
	wantsAll(t, s, int(acknowledged.Load()))

	v.other.Store(0)
	put(t, s, item(1<<20, value))
	wantsAll(t, s, int(acknowledged.Load())+1)
	if n := v.files[s.space.file]; n == nil || *n != s.space.reserve {
		t.Error("the reserve was not made again")
	}
}

// TestReserveIsReleased: once the engine meets a full volume the reserve is
// gone, and writes wait until there is room for it and the floor.
func TestReserveIsReleased(t *testing.T) {
	v := newVolume(1 << 30)
	dir := t.TempDir()
	s := open(t, dir, Options{fs: v, Logger: quiet()})
	put(t, s, item(1, "v"))
	v.other.Add(v.free())
	f, err := s.space.fs().Create(filepath.Join(dir, "needed"), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close() //nolint:errcheck // nothing to be kept
	if _, err := f.Write(make([]byte, 1<<20)); err != nil {
		t.Errorf("write of the engine on a full volume: %v, want it to get the reserve", err)
	}
	if _, err := os.Stat(s.space.file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("reserve after a full volume: %v", err)
	}
	v.other.Store(v.size.Load() - 40<<20) // room for the floor, not for both
	if err := s.PutIf(t.Context(), item(2, "v"), ""); !errors.Is(err, kv.ErrNoSpace) {
		t.Errorf("PutIf without a reserve: %v, want ErrNoSpace", err)
	}
	v.other.Store(0)
	put(t, s, item(2, "v"))
}

func TestStartOnAFullVolume(t *testing.T) {
	v := newVolume(1 << 30)
	dir := t.TempDir()
	o := Options{fs: v, Logger: quiet(), Fatal: func(err error) { t.Error(err) }}
	s := open(t, dir, o)
	for n := range 20 {
		put(t, s, item(n, noise(n, 16<<10)))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	v.other.Add(v.free())
	s = open(t, dir, o) // on the reserve
	wantsAll(t, s, 20)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}

	v.other.Add(v.free())
	for range 2 {
		if _, err := Open(dir, o); !errors.Is(err, kv.ErrNoSpace) {
			t.Errorf("Open without room for the log: %v, want ErrNoSpace", err)
		}
	}
	v.other.Store(0)
	s = open(t, dir, o)
	wantsAll(t, s, 20)
	put(t, s, item(20, "v"))
}
