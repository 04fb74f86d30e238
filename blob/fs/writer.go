package fs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"

	"granary/blob"
)

// alignment is what length, offset and memory of direct writes are multiples
// of.
const alignment = 4096

// writer writes one temporary file and puts it into place.
type writer struct {
	s    *Store
	ctx  context.Context //nolint:containedctx // of Create: Write has none of its own
	id   blob.ID
	size int64 // announced, or -1

	f       *os.File
	temp    string // path under the root, "" if the file has no name
	n       int64  // bytes taken
	started int64  // up to where write-back was started
	direct  *direct
	ended   bool // no more writes
	done    bool // committed or dropped
}

func (w *writer) open() error {
	flags := os.O_WRONLY
	if w.s.cfg.DirectIO {
		if !canDirect {
			return errors.New("direct_io is not supported on this system")
		}
		flags |= directFlag
		w.direct = newDirect(&w.s.buffers, w.s.cfg.IOSize)
	}
	var err error
	if w.s.anonymous {
		w.f, err = w.s.root.OpenFile(tmp, flags|anonymousFlag, 0o644)
	} else {
		w.temp = tmp + "/" + w.s.tempName(w.id)
		w.f, err = w.s.root.OpenFile(w.temp, flags|os.O_CREATE|os.O_EXCL, 0o644)
	}
	if err != nil {
		w.direct.release()
		if w.direct != nil && errors.Is(err, syscall.EINVAL) {
			return fmt.Errorf("the file system has no direct_io: %w", err)
		}
	}
	return err
}

// Write implements [blob.Writer]. After an error nothing is left on the disk.
func (w *writer) Write(p []byte) (int, error) {
	err := w.write(p)
	if err != nil {
		return 0, fmt.Errorf("write blob %s at %d: %w", w.id, w.n, mapped(errors.Join(err, w.drop())))
	}
	return len(p), nil
}

func (w *writer) write(p []byte) error {
	switch {
	case w.ended:
		return os.ErrClosed
	case w.ctx.Err() != nil:
		return context.Cause(w.ctx)
	case w.size >= 0 && w.n+int64(len(p)) > w.size:
		return fmt.Errorf("%w: more than %d bytes", blob.ErrLength, w.size)
	case w.direct != nil:
		w.n += int64(len(p))
		return w.direct.write(w.f, p)
	}
	for step := int64(w.s.cfg.IOSize); len(p) > 0; {
		m, err := w.f.Write(p[:min(int64(len(p)), step, copySize)])
		w.n += int64(m)
		if err != nil {
			return err
		}
		p = p[m:]
		if w.s.cfg.Sync && w.n-w.started >= step {
			startWriteBack(w.f, w.started, w.n-w.started)
			w.started = w.n
		}
	}
	return nil
}

// copySize is the most that one system call writes through the page cache, in
// bytes. Linux allocates large folios for more, which costs up to twice the
// processor time where that memory was not used lately.
const copySize = 64 << 10

// Commit implements [blob.Writer].
func (w *writer) Commit(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("commit blob %s: %w", w.id, context.Cause(ctx))
	}
	err := w.finish()
	if err == nil {
		err = w.publish()
	}
	if err = errors.Join(err, w.drop()); err != nil {
		return fmt.Errorf("commit blob %s: %w", w.id, mapped(err))
	}
	return nil
}

// finish checks the length and makes the bytes durable.
func (w *writer) finish() error {
	if w.ended {
		return os.ErrClosed
	}
	w.ended = true
	if w.size >= 0 && w.n != w.size {
		return fmt.Errorf("%w: %d of %d bytes written", blob.ErrLength, w.n, w.size)
	}
	if w.direct != nil {
		if err := w.direct.finish(w.f); err != nil {
			return err
		}
	}
	if w.s.cfg.Sync {
		return w.f.Sync()
	}
	return nil
}

// publish links the file into its folder. Folders that somebody removed since
// they were opened are made again, one level per attempt.
func (w *writer) publish() (err error) {
	for range 3 {
		if err = w.tryPublish(); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return err
}

func (w *writer) tryPublish() error {
	final := w.id.Path()
	d, err := w.s.dirs.acquire(path.Dir(final))
	if err != nil {
		return err
	}
	if err = w.link(d.f, final); errors.Is(err, fs.ErrNotExist) {
		w.s.dirs.forget(d)
	}
	if err == nil {
		if err = w.s.dirs.syncDir(d); err != nil {
			err = errors.Join(err, w.s.root.Remove(final))
		}
	}
	return errors.Join(err, w.s.dirs.release(d))
}

// link gives the file a name, which must not exist, in the open folder dir.
func (w *writer) link(dir *os.File, name string) error {
	if w.temp == "" {
		return linkAnonymous(w.f, dir, path.Base(name))
	}
	err := w.s.root.Link(w.temp, name)
	if errors.Is(err, fs.ErrExist) {
		// Over NFS the reply may have been lost, and this is a second attempt.
		a, aerr := w.s.root.Lstat(w.temp)
		b, berr := w.s.root.Lstat(name)
		if aerr == nil && berr == nil && os.SameFile(a, b) {
			return nil
		}
	}
	return err
}

// Abort implements [blob.Writer].
func (w *writer) Abort(context.Context) error {
	if err := w.drop(); err != nil {
		return fmt.Errorf("abort blob %s: %w", w.id, err)
	}
	return nil
}

// drop removes the temporary file, once. What was linked into place stays.
func (w *writer) drop() error {
	w.ended = true
	if w.done {
		return nil
	}
	w.done = true
	w.direct.release()
	err := w.f.Close()
	if w.temp != "" {
		if rerr := w.s.root.Remove(w.temp); !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return err
}
