package repo

import (
	"context"
	"errors"
	"io"
	"sync"
	"time"
)

const (
	// tailWindow is how many bytes of a running fill are kept for its readers.
	tailWindow = 4 << 20
	// tailPatience is how long the fastest reader may stand still before the
	// fill goes on without it.
	tailPatience = 5 * time.Second
)

// errBehind tells a reader that the window has moved past it; it continues
// from the store once the fill is complete.
var errBehind = errors.New("repo: behind the window of a running fill")

// tail lets readers follow bytes as they arrive. It holds a window of them;
// the writer waits for the fastest reader, so that a single client is never
// left behind, and leaves the slower ones to the store. One goroutine writes.
type tail struct {
	window int

	mu      sync.Mutex
	changed chan struct{}            // closed and replaced at every change; guarded by mu
	buf     []byte                   // bytes [base, base+len(buf)); guarded by mu
	base    int64                    // guarded by mu
	ended   bool                     // guarded by mu
	err     error                    // why it ended, nil for well; guarded by mu
	readers map[*tailReader]struct{} // those that the writer waits for; guarded by mu
}

func newTail(window int) *tail {
	return &tail{window: window, changed: make(chan struct{}), readers: map[*tailReader]struct{}{}}
}

func (t *tail) notifyLocked() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// write adds bytes, waiting for room while a reader makes progress.
func (t *tail) write(ctx context.Context, p []byte) error {
	for len(p) > 0 {
		n, wait := t.put(p)
		p = p[n:]
		if n > 0 {
			continue
		}
		timer := time.NewTimer(tailPatience)
		select {
		case <-wait:
		case <-timer.C:
			t.abandon()
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
		timer.Stop()
	}
	return nil
}

// begun tells whether anything was written.
func (t *tail) begun() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.base+int64(len(t.buf)) > 0
}

// put appends what there is room for; with none it returns the channel that
// tells of a change.
func (t *tail) put(p []byte) (int, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if room := t.window - len(t.buf); room < len(p) {
		t.evictLocked(min(max(len(p)-room, t.window/4), len(t.buf)), t.fastestLocked())
	}
	n := min(len(p), t.window-len(t.buf))
	if n == 0 {
		return 0, t.changed
	}
	t.buf = append(t.buf, p[:n]...)
	t.notifyLocked()
	return n, nil
}

// fastestLocked returns how far the readers let the window move.
func (t *tail) fastestLocked() int64 {
	if len(t.readers) == 0 {
		return t.base + int64(len(t.buf))
	}
	var far int64
	for r := range t.readers {
		far = max(far, r.pos)
	}
	return far
}

func (t *tail) evictLocked(want int, until int64) {
	n := min(want, int(until-t.base))
	if n <= 0 {
		return
	}
	t.buf = append(t.buf[:0], t.buf[n:]...)
	t.base += int64(n)
}

// abandon stops waiting for the readers that there are now.
func (t *tail) abandon() {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(t.readers)
}

// end tells readers that no more bytes come.
func (t *tail) end(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return
	}
	t.ended, t.err = true, err
	t.notifyLocked()
}

// reader follows from an offset on.
func (t *tail) reader(ctx context.Context, offset int64) *tailReader {
	r := &tailReader{tail: t, ctx: ctx, pos: offset}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.readers[r] = struct{}{}
	return r
}

type tailReader struct {
	tail *tail
	ctx  context.Context //nolint:containedctx // an io.Reader of one request
	pos  int64           // guarded by tail.mu
}

// Read returns errBehind when the window has moved on.
func (r *tailReader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	t := r.tail
	for {
		t.mu.Lock()
		end := t.base + int64(len(t.buf))
		switch {
		case r.pos < t.base:
			t.mu.Unlock()
			return 0, errBehind
		case r.pos < end:
			n := copy(p, t.buf[r.pos-t.base:])
			r.pos += int64(n)
			if r.pos == t.fastestLocked() {
				t.notifyLocked()
			}
			t.mu.Unlock()
			return n, nil
		case t.ended:
			err := t.err
			t.mu.Unlock()
			if err == nil {
				err = io.EOF
			}
			return 0, err
		}
		changed := t.changed
		t.mu.Unlock()
		select {
		case <-changed:
		case <-r.ctx.Done():
			return 0, r.ctx.Err()
		}
	}
}

// Close lets the writer go on without the reader.
func (r *tailReader) Close() error {
	r.tail.mu.Lock()
	defer r.tail.mu.Unlock()
	delete(r.tail.readers, r)
	r.tail.notifyLocked()
	return nil
}
