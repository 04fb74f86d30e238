package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"granary/digest"
)

// discardTimeout is how long a Discard may take that outlives its request.
const discardTimeout = 30 * time.Second

// Received is a body that was read to its end and hashed. Who got it calls
// Discard once, in any case (defer it): that frees its memory and, unless Keep
// was called, removes from the store what Persist put there:
//
//	v, err := blob.Receive(ctx, store, body, options)
//	…
//	defer v.Discard(ctx)
//	id, err := v.Persist(ctx)
//	… write what refers to id …
//	v.Keep()
//
// When the outcome of writing the reference is unknown, Keep: an unreferenced
// blob is collected, a missing one is lost. Methods may be called concurrently.
type Received struct {
	ctx   context.Context //nolint:containedctx // io.ReaderAt has no other way to be cancelled
	store Store
	newID func() (ID, error)

	size   int64
	sums   digest.Sums
	state  []byte
	inline int64

	mu     sync.Mutex // guards what follows
	buf    *loan      // memory behind mem
	mem    []byte     // the content, nil if it was streamed
	w      Writer     // of a streamed one
	id     ID         // of w, then of the stored blob
	stored bool
	err    error // of committing w, which can't be repeated
	maybe  []ID  // ids under which failed attempts may have left something
	kept   bool
	closed bool
	win    *window
}

// Size returns the length in bytes.
func (v *Received) Size() int64 { return v.size }

// Sums returns BLAKE3, SHA-256 and the digests that were asked for.
func (v *Received) Sums() digest.Sums { return v.sums }

// State is the state of SHA-256 after the body, if [Options.Continued] asked
// for it: what a body that goes on with this one is received After.
func (v *Received) State() []byte { return v.state }

// Bytes returns the content if it is in memory. It is valid until Discard and
// must not be changed.
func (v *Received) Bytes() ([]byte, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.mem, v.mem != nil
}

// Inline returns the content if it is not longer than [Options.Inline]. It is
// valid until Discard and must not be changed.
func (v *Received) Inline() ([]byte, bool) {
	if v.size > v.inline {
		return nil, false
	}
	return v.Bytes()
}

// Persist makes the content durable in the store and returns its id: what is in
// memory is uploaded, what was streamed is committed. Once it has succeeded,
// calling it again returns the same id. After an error it may be called again;
// a streamed body then keeps failing, as its bytes are gone.
func (v *Received) Persist(ctx context.Context) (ID, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err := v.persist(ctx); err != nil {
		return "", err
	}
	return v.id, nil
}

func (v *Received) persist(ctx context.Context) error {
	switch {
	case v.closed:
		return fmt.Errorf("persist a discarded body: %w", os.ErrClosed)
	case v.stored:
		return nil
	case v.mem != nil:
		return v.upload(ctx)
	case v.err != nil:
		return v.err
	}
	if err := v.w.Commit(ctx); err != nil {
		v.err = fmt.Errorf("commit blob %s: %w", v.id, err)
		return v.err
	}
	v.stored = true
	return nil
}

// upload stores what is in memory, under a new id for each attempt.
func (v *Received) upload(ctx context.Context) error {
	id, err := v.newID()
	if err != nil {
		return err
	}
	if begun, err := put(ctx, v.store, id, v.mem); err != nil {
		if begun && !errors.Is(err, ErrExists) { // else it is another's blob, or none
			v.maybe = append(v.maybe, id)
		}
		return err
	}
	v.id, v.stored = id, true
	return nil
}

// put stores what is in memory. begun is false if nothing of it can be there.
func put(ctx context.Context, s Store, id ID, content []byte) (begun bool, err error) {
	if p, ok := As[Putter](s); ok {
		if err := p.Put(ctx, id, content); err != nil {
			return true, fmt.Errorf("write blob %s: %w", id, err)
		}
		return true, nil
	}
	w, err := s.Create(ctx, id, int64(len(content)))
	if err != nil {
		return false, fmt.Errorf("create blob %s: %w", id, err)
	}
	if _, err = w.Write(content); err == nil {
		err = w.Commit(ctx)
	}
	if err == nil {
		return true, nil
	}
	dctx, cancel := detach(ctx)
	defer cancel()
	return true, errors.Join(fmt.Errorf("write blob %s: %w", id, err), w.Abort(dctx))
}

// Keep says that the stored blob is needed: Discard will not remove it.
func (v *Received) Keep() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.kept = v.stored
}

// Discard frees the memory and removes from the store whatever is there of the
// body, unless Keep was called. It goes on, for half a minute, when ctx is
// cancelled; calling it again does nothing. What it can't remove is
// unreferenced, and the garbage collector's.
func (v *Received) Discard(ctx context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closed {
		return nil
	}
	v.closed = true
	v.mem = nil
	v.buf.release()
	v.buf = nil
	v.win.close()
	if v.w == nil && len(v.maybe) == 0 && (v.kept || !v.stored) {
		return nil
	}
	dctx, cancel := detach(ctx)
	defer cancel()
	var errs []error
	if v.w != nil && !v.stored {
		errs = append(errs, v.w.Abort(dctx))
	}
	if v.err != nil && !errors.Is(v.err, ErrExists) || v.stored && !v.kept {
		v.maybe = append(v.maybe, v.id)
	}
	for _, id := range v.maybe {
		errs = append(errs, v.store.Delete(dctx, id))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("discard body: %w", err)
	}
	return nil
}

func detach(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), discardTimeout)
}

// ReadAt implements [io.ReaderAt]. A streamed body is committed to the store
// first, then read from there by windows; Discard still removes it.
func (v *Received) ReadAt(p []byte, off int64) (int, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.closed:
		return 0, fmt.Errorf("read a discarded body: %w", os.ErrClosed)
	case v.mem != nil:
		return bytes.NewReader(v.mem).ReadAt(p, off)
	}
	if err := v.persist(v.ctx); err != nil {
		return 0, err
	}
	if v.win == nil {
		v.win = &window{store: v.store, id: v.id, size: v.size}
	}
	return v.win.readAt(v.ctx, p, off)
}
