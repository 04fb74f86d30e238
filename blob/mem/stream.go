package mem

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"slices"
	"sync"

	"granary/blob"
)

// writer holds a blob until it is committed.
type writer struct {
	s    *Store
	ctx  context.Context //nolint:containedctx // of Create: Write has none of its own
	id   blob.ID
	size int64 // announced, or -1

	using sync.Mutex // held by each call: a writer belongs to one goroutine
	data  []byte
	ended bool // no more writes
	done  bool // committed or aborted: nothing is left to drop
}

// use reports concurrent calls and returns what ends this one.
func (w *writer) use() func() {
	if !w.using.TryLock() {
		w.s.cfg.Report("blob/mem: the writer of %s is used by two goroutines", w.id)
		w.using.Lock()
	}
	return w.using.Unlock
}

// Write implements [blob.Writer].
func (w *writer) Write(p []byte) (int, error) {
	defer w.use()()
	if w.ended {
		w.s.cfg.Report("blob/mem: write to %s after its end", w.id)
		return 0, fmt.Errorf("write blob %s: the writer has ended", w.id)
	}
	err := w.s.do(w.ctx, Write, w.id, func() error {
		n := int64(len(w.data) + len(p))
		if w.size >= 0 && n > w.size {
			return fmt.Errorf("%w: more than %d bytes", blob.ErrLength, w.size)
		}
		if w.s.cfg.Quota > 0 && w.s.used+n > w.s.cfg.Quota {
			return blob.ErrNoSpace
		}
		w.data = append(w.data, p...)
		return nil
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// Commit implements [blob.Writer].
func (w *writer) Commit(ctx context.Context) error {
	defer w.use()()
	if w.ended {
		w.s.cfg.Report("blob/mem: commit of %s after its end", w.id)
		return fmt.Errorf("commit blob %s: the writer has ended", w.id)
	}
	w.ended = true
	err := w.s.do(ctx, Commit, w.id, func() error {
		n := int64(len(w.data))
		if w.size >= 0 && n != w.size {
			return fmt.Errorf("%w: %d of %d bytes written", blob.ErrLength, n, w.size)
		}
		if _, ok := w.s.blobs[w.id]; ok {
			return blob.ErrExists
		}
		if w.s.cfg.Quota > 0 && w.s.used+n > w.s.cfg.Quota {
			return blob.ErrNoSpace
		}
		data := slices.Clip(w.data)
		w.s.blobs[w.id] = object{data, crc32.Checksum(data, table), w.s.cfg.Now()}
		w.s.used += n
		return nil
	})
	if err != nil {
		return err
	}
	w.done = true
	w.s.opened(w.id, -1)
	return nil
}

// Abort implements [blob.Writer].
func (w *writer) Abort(ctx context.Context) error {
	defer w.use()()
	if w.done {
		return nil
	}
	w.ended, w.done, w.data = true, true, nil
	w.s.opened(w.id, -1)
	return w.s.do(ctx, Abort, w.id, func() error { return nil })
}

// reader reads a blob. It has no WriteTo, which would hand out its bytes.
type reader struct {
	s      *Store
	ctx    context.Context //nolint:containedctx // of Open: Read has none of its own
	id     blob.ID
	r      *bytes.Reader
	closed bool
}

func (r *reader) Read(p []byte) (int, error) {
	if r.closed {
		r.s.cfg.Report("blob/mem: read of %s after close", r.id)
		return 0, fmt.Errorf("read blob %s: closed", r.id)
	}
	if err := r.s.do(r.ctx, Read, r.id, func() error { return nil }); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

func (r *reader) Close() error {
	if !r.closed {
		r.closed = true
		r.s.opened(r.id, -1)
	}
	return nil
}
