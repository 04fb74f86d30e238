package repo

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"granary/blob"
	"granary/digest"
	"granary/formats"
	"granary/kv"
	"granary/repo/refs"
)

const (
	// pubInline is how many bytes of documents a publication's record holds at
	// the most; what is beyond goes into blobs.
	pubInline = 96 << 10
	// gzipFrom is the size in bytes from which a compressed form is kept.
	gzipFrom = 1 << 10
)

// pubWriter is formats.Pub: each document streams into the store while it is
// rendered, and nothing is visible before the publication's record is.
type pubWriter struct {
	ctx     context.Context //nolint:containedctx // one rendering
	service *Service
	repo    *repository
	pub     publication
	inlined int
	urls    bool
	held    []refs.Held
	current *pubFile
	signer  formats.Signer // nil: the repository has no keys
	scratch []*scratch
}

// pubFile is the document being written.
type pubFile struct {
	path, typ string
	pipe      *io.PipeWriter
	done      chan struct{}
	received  *blob.Received
	err       error
}

var _ formats.Pub = (*pubWriter)(nil)

func newPub(ctx context.Context, s *Service, r *repository, signer formats.Signer) *pubWriter {
	return &pubWriter{ctx: ctx, service: s, repo: r, pub: publication{Store: r.Store}, signer: signer}
}

func (w *pubWriter) URL(path string) string {
	w.urls = true
	return standIn + "/" + path
}

func (w *pubWriter) Create(path, contentType string, also ...digest.Algorithm) (io.Writer, error) {
	if err := w.endCurrent(w.ctx); err != nil {
		return nil, err
	}
	if w.pub.file(path) != nil {
		return nil, fmt.Errorf("document %s is written twice", path)
	}
	f, err := w.receive(also...)
	if err != nil {
		return nil, err
	}
	f.path, f.typ = path, contentType
	w.current = f
	return f.pipe, nil
}

// receive begins to take what is written to the pipe of what it returns.
func (w *pubWriter) receive(also ...digest.Algorithm) (*pubFile, error) {
	store, err := w.service.Store(w.ctx, w.repo.Store)
	if err != nil {
		return nil, err
	}
	pr, pw := io.Pipe()
	f := &pubFile{pipe: pw, done: make(chan struct{})}
	go func() {
		defer close(f.done)
		f.received, f.err = blob.Receive(w.ctx, store, pr, w.service.receiveOptions(-1, also...))
		pr.CloseWithError(cmpOr(f.err, io.ErrClosedPipe))
	}()
	return f, nil
}

// Document ends the document being written, as [formats.Pub] says, and looks
// one up.
func (w *pubWriter) Document(path string) (formats.Document, error) {
	if err := w.endCurrent(w.ctx); err != nil {
		return nil, err
	}
	f := w.pub.file(path)
	if f == nil {
		return nil, fmt.Errorf("document %s was not created", path)
	}
	return rendered{w, f}, nil
}

// Link names a document again.
func (w *pubWriter) Link(path, other string) error {
	if err := w.endCurrent(w.ctx); err != nil {
		return err
	}
	if w.pub.file(path) == nil {
		return fmt.Errorf("document %s was not created", path)
	}
	if w.pub.file(other) == nil {
		w.pub.Files = append(w.pub.Files, published{Path: other, Of: path})
	}
	return nil
}

// Signer returns the keys of the repository.
func (w *pubWriter) Signer() (formats.Signer, error) {
	if w.signer == nil {
		return nil, fmt.Errorf("repository %s has no signing keys", w.repo.Name)
	}
	return w.signer, nil
}

// Settings returns those of the repository.
func (w *pubWriter) Settings() formats.Settings { return w.repo.settings() }

// rendered is formats.Document.
type rendered struct {
	w    *pubWriter
	file *published
}

func (r rendered) Size() int64       { return r.file.Size }
func (r rendered) Sums() digest.Sums { return r.file.Sums }

func (r rendered) Open() (io.ReadCloser, error) {
	return r.w.service.pubs.bytesOf(&r.w.pub, r.file).Open(r.w.ctx, 0, -1)
}

// endCurrent waits until the document has arrived and gives its bytes a place.
func (w *pubWriter) endCurrent(ctx context.Context) error {
	f := w.current
	if f == nil {
		return nil
	}
	w.current = nil
	f.pipe.Close() //nolint:errcheck // never fails
	<-f.done
	if f.err != nil {
		return fmt.Errorf("store document %s: %w", f.path, f.err)
	}
	doc, err := w.keep(ctx, f.received)
	if err != nil {
		return fmt.Errorf("store document %s: %w", f.path, err)
	}
	doc.Path, doc.Type = f.path, f.typ
	if packed, ok := compressed(f.received); ok {
		if doc.Gzip, err = w.keepBytes(ctx, packed); err != nil {
			return fmt.Errorf("store document %s: %w", f.path, err)
		}
	}
	w.pub.Files = append(w.pub.Files, *doc)
	w.service.discard(ctx, f.received)
	return nil
}

// keep puts small documents into the publication's record and others into the
// store.
func (w *pubWriter) keep(ctx context.Context, rc *blob.Received) (*published, error) {
	doc := &published{Size: rc.Size(), Sums: rc.Sums()}
	if b, ok := rc.Inline(); ok && w.inlined+len(b) <= pubInline {
		w.inlined += len(b)
		doc.Inline = bytes.Clone(b)
		return doc, nil
	}
	held, err := w.service.hold(ctx, w.repo.Store, rc)
	if err != nil {
		return nil, err
	}
	w.held = append(w.held, held)
	doc.Blob = held.Blob
	return doc, nil
}

func (w *pubWriter) keepBytes(ctx context.Context, b []byte) (*published, error) {
	store, err := w.service.Store(ctx, w.repo.Store)
	if err != nil {
		return nil, err
	}
	rc, err := blob.Receive(ctx, store, bytes.NewReader(b), w.service.receiveOptions(int64(len(b))))
	if err != nil {
		return nil, err
	}
	defer w.service.discard(ctx, rc)
	return w.keep(ctx, rc)
}

// compressed returns the gzip form of a document that fits into memory, if it
// is worth its bytes. A document with stand-ins has none that could be kept.
func compressed(rc *blob.Received) ([]byte, bool) {
	b, ok := rc.Bytes()
	if !ok || len(b) < gzipFrom || bytes.Contains(b, []byte(standIn)) || bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		return nil, false
	}
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	if _, err := z.Write(b); err != nil {
		return nil, false
	}
	if err := z.Close(); err != nil {
		return nil, false
	}
	return buf.Bytes(), buf.Len() < len(b)*9/10
}

// finish ends the last document.
func (w *pubWriter) finish(ctx context.Context) (*publication, error) {
	if err := w.endCurrent(ctx); err != nil {
		return nil, err
	}
	for i := range w.pub.Files {
		w.pub.Files[i].Expand = w.urls
	}
	return &w.pub, nil
}

// confirm is called once the publication's record is written.
func (w *pubWriter) confirm(ctx context.Context) error {
	for _, h := range w.held {
		if err := w.service.Refs.Confirm(ctx, h); err != nil {
			return err
		}
	}
	return nil
}

// made tells whether a publication is the one that was rendered here, or needs
// the same blobs.
func (w *pubWriter) made(item kv.Item) bool {
	x, err := ReadIndexed(item)
	if err != nil {
		return false
	}
	for _, n := range x.Names {
		if !slices.ContainsFunc(w.held, func(h refs.Held) bool { return h.Blob == n.Blob }) {
			return false
		}
	}
	return true
}

var errAbandoned = errors.New("rendering was given up")

// abort drops a document that was begun and not finished, and the scratch.
func (w *pubWriter) abort(ctx context.Context) {
	for _, s := range w.scratch {
		s.drop(ctx)
	}
	f := w.current
	if f == nil {
		return
	}
	w.current = nil
	f.pipe.CloseWithError(errAbandoned) //nolint:errcheck // never fails
	<-f.done
	if f.received != nil {
		w.service.discard(ctx, f.received)
	}
}
