package formattest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"time"

	"granary/digest"
	"granary/formats"
	"granary/repo/compress"
)

// Base is what the URLs of a [Pub] begin with.
const Base = "https://registry.example.com/repository/r/"

// Doc is one document of a publication.
type Doc struct {
	Type string
	Body []byte
}

// Pub collects a publication.
type Pub struct {
	Docs map[string]*Doc
	Keys formats.Signer // optional
	Set  formats.Settings

	writing *Doc // what Document and Link end
}

// Create begins a document; each may be written once.
func (p *Pub) Create(path, contentType string, _ ...digest.Algorithm) (io.Writer, error) {
	if p.Docs == nil {
		p.Docs = map[string]*Doc{}
	}
	if p.Docs[path] != nil {
		return nil, fmt.Errorf("document %q is written twice", path)
	}
	d := &Doc{Type: contentType}
	p.Docs[path], p.writing = d, d
	return writer{p, d}, nil
}

type writer struct {
	pub *Pub
	doc *Doc
}

func (w writer) Write(b []byte) (int, error) {
	if w.pub.writing != w.doc {
		return 0, errors.New("the document was ended")
	}
	w.doc.Body = append(w.doc.Body, b...)
	return len(b), nil
}

// Document returns one that was created.
func (p *Pub) Document(path string) (formats.Document, error) {
	p.writing = nil
	d := p.Docs[path]
	if d == nil {
		return nil, fmt.Errorf("document %q was not created", path)
	}
	return finished{NewBytes(d.Body, digest.Algorithms...)}, nil
}

type finished struct{ *Bytes }

func (f finished) Open() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(f.data)), nil
}

// Link makes a document known under another path.
func (p *Pub) Link(path, other string) error {
	p.writing = nil
	d := p.Docs[path]
	if d == nil {
		return fmt.Errorf("document %q was not created", path)
	}
	p.Docs[other] = d
	return nil
}

// Compressor compresses as a repository does, without a memory.
func (p *Pub) Compressor(w io.Writer, form string) (io.WriteCloser, error) {
	c, err := compress.New(1)
	if err != nil {
		return nil, err
	}
	return c.Writer(w, form)
}

// Date is now.
func (p *Pub) Date(now time.Time) (time.Time, error) { return now.Truncate(time.Second).UTC(), nil }

// Scratch begins bytes in memory.
func (p *Pub) Scratch() (formats.Scratch, error) { return &scratch{}, nil }

type scratch struct {
	bytes.Buffer
	done bool
}

func (s *scratch) Write(b []byte) (int, error) {
	if s.done {
		return 0, errors.New("the scratch was ended")
	}
	return s.Buffer.Write(b)
}

// Done ends them.
func (s *scratch) Done() (formats.Document, error) {
	s.done = true
	return finished{NewBytes(s.Bytes(), digest.Algorithms...)}, nil
}

// Signer returns the keys given to the Pub.
func (p *Pub) Signer() (formats.Signer, error) {
	if p.Keys == nil {
		return nil, errors.New("the publication has no keys")
	}
	return p.Keys, nil
}

// Settings returns those given to the Pub.
func (p *Pub) Settings() formats.Settings { return p.Set }

// URL returns an absolute URL below Base.
func (*Pub) URL(path string) string { return Base + path }

// Render renders the scope of a Doc and returns the document that op names. No
// records, without op.Missing, are ErrNotFound.
func Render(ctx context.Context, f formats.Format, op formats.Op, recs iter.Seq2[formats.Record, error]) (*Doc, error) {
	x, ok := f.(formats.Indexer)
	if !ok {
		return nil, fmt.Errorf("%s has a document but is no Indexer", f.Name())
	}
	n, read, last := 0, false, ""
	counted := func(yield func(formats.Record, error) bool) {
		for r, err := range recs {
			if err == nil && n > 0 && r.Name <= last {
				err = fmt.Errorf("record %q after %q", r.Name, last)
			}
			n, last = n+1, r.Name
			if !yield(r, err) {
				return
			}
		}
		read = true
	}
	var pub Pub
	err := x.Render(ctx, op.Scope, counted, &pub)
	switch {
	case n == 0 && read && !op.Missing:
		return nil, fmt.Errorf("%s: %w", op.Scope, formats.ErrNotFound)
	case err != nil:
		return nil, err
	case !read:
		return nil, fmt.Errorf("Render of %q left records unread", op.Scope)
	case pub.Docs[op.Path] == nil:
		return nil, fmt.Errorf("Render of %q made no document %q", op.Scope, op.Path)
	}
	return pub.Docs[op.Path], nil
}

// Source is an upstream with files by path or URL. The zero value is empty.
type Source struct {
	Files map[string]string
	// Err, if set, is what every Open returns.
	Err error
	Set formats.Settings

	mu     sync.Mutex // guards opened
	opened []string
}

var _ formats.Source = (*Source)(nil)

// Settings returns those given to the Source.
func (s *Source) Settings() formats.Settings { return s.Set }

// Open returns a file whose digests agree with sum.
func (s *Source) Open(_ context.Context, path string, sum digest.Sums) (io.ReadCloser, error) {
	s.mu.Lock()
	s.opened = append(s.opened, path)
	s.mu.Unlock()
	if s.Err != nil {
		return nil, s.Err
	}
	body, ok := s.Files[path]
	if !ok {
		return nil, fmt.Errorf("upstream %s: %w", path, formats.ErrNotFound)
	}
	if err := NewBytes([]byte(body), digest.Algorithms...).Sums().Check(sum); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", formats.ErrUpstream, path, err)
	}
	return io.NopCloser(bytes.NewReader([]byte(body))), nil
}

// Opened returns the paths that were opened, in order, one on a line.
func (s *Source) Opened() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.opened, "\n")
}
