package pebble

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"granary/kv"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// gateFS is a file system on which syncs of the log wait while the gate is
// shut, or fail.
type gateFS struct {
	vfs.FS
	gate sync.RWMutex
	fail error // the gate guards it
}

func (g *gateFS) Create(name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := g.FS.Create(name, category)
	return g.wrap(name, f), err
}

func (g *gateFS) ReuseForWrite(oldName, name string, category vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := g.FS.ReuseForWrite(oldName, name, category)
	return g.wrap(name, f), err
}

func (g *gateFS) wrap(name string, f vfs.File) vfs.File {
	if f == nil || !strings.HasSuffix(name, ".log") {
		return f
	}
	return gateFile{f, g}
}

type gateFile struct {
	vfs.File
	g *gateFS
}

func (f gateFile) pass() error {
	f.g.gate.RLock()
	defer f.g.gate.RUnlock()
	return f.g.fail
}

func (f gateFile) Sync() error {
	if err := f.pass(); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f gateFile) SyncData() error {
	if err := f.pass(); err != nil {
		return err
	}
	return f.File.SyncData()
}

// TestResultsWaitForTheDisk: what may be told to a client is on disk first.
func TestResultsWaitForTheDisk(t *testing.T) {
	ctx := t.Context()
	fs := &gateFS{FS: vfs.Default}
	s := open(t, t.TempDir(), Options{fs: fs})
	old := item(0, "old")
	put(t, s, old)

	calls := map[string]func(i kv.Item) error{
		"conflict":       func(i kv.Item) error { return s.PutIf(ctx, kv.Item{Key: i.Key, Version: kv.NewVersion()}, "") },
		"lazy conflict":  func(i kv.Item) error { return s.PutIfLazy(ctx, kv.Item{Key: i.Key, Version: kv.NewVersion()}, "") },
		"delete":         func(i kv.Item) error { return s.DeleteIf(ctx, i.Key, "other") },
		"own version":    func(i kv.Item) error { return s.PutIf(ctx, i, "") },
		"consistent get": func(i kv.Item) error { _, err := s.Get(ctx, i.Key, kv.Consistent); return err },
	}
	for _, lazy := range []bool{false, true} {
		n := 1
		for name, call := range calls {
			n++
			i := item(n, name)
			if lazy {
				i.Sort += " lazy"
			}
			waits(t, fs, name, func() {
				var wg sync.WaitGroup
				defer wg.Wait()
				if lazy {
					if err := s.PutIfLazy(ctx, i, ""); err != nil {
						t.Error(err)
					}
				} else {
					wg.Go(func() {
						if err := s.PutIf(ctx, i, ""); err != nil {
							t.Error(err)
						}
					})
					for _, err := s.Get(ctx, i.Key); err != nil; _, err = s.Get(ctx, i.Key) { // an ordinary one doesn't wait
						time.Sleep(time.Millisecond)
					}
				}
				if err := call(i); err != nil && !errors.Is(err, kv.ErrConflict) {
					t.Errorf("%s: %v", name, err)
				}
			})
			// All is on disk now: no result waits.
			fs.gate.Lock()
			if err := call(i); err != nil && !errors.Is(err, kv.ErrConflict) {
				t.Errorf("%s again: %v", name, err)
			}
			fs.gate.Unlock()
		}
	}
}

// waits checks that do returns only once the gate is open.
func waits(t *testing.T, fs *gateFS, name string, do func()) {
	t.Helper()
	fs.gate.Lock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	select {
	case <-done:
		t.Errorf("%s: told before it was on disk", name)
	case <-time.After(20 * time.Millisecond):
	}
	fs.gate.Unlock()
	<-done
}

func TestLogFailure(t *testing.T) {
	ctx := t.Context()
	fs := &gateFS{FS: vfs.Default}
	fatal := make(chan error, 1)
	s, err := Open(t.TempDir(), Options{fs: fs, Logger: quiet(), Fatal: func(err error) { fatal <- err }})
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, item(1, "v"))
	broken := errors.New("input/output error")
	fs.gate.Lock()
	fs.fail = broken
	fs.gate.Unlock()
	if err := s.PutIf(ctx, item(2, "v"), ""); !errors.Is(err, kv.ErrUnknown) || !errors.Is(err, ErrFailed) {
		t.Errorf("PutIf with a broken log: %v, want ErrUnknown and ErrFailed", err)
	}
	if err := <-fatal; !strings.Contains(err.Error(), broken.Error()) {
		t.Errorf("Fatal got %v", err)
	}
	if err := s.PutIf(ctx, item(3, "v"), ""); !errors.Is(err, ErrFailed) {
		t.Errorf("next PutIf: %v, want ErrFailed", err)
	}
	if _, err := s.Get(ctx, item(1, "").Key); !errors.Is(err, ErrFailed) {
		t.Errorf("next Get: %v, want ErrFailed", err)
	}
}
