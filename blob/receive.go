package blob

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"granary/blob/internal/buffer"
	"granary/digest"
)

const (
	// DefaultBuffer is up to which length in bytes a body waits in memory.
	DefaultBuffer = 8 << 20
	// chunkSize is what a streamed body is read, hashed and stored by.
	chunkSize = 1 << 20
	// ring is how many chunks a streamed body has: one being read, one waiting,
	// one being hashed and stored.
	ring = 3
	// trustedSize is up to which announced length memory is taken before any
	// byte has come; beyond, the first of it has to come first.
	trustedSize = 1 << 20
	// firstBuffer is what a body of unknown length begins with.
	firstBuffer = 64 << 10
)

// Options say how a body is received.
type Options struct {
	// Inline is up to which length in bytes [Received.Inline] offers the content
	// to be kept elsewhere than in the store. 0 offers only an empty body, -1 none.
	Inline int64
	// Buffer is up to which length in bytes a body waits in memory until it is
	// persisted. 0 is DefaultBuffer; it is never less than Inline.
	Buffer int64
	// Budget is what longer bodies take their memory from. Nil has no end.
	Budget *Budget
	// Patient lets the store make the body wait until it has memory for it; see
	// [Patient].
	Patient bool
	// Max is the longest body accepted, in bytes; 0 is no limit.
	Max int64
	// Size is the announced length in bytes, -1 if it is unknown. A body of any
	// other length is refused.
	Size int64
	// Also lists digests wanted besides BLAKE3 and SHA-256.
	Also []digest.Algorithm
	// After, if not nil, is the [Received.State] of what this body continues:
	// the SHA-256 is that of both together, the other digests are of this body.
	After []byte
	// Continued asks for [Received.State].
	Continued bool
	// NewID makes the blob's id. Nil takes time and randomness from the system;
	// [Source.NewID] is the better choice.
	NewID func() (ID, error)
}

func (o Options) withDefaults() Options {
	if o.Buffer == 0 {
		o.Buffer = DefaultBuffer
	}
	o.Buffer = max(o.Buffer, o.Inline, 0)
	if o.Size < 0 {
		o.Size = -1
	}
	if o.NewID == nil {
		o.NewID = func() (ID, error) { return NewID(time.Now(), rand.Reader) }
	}
	return o
}

// Receive reads a body once, to its end, and hashes it on the way. Up to
// o.Buffer bytes of it wait in pooled memory, and nothing is stored before
// [Received.Persist]; a longer one streams into the store, in constant memory,
// but is not committed.
//
// Errors of r are a [*ReadError]; a body that is too long or of another length
// than announced gives ErrTooLarge, ErrLength, or a ReadError of
// io.ErrUnexpectedEOF; all others come from the store. After an error nothing
// is left. Without one the caller owes a [Received.Discard].
func Receive(ctx context.Context, s Store, r io.Reader, o Options) (*Received, error) {
	o = o.withDefaults()
	if o.Max > 0 && o.Size > o.Max {
		return nil, fmt.Errorf("%w: %d bytes announced, %d allowed", ErrTooLarge, o.Size, o.Max)
	}
	h := digest.NewHasher(o.Also...)
	defer h.Release()
	if o.After != nil {
		if err := h.Continue(digest.SHA256, o.After); err != nil {
			return nil, err
		}
	}
	in := &intake{ctx: ctx, r: r, size: o.Size, max: o.Max}
	v := &Received{ctx: ctx, store: s, newID: o.NewID, inline: o.Inline}
	if err := v.receive(ctx, in, h, o); err != nil {
		return nil, errors.Join(err, v.Discard(ctx))
	}
	v.size, v.sums = h.Len(), h.Sums()
	if o.Continued {
		var err error
		if v.state, err = h.State(digest.SHA256); err != nil {
			return nil, errors.Join(err, v.Discard(ctx))
		}
	}
	return v, nil
}

func (v *Received) receive(ctx context.Context, in *intake, h *digest.Hasher, o Options) error {
	n := 0
	if o.Size <= o.Buffer {
		whole := false
		var err error
		if n, whole, err = v.hold(in, h, o); err != nil || whole {
			return err
		}
	}
	id, err := v.newID()
	if err != nil {
		return err
	}
	to := ctx
	if o.Patient {
		to = Patient(ctx)
	}
	if v.w, err = v.store.Create(to, id, o.Size); err != nil {
		return fmt.Errorf("create blob %s: %w", id, err)
	}
	v.id = id
	if n > 0 {
		h.Write(v.buf.B[h.Len():n]) //nolint:errcheck // never fails
		if _, err := v.w.Write(v.buf.B[:n]); err != nil {
			return fmt.Errorf("write blob %s: %w", id, err)
		}
		v.buf.release()
		v.buf = nil
	}
	budget := o.Budget
	if _, collects := As[Extender](v.store); collects {
		budget = none // it has memory of its own for what it is given: short chunks do
	}
	if err := pump(in, h, v.w, budget); err != nil {
		return fmt.Errorf("stream blob %s: %w", id, err)
	}
	return nil
}

// hold reads into memory until the body ends (whole), exceeds o.Buffer, or the
// budget has no more. It returns the bytes in v.buf; they are hashed only if that is all.
func (v *Received) hold(in *intake, h *digest.Hasher, o Options) (n int, whole bool, err error) {
	if v.buf = o.Budget.buffer(firstLength(o)); v.buf == nil {
		v.buf = o.Budget.buffer(firstBuffer)
	}
	for int64(n) <= o.Buffer {
		if n == len(v.buf.B) && !v.grow(o) {
			break
		}
		// In steps, so that a long body is hashed while the rest is on its way.
		m, err := in.fill(v.buf.B[n:min(len(v.buf.B), n+chunkSize)])
		n += m
		if errors.Is(err, io.EOF) && int64(n) <= o.Buffer {
			h.Write(v.buf.B[h.Len():n]) //nolint:errcheck // never fails
			v.mem = v.buf.B[:n:n]
			return n, true, nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return n, false, err
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if int64(n)-h.Len() >= chunkSize {
			h.Write(v.buf.B[h.Len():n]) //nolint:errcheck // never fails
		}
	}
	return n, false, nil
}

func firstLength(o Options) int64 {
	if o.Size >= 0 {
		return min(o.Size, trustedSize)
	}
	return min(o.Buffer, firstBuffer)
}

// grow moves what is held to a larger buffer: the announced length's, else four
// times the last one's. It tells whether there was one.
func (v *Received) grow(o Options) bool {
	n := min(4*int64(len(v.buf.B)-buffer.Slack), o.Buffer)
	if 8*n > o.Buffer {
		n = o.Buffer
	}
	if o.Size >= 0 {
		n = o.Size
	}
	b := o.Budget.buffer(n)
	if b == nil {
		return false
	}
	copy(b.B, v.buf.B)
	v.buf.release()
	v.buf = b
	return true
}

// chunk is a buffer with n bytes of a body.
type chunk struct {
	*buffer.Buffer
	n int
}

// pump moves the rest of a body to w and h by chunks. The calling goroutine
// reads; another stores and hashes each chunk at the same time, and has ended
// when pump returns.
func pump(in *intake, h *digest.Hasher, w Writer, budget *Budget) error {
	size := chunkSize
	if budget.take(ring * chunkSize) {
		defer budget.give(ring * chunkSize)
	} else {
		size = firstBuffer
	}
	free, full := make(chan *buffer.Buffer, ring), make(chan chunk, 1)
	for range ring {
		free <- buffer.New(int64(size))
	}
	failed := make(chan struct{})
	var werr error
	var wg sync.WaitGroup
	wg.Go(func() {
		for c := range full {
			if werr == nil {
				if werr = store(c.B[:c.n], h, w); werr != nil {
					close(failed)
				}
			}
			free <- c.Buffer
		}
	})
	rerr := feed(in, size, free, full, failed)
	close(full)
	wg.Wait()
	for range ring {
		(<-free).Release()
	}
	if werr != nil {
		return werr
	}
	return rerr
}

// feed reads chunks of size bytes until the body ends, or storing failed.
func feed(in *intake, size int, free chan *buffer.Buffer, full chan<- chunk, failed <-chan struct{}) error {
	for {
		b := <-free
		select {
		case <-failed:
			free <- b
			return nil
		default:
		}
		n, err := in.fill(b.B[:size])
		if n == 0 || err != nil && !errors.Is(err, io.EOF) {
			free <- b
		} else {
			full <- chunk{b, n}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func store(p []byte, h *digest.Hasher, w Writer) error {
	var wg sync.WaitGroup
	wg.Go(func() { h.Write(p) }) //nolint:errcheck // never fails
	_, err := w.Write(p)
	wg.Wait()
	return err
}
