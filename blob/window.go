package blob

import (
	"context"
	"errors"
	"fmt"
	"io"

	"granary/blob/internal/buffer"
)

const (
	minWindow = 64 << 10 // bytes fetched at a jump
	maxWindow = 1 << 20  // bytes fetched when reading goes on and on
)

// window reads a blob at any offset through one cached piece of it, which gets
// longer while reads follow each other.
type window struct {
	store Store
	id    ID
	size  int64 // of the blob

	buf  *buffer.Buffer
	off  int64 // of the piece
	n    int   // its length
	next int64 // length of the next piece
}

func (w *window) close() {
	if w != nil {
		w.buf.Release()
		w.buf, w.n = nil, 0
	}
}

func (w *window) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, errors.New("blob: negative offset")
	}
	n := 0
	for n < len(p) && off < w.size {
		if off < w.off || off >= w.off+int64(w.n) {
			if err := w.load(ctx, off); err != nil {
				return n, err
			}
		}
		m := copy(p[n:], w.buf.B[off-w.off:w.n])
		n += m
		off += int64(m)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// load fetches the piece that begins at off, which is within the blob.
func (w *window) load(ctx context.Context, off int64) error {
	if w.n > 0 && off == w.off+int64(w.n) {
		w.next = min(2*w.next, maxWindow)
	} else {
		w.next = minWindow
	}
	if w.buf == nil || int64(len(w.buf.B)) < w.next {
		w.buf.Release()
		w.buf = buffer.New(w.next)
	}
	w.n = 0
	want := min(w.next, w.size-off)
	r, err := w.store.Open(ctx, w.id, off, want)
	if err != nil {
		return fmt.Errorf("open blob %s at %d: %w", w.id, off, err)
	}
	defer r.Close() //nolint:errcheck // nothing was written
	n, err := io.ReadFull(r, w.buf.B[:want])
	if err != nil {
		return fmt.Errorf("read blob %s at %d: %w", w.id, off, err)
	}
	w.off, w.n = off, n
	return nil
}
