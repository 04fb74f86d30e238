// Package fs keeps blobs as files: <root>/<aa>/<bb>/<id>.
//
// A blob is written to a temporary file, synced, linked into place (which fails
// if the id is in use) and its folder synced; commits to one folder at a time
// share that. The temporary file has no name where the file system can do
// without (O_TMPFILE), so that a crash leaves nothing; else it lies under
// <root>/.tmp. Under the root lie blobs only, except for names that begin with
// a dot. Several processes may share a root, over NFS too. Folders stay when
// their last blob goes: another process may be about to use them.
package fs

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"granary/blob"
)

const (
	tmp           = ".tmp"
	defaultIOSize = 1 << 20
	// staleAge is how long a temporary file must not have been written to
	// before it is taken for what a crash left. Another process may own it.
	staleAge = 24 * time.Hour
)

// Config says where and how blobs are kept.
type Config struct {
	// Root is the folder; it is made if it is missing.
	Root string
	// Existing says that blobs were kept there before: a folder that is missing
	// or has nothing in it, as where a disk is not mounted, is ErrUnavailable
	// then, and not a store without blobs.
	Existing bool
	// Sync makes a blob durable before Commit returns. Without it, a power cut
	// may take what was committed in the last half minute.
	Sync bool
	// IOSize is how many bytes a long blob is written by: what is full is sent
	// to the disk while the rest is on its way, so that the sync at the end is
	// short. 0 is 1 MiB.
	IOSize int
	// DirectIO writes past the page cache, so that uploads don't evict what
	// downloads need. Reading is as ever. Open fails if the file system can't.
	DirectIO bool
	// Now is the clock that stale temporary files are found by; nil is
	// time.Now.
	Now func() time.Time
}

// Store keeps blobs in a folder. Close it when no call is running any more.
type Store struct {
	cfg       Config
	root      *os.Root
	base      *os.File // the root, for system calls
	dirs      *directories
	anonymous bool      // temporary files have no name
	buffers   sync.Pool // of *direct
}

var _ blob.Store = (*Store)(nil)

// Open opens the folder, proves that a blob can be written there, and removes
// temporary files that nobody has written to for a day.
func Open(cfg Config) (*Store, error) {
	if cfg.Root == "" {
		return nil, errors.New("open blob folder: no root given")
	}
	if cfg.IOSize <= 0 {
		cfg.IOSize = defaultIOSize
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s, err := open(cfg)
	if err != nil {
		return nil, fmt.Errorf("open blob folder %s: %w", cfg.Root, mapped(err))
	}
	return s, nil
}

func open(cfg Config) (*Store, error) {
	if cfg.Existing {
		if err := used(cfg.Root); err != nil {
			return nil, err
		}
	}
	if err := makeRoot(cfg.Root, cfg.Sync); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(cfg.Root)
	if err != nil {
		return nil, err
	}
	base, err := root.Open(".")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	s := &Store{cfg: cfg, root: root, base: base, dirs: newDirectories(root, cfg.Sync)}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// used returns an error if the folder was never opened: Open leaves .tmp in it.
func used(path string) error {
	entries, err := os.ReadDir(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if len(entries) == 0 {
		return fmt.Errorf("%w: it is missing or empty; is its disk mounted? An update of the store makes it anew", blob.ErrUnavailable)
	}
	return nil
}

// makeRoot makes path and what is missing above it.
func makeRoot(path string, sync bool) error {
	info, err := os.Stat(path)
	if err == nil && !info.IsDir() {
		return fmt.Errorf("%s is not a folder", path)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	path = filepath.Clean(path)
	parent := filepath.Dir(path)
	if err := makeRoot(parent, sync); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if !sync {
		return nil
	}
	d, err := os.Open(parent)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func (s *Store) prepare() error {
	if _, err := s.root.Lstat(tmp); errors.Is(err, fs.ErrNotExist) {
		spreadFolders(s.base)
	}
	if err := s.root.Mkdir(tmp, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if info, err := s.root.Lstat(tmp); err != nil || !info.IsDir() {
		return errors.Join(err, fmt.Errorf("%s is not a folder", filepath.Join(s.cfg.Root, tmp)))
	}
	if err := s.removeStale(); err != nil {
		return err
	}
	s.anonymous = canAnonymous
	err := s.probe()
	if err != nil && s.anonymous {
		s.anonymous = false
		err = s.probe()
	}
	return err
}

// probe writes a file the way blobs are written.
func (s *Store) probe() error {
	w := &writer{s: s, ctx: context.Background(), id: "probe", size: -1}
	if err := w.open(); err != nil {
		return fmt.Errorf("the folder is not writable: %w", err)
	}
	name := tmp + "/" + s.tempName("probe")
	_, err := w.Write(make([]byte, alignment+1))
	if err == nil {
		err = w.finish()
	}
	if err == nil {
		err = s.probeLink(w, name)
	}
	if err = errors.Join(err, w.drop()); err != nil {
		return fmt.Errorf("the folder can't keep blobs: %w", err)
	}
	return nil
}

func (s *Store) probeLink(w *writer, name string) error {
	d, err := s.root.Open(tmp)
	if err != nil {
		return err
	}
	if err = w.link(d, name); err == nil {
		err = s.root.Remove(name)
	}
	return errors.Join(err, d.Close())
}

// tempName returns a name under the folder for temporary files that nobody else
// uses: neither another process nor another Store of this one on the same folder.
func (s *Store) tempName(id blob.ID) string {
	return fmt.Sprintf("%s.%d.%s", id, os.Getpid(), rand.Text())
}

func (s *Store) removeStale() error {
	d, err := s.root.Open(tmp)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // nothing was written
	entries, err := d.ReadDir(-1)
	if err != nil {
		return err
	}
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if info.Mode().IsRegular() && s.cfg.Now().Sub(info.ModTime()) > staleAge {
			if err := s.root.Remove(tmp + "/" + e.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return nil
}

// Close frees what the store has open.
func (s *Store) Close() error { return errors.Join(s.dirs.close(), s.base.Close(), s.root.Close()) }

// valid returns the context's error, or that of the id.
func valid(ctx context.Context, id blob.ID) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	_, err := blob.ParseID(string(id))
	return err
}

// Create implements [blob.Store]. That the id is in use is seen at Commit.
func (s *Store) Create(ctx context.Context, id blob.ID, size int64) (blob.Writer, error) {
	err := valid(ctx, id)
	w := &writer{s: s, ctx: ctx, id: id, size: size}
	if err == nil {
		err = w.open()
	}
	if err != nil {
		return nil, fmt.Errorf("create blob %s: %w", id, mapped(err))
	}
	return w, nil
}

// Open implements [blob.Store]. The reader's WriteTo lets a file reach a socket
// by sendfile.
func (s *Store) Open(ctx context.Context, id blob.ID, offset, length int64) (io.ReadCloser, error) {
	r, err := s.open(ctx, id, offset, length)
	if err != nil {
		return nil, fmt.Errorf("open blob %s at %d: %w", id, offset, mapped(err))
	}
	return r, nil
}

func (s *Store) open(ctx context.Context, id blob.ID, offset, length int64) (*reader, error) {
	if err := valid(ctx, id); err != nil {
		return nil, err
	}
	if offset < 0 || length < -1 {
		return nil, fmt.Errorf("invalid range of %d bytes", length)
	}
	f, err := openBeneath(s.root, s.base, id.Path())
	if err != nil {
		return nil, err
	}
	if length < 0 {
		length = 1<<63 - 1
	}
	if offset > 0 {
		if _, err := f.Seek(offset, io.SeekStart); err != nil {
			// The file system may have no files that long.
			if info, serr := f.Stat(); serr != nil || offset < info.Size() {
				return nil, errors.Join(err, f.Close())
			}
			length = 0
		}
	}
	return &reader{f: f, id: id, left: length}, nil
}

// Stat implements [blob.Store].
func (s *Store) Stat(ctx context.Context, id blob.ID) (blob.Info, error) {
	err := valid(ctx, id)
	if err == nil {
		var i fs.FileInfo
		if i, err = s.root.Lstat(id.Path()); err == nil {
			return blob.Info{ID: id, Size: i.Size(), Modified: i.ModTime()}, nil
		}
	}
	return blob.Info{}, fmt.Errorf("stat blob %s: %w", id, mapped(err))
}

// Delete implements [blob.Store]. A power cut may bring the blob back.
func (s *Store) Delete(ctx context.Context, id blob.ID) error {
	err := valid(ctx, id)
	if err == nil {
		err = s.root.Remove(id.Path())
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("delete blob %s: %w", id, mapped(err))
	}
	return nil
}

// mapped gives an error of the file system its name in the contract.
func mapped(err error) error {
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	switch {
	case is(blob.ErrNotFound, blob.ErrExists, blob.ErrNoSpace, blob.ErrTooLarge, blob.ErrUnavailable):
		return err
	case is(fs.ErrNotExist):
		return fmt.Errorf("%w: %w", blob.ErrNotFound, err)
	case is(fs.ErrExist):
		return fmt.Errorf("%w: %w", blob.ErrExists, err)
	case is(syscall.ENOSPC, syscall.EDQUOT):
		return fmt.Errorf("%w: %w", blob.ErrNoSpace, err)
	case is(syscall.EFBIG):
		return fmt.Errorf("%w: %w", blob.ErrTooLarge, err)
	case is(syscall.EMFILE, syscall.ENFILE, syscall.ETIMEDOUT, syscall.ESTALE):
		return fmt.Errorf("%w: %w", blob.ErrUnavailable, err)
	}
	return err
}
