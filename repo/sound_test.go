package repo_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"granary/blob"
	"granary/blob/fs"
	"granary/blob/mem"
	"granary/formats"
	"granary/formats/all"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/repotest"
)

// What many ask for at once is held against its digest once, and not again for
// an hour.
func TestSoundCost(t *testing.T) {
	blobs := mem.New(mem.Config{Report: t.Errorf})
	r := repotest.New(t, repotest.Options{Formats: all.Formats, Blobs: blobs})
	up := upstreamOf(t, "f", filled(200_000, 'f'))
	r.Cache("c", "raw", up.URL+"/origin", -1)
	r.Get("c", "f")
	opened := func(times int) int {
		before := blobs.Calls()[mem.Open]
		var wg sync.WaitGroup
		for range times {
			wg.Go(func() {
				if _, b, err := r.Send(t.Context(), "c", "GET", "f", nil); err != nil || len(b) != 200_000 {
					t.Errorf("%d bytes, %v", len(b), err)
				}
			})
		}
		wg.Wait()
		return blobs.Calls()[mem.Open] - before
	}
	r.Clock.Advance(2 * time.Hour)
	if n := opened(1); n != 2 {
		t.Errorf("who asks first opens it %d times, want 2", n)
	}
	r.Clock.Advance(time.Minute)
	if n := opened(50); n != 50 {
		t.Errorf("50 who ask later open it %d times", n)
	}
	r.Clock.Advance(2 * time.Hour)
	// Who comes after the check has ended and before it is known begins another.
	if n := opened(50); n < 51 || n > 60 {
		t.Errorf("50 who ask two hours later open it %d times", n)
	}
}

// slow calls after once a blob was opened.
type slow struct {
	blob.Store
	opens atomic.Int64
	after func(n int64)
}

func (s *slow) Open(ctx context.Context, id blob.ID, offset, n int64) (io.ReadCloser, error) {
	r, err := s.Store.Open(ctx, id, offset, n)
	s.after(s.opens.Add(1))
	return r, err
}

// The hour begins when bytes were opened to be held against their digest, however
// long that took: they may have gone bad since.
func TestSoundSinceItWasOpened(t *testing.T) {
	blobs := &slow{Store: mem.New(mem.Config{Report: t.Errorf}), after: func(int64) {}}
	r := repotest.New(t, repotest.Options{Formats: all.Formats, Blobs: blobs})
	up := upstreamOf(t, "f", filled(200_000, 'f'))
	r.Cache("c", "raw", up.URL+"/origin", -1)
	r.Get("c", "f")
	r.Clock.Advance(2 * time.Hour)
	first := blobs.opens.Load() + 1
	blobs.after = func(n int64) {
		if n == first {
			r.Clock.Advance(2 * time.Hour)
		}
	}
	r.Get("c", "f")
	if n := blobs.opens.Load() + 1 - first; n != 3 {
		t.Errorf("it is opened %d times, want 3: for a check that takes two hours, for another, and to be sent", n)
	}
}

func upstreamOf(t *testing.T, path string, body []byte) *repotest.Upstream {
	t.Helper()
	origin := newRig(t)
	origin.Create("origin", config.Hosted, "raw", nil)
	up := origin.Serve(t)
	origin.Put("origin", path, body)
	return up
}

// spoiled is a rig whose blobs are files, with a cache of an upstream that has a
// file. What it returns last lets all blobs go bad.
func spoiled(t *testing.T, body []byte) (*repotest.Rig, *repotest.Upstream, func()) {
	t.Helper()
	root := t.TempDir()
	store, err := fs.Open(fs.Config{Root: root})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	})
	up := upstreamOf(t, "f", body)
	r := repotest.New(t, repotest.Options{Formats: all.Formats, Blobs: store})
	r.Cache("c", "raw", up.URL+"/origin", -1)
	spoil := func() {
		for info, err := range store.List(t.Context(), "") {
			if err != nil {
				t.Fatal(err)
			}
			spoilFile(t, filepath.Join(root, info.ID.Path()))
		}
	}
	return r, up, spoil
}

func spoilFile(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.Chmod(path, 0o600)
	}
	if err == nil {
		b[0] ^= 1
		err = os.WriteFile(path, b, 0o600)
	}
	if err == nil { // the clock of a file system is coarse
		later := time.Now().Add(time.Second)
		err = os.Chtimes(path, later, later)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// What is too long to be read beforehand is not sent to its end if it is wrong,
// and who asks next has it; parts are sent as they lie there.
func TestLongContentGoneBad(t *testing.T) {
	body := filled(repo.LongestSound+1, 'x')
	r, _, spoil := spoiled(t, body)
	r.Get("c", "f")
	spoil() // which is seen, although an hour has not gone by
	open := func(offset, n int64) ([]byte, error) {
		h := r.Open("c")
		op, _ := h.Route(formats.Req{Method: "GET", Path: "f"})
		c, err := h.Read(t.Context(), op, repo.ReadOptions{})
		if err != nil {
			t.Fatal(err)
		}
		f, err := c.Open(t.Context(), offset, n)
		if err != nil {
			return nil, err
		}
		defer f.Close() //nolint:errcheck // only read
		return io.ReadAll(f)
	}
	if b, err := open(1, 100); err != nil || !bytes.Equal(b, body[1:101]) {
		t.Errorf("a part: %d bytes, %v", len(b), err)
	}
	if b, err := open(0, int64(len(body))); !errors.Is(err, formats.ErrCorrupt) || len(b) >= len(body) {
		t.Errorf("%d wrong bytes of %d, %v", len(b), len(body), err)
	}
	if b, err := open(0, -1); err != nil || !bytes.Equal(b, body) {
		t.Errorf("the next time %d bytes, %v", len(b), err)
	}
	if b, err := open(0, -1); err != nil || !bytes.Equal(b, body) {
		t.Errorf("after that %d bytes, %v", len(b), err)
	}
}

// What is lost and can't be fetched again is an error and stays known, so that it
// is fetched when that is possible.
func TestLostWhileUpstreamHasNone(t *testing.T) {
	body := filled(100_000, 'x')
	r, up, spoil := spoiled(t, body)
	r.Get("c", "f")
	spoil()
	up.Misbehave(repotest.Down(404))
	r.Refused(formats.ErrCorrupt, "c", "GET", "f", nil)
	up.Misbehave(repotest.Down(500))
	r.Refused(formats.ErrCorrupt, "c", "GET", "f", nil)
	up.Misbehave(nil)
	r.Clock.Advance(time.Hour)
	if got := r.Get("c", "f"); !bytes.Equal(got, body) {
		t.Errorf("%d bytes", len(got))
	}
}
