package repo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"granary/blob"
	"granary/repo/refs"
)

// storedAtOnce is how many documents of a publication are on their way to the
// disk at the most, and held in memory for that: who waits for one waits for all.
const storedAtOnce = 4

// place is where bytes of a publication lie, or will. Documents with the same
// bytes share it.
type place struct {
	service *Service
	rc      *blob.Received
	mem     []byte        // the bytes until they are discarded, nil if they are not in memory
	done    chan struct{} // closed when held is set
	held    refs.Held

	mu    sync.Mutex
	users int // guarded by mu: who needs rc: its storing, and readers. Guards mem, too
}

// put begins to store bytes that no document before has. again: they will be
// read.
func (w *pubWriter) put(ctx context.Context, rc *blob.Received, again bool) {
	key := string(rc.Sums().BLAKE3)
	if w.places[key] != nil {
		w.service.discard(ctx, rc)
		return
	}
	at := &place{service: w.service, rc: rc, done: make(chan struct{}), users: 1}
	at.mem, _ = rc.Bytes()
	w.places[key] = at
	if again {
		w.read(ctx, at)
	}
	w.storing.Go(func() error {
		defer close(at.done)
		defer at.free(ctx)
		var err error
		if at.held, err = w.service.hold(ctx, w.repo.Store, rc); err != nil {
			return fmt.Errorf("store a document: %w", err)
		}
		return nil
	})
}

// use keeps the bytes in memory until free, if they still are.
func (at *place) use() bool {
	at.mu.Lock()
	defer at.mu.Unlock()
	if at.users == 0 || at.mem == nil {
		return false
	}
	at.users++
	return true
}

// free ends a use.
func (at *place) free(ctx context.Context) {
	at.mu.Lock()
	defer at.mu.Unlock()
	if at.users--; at.users == 0 {
		at.mem = nil
		at.service.discard(ctx, at.rc)
	}
}

// read makes a place the one whose bytes stay in memory, as what is read once is
// read again for another form; nil for none.
func (w *pubWriter) read(ctx context.Context, at *place) bool {
	if at != nil && at == w.reading {
		return true
	}
	if at != nil && !at.use() {
		return false
	}
	if w.reading != nil {
		w.reading.free(ctx)
	}
	w.reading = at
	return true
}

// open reads a document that is not inline.
func (w *pubWriter) open(at *place, f *published) (io.ReadCloser, error) {
	if w.read(w.ctx, at) {
		return io.NopCloser(bytes.NewReader(at.mem)), nil
	}
	select {
	case <-at.done:
	case <-w.ctx.Done():
		return nil, w.ctx.Err()
	}
	if at.held.Blob == "" {
		return nil, w.storing.Wait()
	}
	return w.service.opener(w.repo.Store, at.held.Blob, f.Sums)(w.ctx, 0, -1)
}

// stored waits until all bytes have a place, and tells the documents theirs.
func (w *pubWriter) stored() error {
	if err := w.storing.Wait(); err != nil {
		return err
	}
	for _, at := range w.places {
		w.held = append(w.held, at.held)
	}
	for i := range w.pub.Files {
		for f := &w.pub.Files[i]; f != nil; f = f.Gzip {
			if at := w.places[string(f.Sums.BLAKE3)]; at != nil && f.Inline == nil && f.Of == "" {
				f.Blob = at.held.Blob
			}
		}
	}
	return nil
}
