package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"granary/blob"
)

// run remembers every id that a check used.
type run struct {
	Checker

	mu  sync.Mutex // guards ids, and reads from Random
	ids []blob.ID
}

func (r *run) newID() (blob.ID, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	id, err := blob.NewID(r.Now(), r.Random)
	if err == nil {
		r.ids = append(r.ids, id)
	}
	return id, err
}

// clean removes all that was written, also when ctx has ended.
func (r *run) clean(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
	defer cancel()
	var errs []error
	for _, id := range r.ids {
		if err := r.Store.Delete(ctx, id); err != nil {
			errs = append(errs, err)
			continue
		}
		if _, err := r.Store.Stat(ctx, id); !errors.Is(err, blob.ErrNotFound) {
			errs = append(errs, fmt.Errorf("stat %s after delete: %v, want not found", id, err)) //nolint:errorlint // may be nil
		}
	}
	return errors.Join(errs...)
}

// put stores content under a new id.
func (r *run) put(ctx context.Context, content []byte, size int64) (blob.ID, error) {
	id, err := r.newID()
	if err != nil {
		return "", err
	}
	return id, r.putAs(ctx, id, content, size)
}

func (r *run) putAs(ctx context.Context, id blob.ID, content []byte, size int64) error {
	w, err := r.Store.Create(ctx, id, size)
	if err != nil {
		return fmt.Errorf("create: %w", err)
	}
	// In two pieces out of a slice that changes afterwards.
	p := bytes.Clone(content)
	for _, piece := range [][]byte{p[:len(p)/3], p[len(p)/3:]} {
		n, err := w.Write(piece)
		if err == nil && n != len(piece) {
			err = io.ErrShortWrite
		}
		if err != nil {
			return errors.Join(fmt.Errorf("write: %w", err), w.Abort(ctx))
		}
		clear(piece)
	}
	if err := w.Commit(ctx); err != nil {
		return errors.Join(fmt.Errorf("commit: %w", err), w.Abort(ctx))
	}
	if err := w.Abort(ctx); err != nil {
		return fmt.Errorf("abort after commit: %w", err)
	}
	return nil
}

// expect reads a range and compares it.
func (r *run) expect(ctx context.Context, id blob.ID, off, n int64, want []byte) error {
	rc, err := r.Store.Open(ctx, id, off, n)
	if err != nil {
		return fmt.Errorf("open at %d, %d bytes: %w", off, n, err)
	}
	got, err := io.ReadAll(rc)
	if cerr := rc.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("read at %d, %d bytes: %w", off, n, err)
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("read at %d, %d bytes: got %d bytes, want %d, or other ones", off, n, len(got), len(want))
	}
	return nil
}

// listed tells whether a list of prefix has id, once, with the right size.
func (r *run) listed(ctx context.Context, prefix string, id blob.ID, size int64) (bool, error) {
	found := 0
	for info, err := range r.Store.List(ctx, prefix) {
		if err != nil {
			return false, fmt.Errorf("list %q: %w", prefix, err)
		}
		if info.ID == id {
			found++
			if info.Size != size {
				return false, fmt.Errorf("list %q: %s has %d bytes, want %d", prefix, id, info.Size, size)
			}
		}
	}
	if found > 1 {
		return false, fmt.Errorf("list %q has %s %d times", prefix, id, found)
	}
	return found == 1, nil
}

// absent fails if anything of id can be seen.
func (r *run) absent(ctx context.Context, id blob.ID) error {
	if _, err := r.Store.Stat(ctx, id); !errors.Is(err, blob.ErrNotFound) {
		return fmt.Errorf("stat: %v, want not found", err) //nolint:errorlint // may be nil
	}
	rc, err := r.Store.Open(ctx, id, 0, -1)
	if err == nil {
		_, err = io.ReadAll(rc)
		rc.Close() //nolint:errcheck // the read's error tells
	}
	if !errors.Is(err, blob.ErrNotFound) {
		return fmt.Errorf("open: %v, want not found", err) //nolint:errorlint // may be nil
	}
	if ok, err := r.listed(ctx, id.Path(), id, -1); ok || err != nil {
		return fmt.Errorf("list shows it: %w", err)
	}
	return nil
}

// pattern returns n bytes of which no two places look alike.
func pattern(n int) []byte {
	b := make([]byte, n)
	x := uint32(n)*2654435761 + 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x)
	}
	return b
}
