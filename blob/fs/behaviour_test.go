package fs

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"granary/blob"
)

func newID(t testing.TB) blob.ID {
	t.Helper()
	id, err := blob.NewID(time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func put(t testing.TB, s *Store, content []byte) blob.ID {
	t.Helper()
	id := newID(t)
	w, err := s.Create(t.Context(), id, int64(len(content)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return id
}

// files lists everything under root that is not a folder.
func files(t testing.TB, root string) (out []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			p, err = filepath.Rel(root, p)
			out = append(out, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestLayout(t *testing.T) {
	for _, named := range []bool{false, true} {
		root := filepath.Join(t.TempDir(), "new", "root")
		s := open1(t, Config{Root: root, Sync: true})
		s.anonymous = s.anonymous && !named
		id := put(t, s, []byte("x"))
		l := strings.ToLower(string(id[22:]))
		if got, want := files(t, root), []string{l[:2] + "/" + l[2:] + "/" + string(id)}; !cmp.Equal(got, want) {
			t.Errorf("files are %v, want %v", got, want)
		}
	}
}

// Temporary files of others are removed when nobody wrote to them for a day.
func TestStaleTemporaries(t *testing.T) {
	root := t.TempDir()
	open1(t, Config{Root: root})
	now := time.Now()
	for name, age := range map[string]time.Duration{"stale": 25 * time.Hour, "fresh": time.Minute, "slow": 23 * time.Hour} {
		p := filepath.Join(root, tmp, name)
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(p, now, now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	open1(t, Config{Root: root, Now: func() time.Time { return now }})
	if got, want := files(t, root), []string{tmp + "/fresh", tmp + "/slow"}; !cmp.Equal(got, want) {
		t.Errorf("left %v, want %v", got, want)
	}
}

// A store that opens while another one writes leaves its upload alone.
func TestOpenDuringUpload(t *testing.T) {
	root := t.TempDir()
	s := open1(t, Config{Root: root})
	s.anonymous = false
	id := newID(t)
	w, err := s.Create(t.Context(), id, -1)
	if err != nil {
		t.Fatal(err)
	}
	w.Write([]byte("x"))
	open1(t, Config{Root: root})
	if err := w.Commit(t.Context()); err != nil {
		t.Error(err)
	}
	if got := files(t, root); len(got) != 1 {
		t.Errorf("files are %v, want one", got)
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	odd := filepath.Join(dir, "odd")
	if err := os.MkdirAll(odd, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(odd, tmp), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, root, want string }{
		{"no root", "", "no root given"},
		{"a file", file, "not a folder"},
		{"below a file", filepath.Join(file, "x"), "not a"},
		{"temporaries are a file", odd, "not a folder"},
		{"no such file system", "/proc/granary", "/proc"},
	} {
		s, err := Open(Config{Root: c.root})
		if err == nil {
			s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: Open = %v, want %q in it", c.name, err, c.want)
		}
	}
}

// Other people's files under the root are neither listed nor touched, and a
// link out of the root is not followed.
func TestForeignFiles(t *testing.T) {
	root, outside := t.TempDir(), t.TempDir()
	s := open1(t, Config{Root: root})
	id := put(t, s, []byte("ours"))
	stranger := newID(t)
	for _, name := range []string{".hidden/x", "lost+found/x", "zz/zz/notes", "zz/zz/" + string(id), "zz/x", "readme"} {
		p := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(outside, stranger.Path()[3:5]), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(outside, stranger.Path()[3:]), []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(root, stranger.Path()[:2])); err != nil {
		t.Fatal(err)
	}
	for info, err := range s.List(t.Context(), "") {
		if err != nil || info.ID != id {
			t.Errorf("listed %v, %v", info, err)
		}
	}
	if r, err := s.Open(t.Context(), stranger, 0, -1); err == nil {
		r.Close()
		t.Error("Open followed a link out of the root")
	}
	if err := s.Delete(t.Context(), stranger); err == nil {
		t.Error("Delete followed a link out of the root")
	}
	w, err := s.Create(t.Context(), stranger, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(t.Context()); err == nil {
		t.Error("Commit followed a link out of the root")
	}
}

// Folders that somebody tidied away are made again.
func TestFolderRemoved(t *testing.T) {
	root := t.TempDir()
	s := open1(t, Config{Root: root, Sync: true})
	source := blob.NewSource(time.Now, rand.Reader)
	for range 3 {
		id, err := source.NewID() // always the same folder
		if err != nil {
			t.Fatal(err)
		}
		for _, named := range []bool{false, true} {
			s.anonymous = s.anonymous && !named
			w, err := s.Create(t.Context(), id, 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := os.RemoveAll(filepath.Join(root, id.Path()[:2])); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// readerFrom is what a TCP connection offers to io.Copy.
type readerFrom struct {
	bytes.Buffer
	from []io.Reader
}

func (r *readerFrom) ReadFrom(src io.Reader) (int64, error) {
	r.from = append(r.from, src)
	return r.Buffer.ReadFrom(src)
}

// A copy hands the destination a limited *os.File, which is what net sends by
// sendfile.
func TestSendfile(t *testing.T) {
	s := open1(t, Config{})
	content := bytes.Repeat([]byte("0123456789"), 20_000)
	id := put(t, s, content)
	for _, c := range []struct{ off, n int64 }{{0, -1}, {5, 100_000}, {199_999, 5}} {
		r, err := s.Open(t.Context(), id, c.off, c.n)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var w readerFrom
		if _, err := io.Copy(&w, r); err != nil {
			t.Fatal(err)
		}
		want := content[c.off:]
		if c.n >= 0 {
			want = want[:min(c.n, int64(len(want)))]
		}
		if !bytes.Equal(w.Bytes(), want) {
			t.Errorf("%+v: copied %d bytes, want %d, or other ones", c, w.Len(), len(want))
		}
		l, ok := w.from[0].(*io.LimitedReader)
		if len(w.from) != 1 || !ok {
			t.Fatalf("%+v: the destination read from %T", c, w.from)
		}
		if _, ok := l.R.(*os.File); !ok {
			t.Errorf("%+v: the destination read from a limited %T, want a file", c, l.R)
		}
		if n, err := io.Copy(io.Discard, r); n != 0 || err != nil {
			t.Errorf("%+v: %d bytes were left, %v", c, n, err)
		}
	}
}

// Over a real connection the bytes are the same, whole and in ranges.
func TestServeHTTP(t *testing.T) {
	s := open1(t, Config{})
	content := bytes.Repeat([]byte("0123456789"), 300_000)
	id := put(t, s, content)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rc, err := s.Open(r.Context(), id, 7, 2_000_001)
		if err != nil {
			t.Error(err)
			return
		}
		defer rc.Close()
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", "2000001")
		if n, err := io.Copy(w, rc); n != 2_000_001 || err != nil {
			t.Errorf("copied %d bytes: %v", n, err)
		}
	}))
	defer srv.Close()
	resp, err := srv.Client().Get(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || !bytes.Equal(got, content[7:2_000_008]) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	srv.Client().CloseIdleConnections()
}

var _ io.ReaderFrom = (*net.TCPConn)(nil)

// Calls that come while a folder is synced share the next sync.
func TestSharedSync(t *testing.T) {
	s := open1(t, Config{Sync: true})
	d, err := s.dirs.acquire("aa/bb")
	if err != nil {
		t.Fatal(err)
	}
	d.syncing.Lock() // a sync runs
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			if err := s.dirs.syncDir(d); err != nil {
				t.Error(err)
			}
		})
	}
	var r *round
	for r == nil {
		time.Sleep(time.Millisecond)
		d.mu.Lock()
		r = d.next
		d.mu.Unlock()
	}
	time.Sleep(20 * time.Millisecond) // all ten wait for the same round
	d.syncing.Unlock()
	wg.Wait()
	d.mu.Lock()
	if d.next != nil || !r.done {
		t.Errorf("after ten calls: round %+v, next %+v", r, d.next)
	}
	d.mu.Unlock()
	if err := s.dirs.release(d); err != nil {
		t.Error(err)
	}
}

// A folder that can't be synced fails the commit, and the blob is gone.
func TestFolderSyncFails(t *testing.T) {
	root := t.TempDir()
	s := open1(t, Config{Root: root, Sync: true})
	id := newID(t)
	d, err := s.dirs.acquire(id.Path()[:5])
	if err != nil {
		t.Fatal(err)
	}
	broken := &round{done: true, err: io.ErrClosedPipe}
	d.next = broken
	w, err := s.Create(t.Context(), id, -1)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(t.Context()); !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("Commit = %v", err)
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Errorf("Abort = %v", err)
	}
	if got := files(t, root); len(got) > 0 {
		t.Errorf("left %v", got)
	}
	d.next = nil
	if err := s.dirs.release(d); err != nil {
		t.Error(err)
	}
}

func TestManyFoldersStayBounded(t *testing.T) {
	s := open1(t, Config{})
	for range 3 * maxOpen {
		put(t, s, nil)
	}
	if n := len(s.dirs.open); n > maxOpen+2 {
		t.Errorf("%d folders are open, want at most %d", n, maxOpen)
	}
	w, err := s.Create(context.Background(), newID(t), 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("Write after Abort succeeded")
	}
	if err := w.Commit(t.Context()); err == nil {
		t.Error("Commit after Abort succeeded")
	}
}
