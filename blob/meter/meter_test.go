package meter_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"granary/blob"
	"granary/blob/blobtest"
	"granary/blob/fs"
	"granary/blob/mem"
	"granary/blob/meter"
)

// heard counts what it is told.
type heard struct {
	mu            sync.Mutex
	inFlight      int
	calls         map[string]int
	read, written int64
}

func (h *heard) Begin() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inFlight++
}

func (h *heard) End(op, result int, took time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.inFlight--
	if took < 0 {
		h.calls["negative"]++
	}
	h.calls[meter.Ops[op]+" "+meter.Results[result]]++
}

func (h *heard) Read(n int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.read += n
}

func (h *heard) Written(n int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.written += n
}

func (h *heard) wants(t *testing.T, read, written int64, want ...string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	var got []string
	for call, n := range h.calls {
		got = append(got, fmt.Sprintf("%s %d", call, n))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) || h.inFlight != 0 || h.read != read || h.written != written {
		t.Errorf("%q, %d in flight, %d read, %d written; want %q, %d and %d", got, h.inFlight, h.read, h.written, want, read, written)
	}
	clear(h.calls)
	h.read, h.written = 0, 0
}

func TestConformance(t *testing.T) {
	blobtest.Test(t, func(t *testing.T) blob.Store {
		s := mem.New(mem.Config{Report: t.Errorf})
		t.Cleanup(s.Check)
		return meter.New(s, &heard{calls: map[string]int{}})
	})
}

// traced is an observer that traces every call.
type traced struct {
	heard
	traces []string
}

func (h *traced) Trace(_ context.Context, op int) func(result int) {
	return func(result int) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.traces = append(h.traces, meter.Ops[op]+" "+meter.Results[result])
	}
}

// A read is under way until it is closed, a write until it is committed or
// given up.
func TestTracer(t *testing.T) {
	ctx, h, id := t.Context(), &traced{heard: heard{calls: map[string]int{}}}, newID(t)
	s := meter.New(mem.New(mem.Config{Report: t.Errorf}), h)
	ended := func(want ...string) {
		t.Helper()
		if !slices.Equal(h.traces, want) {
			t.Errorf("traced %q, want %q", h.traces, want)
		}
		h.traces = nil
	}
	for _, end := range []string{"aborted", "success"} {
		w, err := s.Create(ctx, id, -1)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, "hello"); err != nil {
			t.Fatal(err)
		}
		ended()
		if end == "success" {
			err = w.Commit(ctx)
		}
		if err = errors.Join(err, w.Abort(ctx)); err != nil {
			t.Fatal(err)
		}
		ended("write " + end)
	}
	r, err := s.Open(ctx, id, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	ended()
	if err := errors.Join(r.Close(), r.Close()); err != nil {
		t.Fatal(err)
	}
	ended("read success")
	for range s.List(ctx, "") {
		ended()
	}
	if _, err := s.Stat(ctx, id); err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(ctx, id); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(ctx, id, 0, -1); !errors.Is(err, blob.ErrNotFound) {
		t.Fatal(err)
	}
	ended("list success", "stat success", "delete success", "read not_found")
}

func newID(t *testing.T) blob.ID {
	t.Helper()
	id, err := blob.NewID(time.Now(), bytes.NewReader(bytes.Repeat([]byte{7}, 64)))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestCallsAreTold(t *testing.T) {
	ctx, h, id := t.Context(), &heard{calls: map[string]int{}}, newID(t)
	s := meter.New(mem.New(mem.Config{Report: t.Errorf}), h)
	if _, err := s.Open(ctx, id, 0, -1); !errors.Is(err, blob.ErrNotFound) {
		t.Fatal(err)
	}
	w, err := s.Create(ctx, id, -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.Commit(ctx), w.Abort(ctx)); err != nil {
		t.Fatal(err)
	}
	h.wants(t, 0, 5, "read not_found 1", "write success 1")

	r, err := s.Open(ctx, id, 1, 3)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(r); string(b) != "ell" || err != nil {
		t.Fatalf("%q, %v", b, err)
	}
	info, err := s.Stat(ctx, id)
	if err != nil || info.Size != 5 {
		t.Fatalf("%+v, %v", info, err)
	}
	for _, err := range s.List(ctx, "") {
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(r.Close(), blob.DeleteMany(ctx, s, []blob.ID{id}), s.Delete(ctx, id)); err != nil {
		t.Fatal(err)
	}
	h.wants(t, 3, 0, "read success 1", "stat success 1", "list success 1", "delete success 2")
}

// What was not committed has been written all the same, and ends.
func TestAbort(t *testing.T) {
	ctx, h := t.Context(), &heard{calls: map[string]int{}}
	w, err := meter.New(mem.New(mem.Config{Report: t.Errorf}), h).Create(ctx, newID(t), -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("half")); err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(ctx); err != nil {
		t.Fatal(err)
	}
	h.wants(t, 0, 4, "write aborted 1")
}

// taker is given files as a socket is.
type taker struct {
	file bool
	bytes.Buffer
}

func (w *taker) ReadFrom(r io.Reader) (int64, error) {
	if l, ok := r.(*io.LimitedReader); ok {
		_, w.file = l.R.(*os.File)
	}
	return w.Buffer.ReadFrom(r)
}

func TestFilesStayFiles(t *testing.T) {
	ctx, h, id := t.Context(), &heard{calls: map[string]int{}}, newID(t)
	files, err := fs.Open(fs.Config{Root: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s := meter.New(files, h)
	w, err := s.Create(ctx, id, 5)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	r, err := s.Open(ctx, id, 1, -1)
	if err != nil {
		t.Fatal(err)
	}
	to := &taker{}
	if n, err := io.Copy(to, r); n != 4 || err != nil || to.String() != "ello" || !to.file {
		t.Errorf("%d bytes %q, %v; from a file: %v", n, to.String(), err, to.file)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	h.wants(t, 4, 5, "write success 1", "read success 1")
}

// optional has a part that only some stores have.
type optional struct{ blob.Store }

func (optional) Presign(context.Context, blob.ID, time.Duration, blob.Header) (string, error) {
	return "http://127.0.0.1/", nil
}

func (optional) Odd() string { return "odd" }

// extender takes pieces that it does not keep.
type extender struct{ optional }

func (extender) LeastPiece() int64                              { return 5 }
func (extender) Pieces(int, int64) int                          { return 1 }
func (extender) Begin(context.Context, blob.ID) (string, error) { return "upload", nil }

func (extender) Extend(ctx context.Context, _ blob.ID, _ string, number int, size int64) (blob.Extension, error) {
	return &lost{blob.Piece{Number: number, Size: size}}, ctx.Err()
}

func (extender) Assemble(context.Context, blob.ID, string, []blob.Piece) error {
	return blob.ErrNoSpace
}
func (extender) Drop(context.Context, blob.ID, string) error { return nil }

type lost struct{ piece blob.Piece }

func (*lost) Write(p []byte) (int, error)  { return len(p), nil }
func (*lost) Commit(context.Context) error { return nil }
func (*lost) Abort(context.Context) error  { return nil }
func (l *lost) Pieces() []blob.Piece       { return []blob.Piece{l.piece} }

// putter keeps what it is given at once.
type putter struct{ optional }

func (p putter) Put(ctx context.Context, id blob.ID, content []byte) error {
	if len(content) > 100 {
		return blob.ErrNoSpace
	}
	w, err := p.Create(ctx, id, int64(len(content)))
	if err == nil {
		_, err = w.Write(content)
	}
	if err == nil {
		err = w.Commit(ctx)
	}
	return err
}

func TestPut(t *testing.T) {
	h := &heard{calls: map[string]int{}}
	s := meter.New(putter{optional{mem.New(mem.Config{})}}, h)
	p, ok := blob.As[blob.Putter](s)
	if !ok {
		t.Fatal("the store does not take blobs at once any more")
	}
	if err := p.Put(t.Context(), newID(t), make([]byte, 70)); err != nil {
		t.Error(err)
	}
	if err := p.Put(t.Context(), newID(t), make([]byte, 101)); !errors.Is(err, blob.ErrNoSpace) {
		t.Error(err)
	}
	h.wants(t, 0, 70, "write success 1", "write no_space 1")
	if _, ok := blob.As[blob.Putter](meter.New(mem.New(mem.Config{}), h)); ok {
		t.Error("a store that does not take blobs at once seems to")
	}
}

func TestPieces(t *testing.T) {
	h := &heard{calls: map[string]int{}}
	s := meter.New(extender{optional{mem.New(mem.Config{})}}, h)
	e, ok := blob.As[blob.Extender](s)
	if !ok || e.LeastPiece() != 5 || e.Pieces(1, 9) != 1 {
		t.Fatal("the store does not take pieces any more")
	}
	ctx, id := t.Context(), newID(t)
	upload, err := e.Begin(ctx, id)
	if err != nil || upload != "upload" {
		t.Fatal(upload, err)
	}
	w, err := e.Extend(ctx, id, upload, 7, 9)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("nine byte")); err != nil {
		t.Fatal(err)
	}
	if err := w.Commit(ctx); err != nil || len(w.Pieces()) != 1 || w.Pieces()[0].Number != 7 {
		t.Errorf("%v, %v", w.Pieces(), err)
	}
	h.wants(t, 0, 9, "write success 1")
	if err := e.Assemble(ctx, id, upload, w.Pieces()); !errors.Is(err, blob.ErrNoSpace) {
		t.Error(err)
	}
	if err := e.Drop(ctx, id, upload); err != nil {
		t.Error(err)
	}
	h.wants(t, 0, 0, "write no_space 1", "delete success 1")
	if _, ok, err := blob.Presign(ctx, s, id, time.Minute, blob.Header{}); !ok || err != nil {
		t.Errorf("it does not presign any more: %v", err)
	}
	if _, ok := blob.As[blob.ManyDeleter](s); !ok {
		t.Error("it does not delete many at once any more")
	}
}

// A wrapped store has the optional parts of what it wraps, and no others.
func TestOptionalParts(t *testing.T) {
	h := &heard{calls: map[string]int{}}
	plain := meter.New(mem.New(mem.Config{}), h)
	if _, ok, err := blob.Presign(t.Context(), plain, newID(t), time.Minute, blob.Header{}); ok || err != nil {
		t.Errorf("a store in memory presigns: %v", err)
	}
	s := meter.New(optional{mem.New(mem.Config{})}, h)
	if url, ok, err := blob.Presign(t.Context(), s, newID(t), time.Minute, blob.Header{}); !ok || err != nil || url == "" {
		t.Errorf("%q, %v, %v", url, ok, err)
	}
	h.wants(t, 0, 0, "presign success 1")
	odd, ok := blob.As[interface{ Odd() string }](s)
	if !ok || odd.Odd() != "odd" {
		t.Error("the part of the wrapped store is not found")
	}
	if _, ok := blob.As[blob.Extender](s); ok {
		t.Error("a store that takes no pieces seems to")
	}
	if _, ok := blob.As[interface{ Odd() string }](plain); ok {
		t.Error("a part is found that nobody has")
	}
}
