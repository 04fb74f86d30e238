// Package meter tells an observer what the calls to a blob store come to, how
// long they take and how many bytes they move. It changes nothing of what they
// do; a file still reaches a socket without being copied.
package meter

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"

	"granary/blob"
)

// Operations, in the order of [Ops].
const (
	read = iota
	write
	stat
	remove
	list
	presign
)

// Ops names the operations that an [Observer] hears of by number. A write is
// all from Create or Extend to Commit or Abort, a read all from Open to Close.
var Ops = []string{"read", "write", "stat", "delete", "list", "presign"}

// Results, in the order of [Results].
const (
	success = iota
	notFound
	noSpace
	unavailable
	aborted
	canceled
	failed
)

// Results names what calls come to, by number.
var Results = []string{"success", "not_found", "no_space", "unavailable", "aborted", "canceled", "error"}

// Observer is told of calls. It is used concurrently and must be quick.
type Observer interface {
	// Begin is told that a call begins.
	Begin()
	// End is told that a call has ended, and how long the store took for it:
	// not what the source or the taker of the bytes did. op and result are
	// places in Ops and Results.
	End(op, result int, took time.Duration)
	// Read and Written are told of bytes that came out of the store and went
	// into it.
	Read(n int64)
	Written(n int64)
}

// Tracer is an [Observer] that shows single calls too. It is optional.
type Tracer interface {
	// Trace is told of a call that begins; op is a place in Ops. What it
	// returns is told of its result, a place in Results, when the call has
	// ended: a write is all from Create to Commit, at the pace of its source. It
	// is nil to hear nothing of this call.
	Trace(ctx context.Context, op int) (end func(result int))
}

// Store tells its observer of the calls to the store it wraps; make it with
// [New].
type Store struct {
	inner    blob.Store
	observer Observer
	tracer   Tracer // nil if there is none
}

var (
	_ blob.Store       = (*Store)(nil)
	_ blob.ManyDeleter = (*Store)(nil)
	_ blob.Unwrapper   = (*Store)(nil)
)

// New wraps a store.
func New(inner blob.Store, o Observer) blob.Store {
	t, _ := o.(Tracer)
	s := &Store{inner, o, t}
	var out blob.Store = s
	if p, ok := blob.As[blob.Presigner](inner); ok {
		out = &presigning{s, p}
	}
	if p, ok := blob.As[blob.Putter](inner); ok {
		out = &putting{out, s, p}
	}
	if e, ok := blob.As[blob.Extender](inner); ok {
		out = &extending{out, s, e}
	}
	return out
}

// Unwrap implements [blob.Unwrapper].
func (s *Store) Unwrap() blob.Store { return s.inner }

func resultOf(err error) int {
	switch {
	case err == nil:
		return success
	case errors.Is(err, blob.ErrNotFound):
		return notFound
	case errors.Is(err, blob.ErrNoSpace):
		return noSpace
	case errors.Is(err, context.Canceled):
		return canceled
	case errors.Is(err, blob.ErrUnavailable):
		return unavailable
	}
	return failed
}

// call is one under way.
type call struct {
	op    int
	began time.Time
	end   func(result int) // nil if nobody traces it
}

func (s *Store) began(ctx context.Context, op int) call {
	c := call{op: op}
	if s.tracer != nil {
		c.end = s.tracer.Trace(ctx, op)
	}
	s.observer.Begin()
	c.began = time.Now()
	return c
}

func (s *Store) ended(c call, err error) error {
	s.over(c, resultOf(err), time.Since(c.began))
	return err
}

// over tells of the end of a call for which the store took some time.
func (s *Store) over(c call, result int, took time.Duration) {
	s.observer.End(c.op, result, took)
	if c.end != nil {
		c.end(result)
	}
}

// Create implements [blob.Store].
func (s *Store) Create(ctx context.Context, id blob.ID, size int64) (blob.Writer, error) {
	c := s.began(ctx, write)
	w, err := s.inner.Create(ctx, id, size)
	if err != nil {
		return nil, s.ended(c, err)
	}
	return &writer{store: s, call: c, inner: w, took: time.Since(c.began)}, nil
}

// writer adds up the time that the store takes.
type writer struct {
	store *Store
	call  call
	inner blob.Writer
	took  time.Duration
	ended bool
}

func (w *writer) Write(p []byte) (int, error) {
	began := time.Now()
	n, err := w.inner.Write(p)
	w.took += time.Since(began)
	w.store.observer.Written(int64(n))
	return n, err
}

func (w *writer) Commit(ctx context.Context) error {
	began := time.Now()
	err := w.inner.Commit(ctx)
	w.took += time.Since(began)
	w.end(resultOf(err))
	return err
}

func (w *writer) Abort(ctx context.Context) error {
	began := time.Now()
	err := w.inner.Abort(ctx)
	w.took += time.Since(began)
	if result := resultOf(err); result != success {
		w.end(result)
	} else {
		w.end(aborted)
	}
	return err
}

// end tells of the first end: Abort may follow Commit.
func (w *writer) end(result int) {
	if !w.ended {
		w.ended = true
		w.store.over(w.call, result, w.took)
	}
}

// Open implements [blob.Store].
func (s *Store) Open(ctx context.Context, id blob.ID, offset, length int64) (io.ReadCloser, error) {
	c := s.began(ctx, read)
	r, err := s.inner.Open(ctx, id, offset, length)
	if err != nil {
		return nil, s.ended(c, err)
	}
	return &reader{store: s, call: c, inner: r, took: time.Since(c.began)}, nil
}

// reader counts bytes. Its time is that of Open: what follows goes at the pace
// of who takes it.
type reader struct {
	store  *Store
	call   call
	inner  io.ReadCloser
	took   time.Duration
	result int
	ended  bool
}

var (
	_ io.WriterTo = (*reader)(nil)
	_ blob.Stater = (*reader)(nil)
)

// Stat implements [blob.Stater]; it is not counted.
func (r *reader) Stat() (blob.Info, error) {
	if info, ok := blob.StatReader(r.inner); ok {
		return info, nil
	}
	return blob.Info{}, blob.ErrNotTold
}

func (r *reader) Read(p []byte) (int, error) {
	n, err := r.inner.Read(p)
	r.store.observer.Read(int64(n))
	if err != nil && !errors.Is(err, io.EOF) {
		r.result = resultOf(err)
	}
	return n, err
}

// WriteTo leaves it to the wrapped reader how the bytes get to w. Whose an
// error is can't be told: the taker's is the usual one.
func (r *reader) WriteTo(w io.Writer) (int64, error) {
	n, err := io.Copy(w, r.inner)
	r.store.observer.Read(n)
	return n, err
}

func (r *reader) Close() error {
	err := r.inner.Close()
	if !r.ended {
		r.ended = true
		r.store.over(r.call, r.result, r.took)
	}
	return err
}

// Stat implements [blob.Store].
func (s *Store) Stat(ctx context.Context, id blob.ID) (blob.Info, error) {
	c := s.began(ctx, stat)
	info, err := s.inner.Stat(ctx, id)
	return info, s.ended(c, err)
}

// Delete implements [blob.Store].
func (s *Store) Delete(ctx context.Context, id blob.ID) error {
	c := s.began(ctx, remove)
	return s.ended(c, s.inner.Delete(ctx, id))
}

// DeleteMany implements [blob.ManyDeleter]; it is one operation.
func (s *Store) DeleteMany(ctx context.Context, ids []blob.ID) error {
	c := s.began(ctx, remove)
	return s.ended(c, blob.DeleteMany(ctx, s.inner, ids))
}

// List implements [blob.Store]. Its time is that to the first blob, or to the
// end where there is none.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		c := s.began(ctx, list)
		first := time.Duration(-1)
		var failure error
		defer func() {
			if first < 0 {
				first = time.Since(c.began)
			}
			s.over(c, resultOf(failure), first)
		}()
		for info, err := range s.inner.List(ctx, prefix) {
			if first < 0 {
				first = time.Since(c.began)
			}
			failure = err
			if !yield(info, err) {
				return
			}
		}
	}
}

// presigning is a Store whose blobs clients can fetch themselves.
type presigning struct {
	*Store
	inner blob.Presigner
}

var _ blob.Presigner = (*presigning)(nil)

// Presign implements [blob.Presigner].
func (s *presigning) Presign(ctx context.Context, id blob.ID, ttl time.Duration, h blob.Header) (string, error) {
	c := s.began(ctx, presign)
	url, err := s.inner.Presign(ctx, id, ttl, h)
	return url, s.ended(c, err)
}
