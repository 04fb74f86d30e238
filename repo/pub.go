package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"golang.org/x/sync/errgroup"

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

// pubWriter is formats.Pub: each document is stored while the next one is
// rendered, and nothing is visible before the publication's record is.
type pubWriter struct {
	ctx     context.Context //nolint:containedctx // one rendering
	service *Service
	repo    *repository
	scope   string
	pub     publication
	inlined int
	urls    bool
	held    []refs.Held // once all is stored
	current *pubFile
	signer  formats.Signer // nil: the repository has no keys
	scratch []*scratch

	places  map[string]*place // of what is not inline, by BLAKE3
	storing errgroup.Group    // of places
	reading *place            // what was opened last, nil for none
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

func newPub(ctx context.Context, s *Service, r *repository, scope string, signer formats.Signer) *pubWriter {
	w := &pubWriter{ctx: ctx, service: s, repo: r, scope: scope, pub: publication{Store: r.Store}, signer: signer, places: map[string]*place{}}
	w.storing.SetLimit(storedAtOnce)
	return w
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
		return nil, fmt.Errorf("%w: signing keys of repository %s, which signs nothing", formats.ErrNotFound, w.repo.Name)
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
	at := r.w.places[string(r.file.Sums.BLAKE3)]
	if at == nil {
		return io.NopCloser(bytes.NewReader(r.file.Inline)), nil
	}
	return r.w.open(at, r.file)
}

// Compressor compresses in pieces, of which those that this node made lately
// are taken from memory.
func (w *pubWriter) Compressor(to io.Writer, form string) (io.WriteCloser, error) {
	return w.service.pubs.packed.Writer(to, form)
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
	packed, ok, err := w.compressed(f.received)
	if err != nil {
		w.service.discard(ctx, f.received)
		return fmt.Errorf("compress document %s: %w", f.path, err)
	}
	doc := w.keep(ctx, f.received, ok)
	doc.Path, doc.Type = f.path, f.typ
	if ok {
		if doc.Gzip, err = w.keepBytes(ctx, packed); err != nil {
			return fmt.Errorf("store document %s: %w", f.path, err)
		}
	}
	w.pub.Files = append(w.pub.Files, *doc)
	return nil
}

// keep puts small documents into the publication's record and others into the
// store, whose name for them is known when [pubWriter.finish] has returned. again:
// they will be read. The bytes are discarded when nobody needs them any more.
func (w *pubWriter) keep(ctx context.Context, rc *blob.Received, again bool) *published {
	doc := &published{Size: rc.Size(), Sums: rc.Sums()}
	if b, ok := rc.Inline(); ok && w.inlined+len(b) <= pubInline {
		w.inlined += len(b)
		doc.Inline = bytes.Clone(b)
		w.service.discard(ctx, rc)
		return doc
	}
	w.put(ctx, rc, again)
	return doc
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
	return w.keep(ctx, rc, false), nil
}

// compressed returns the gzip form of a document that fits into memory, if it
// is worth its bytes. A document with stand-ins has none that could be kept.
func (w *pubWriter) compressed(rc *blob.Received) ([]byte, bool, error) {
	b, ok := rc.Bytes()
	if !ok || len(b) < gzipFrom || bytes.Contains(b, []byte(standIn)) || incompressible(b) {
		return nil, false, nil
	}
	var buf bytes.Buffer
	z, err := w.Compressor(&buf, ".gz")
	if err != nil {
		return nil, false, err
	}
	if _, err := z.Write(b); err != nil {
		return nil, false, err
	}
	if err := z.Close(); err != nil {
		return nil, false, err
	}
	return buf.Bytes(), buf.Len() < len(b)*9/10, nil
}

// incompressible tells whether bytes are gzip or xz.
func incompressible(b []byte) bool {
	return bytes.HasPrefix(b, []byte{0x1f, 0x8b}) || bytes.HasPrefix(b, []byte("\xfd7zXZ\x00"))
}

// finish ends the last document.
func (w *pubWriter) finish(ctx context.Context) (*publication, error) {
	if err := w.endCurrent(ctx); err != nil {
		return nil, err
	}
	if err := w.stored(); err != nil {
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

// abort drops a document that was begun and not finished, the scratch, and what
// memory is still held. Nothing is being stored when it returns.
func (w *pubWriter) abort(ctx context.Context) {
	w.storing.Wait() //nolint:errcheck // finish has told, if it was called
	w.read(ctx, nil)
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
