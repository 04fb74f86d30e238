// Package compress compresses documents that hardly differ from one publication
// to the next: what is written is cut where its own bytes say so, each piece is
// compressed by itself, and those that were compressed before are taken from
// memory. One more record in an index costs the compression of one piece, not
// of the index.
//
// What comes out is one gzip member of many deflate blocks (RFC 1952), or one xz
// stream of many blocks (xz file format 1.1.0), as pigz and xz with several
// threads write them: every reader takes them. Cutting costs about a twentieth
// of the ratio.
package compress

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/maypok86/otter/v2"
	"github.com/zeebo/blake3"
)

// ErrForm is returned for a form that is not known.
var ErrForm = errors.New("unknown compressed form")

// Cache remembers compressed pieces. It may be used concurrently.
type Cache struct {
	made      *otter.Cache[key, piece]
	deflaters sync.Pool // of *flate.Writer, used again: one takes a megabyte
}

// key names a piece by what it is made of, and how.
type key struct {
	form string
	sum  [32]byte // BLAKE3
}

// piece is compressed bytes.
type piece struct {
	data     []byte
	unpadded int // xz: length without the padding
}

// New returns a cache of at most so many bytes.
func New(most int64) (*Cache, error) {
	made, err := otter.New(&otter.Options[key, piece]{
		MaximumWeight: uint64(most),                                                     //nolint:gosec // a setting, positive
		Weigher:       func(_ key, p piece) uint32 { return uint32(len(p.data) + 192) }, //nolint:gosec // bounded by longest
	})
	if err != nil {
		return nil, fmt.Errorf("make the cache of compressed pieces: %w", err)
	}
	return &Cache{made: made}, nil
}

// encoding is one compressed form on its way.
type encoding interface {
	// begin writes what precedes all pieces.
	begin(w io.Writer) error
	// make compresses a piece by itself.
	make(plain []byte) (piece, error)
	// add writes a piece that was made of plain.
	add(w io.Writer, plain []byte, p piece) error
	// end writes what follows all pieces.
	end(w io.Writer) error
}

// Writer compresses what is written to it into form, ".gz" or ".xz". Close ends
// the form and leaves w open. It takes memory for one piece.
func (c *Cache) Writer(w io.Writer, form string) (io.WriteCloser, error) {
	z := &writer{cache: c, w: w, form: form}
	switch form {
	case ".gz":
		z.to = &gzipped{deflaters: &c.deflaters}
	case ".xz":
		z.to = &xzipped{}
	default:
		return nil, fmt.Errorf("%w: %q", ErrForm, form)
	}
	if err := z.to.begin(w); err != nil {
		return nil, err
	}
	return z, nil
}

// writer collects a piece at a time.
type writer struct {
	cache *Cache
	w     io.Writer
	form  string
	to    encoding
	cut   cutter
	plain []byte // of the piece that has begun
	err   error  // of an earlier piece
}

func (z *writer) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 && z.err == nil {
		at, whole := z.cut.next(b)
		z.plain = append(z.plain, b[:at]...)
		b = b[at:]
		if whole {
			z.err = z.flush()
		}
	}
	if z.err != nil {
		return 0, z.err
	}
	return n, nil
}

// flush ends the piece.
func (z *writer) flush() error {
	k := key{form: z.form, sum: blake3.Sum256(z.plain)}
	p, ok := z.cache.made.GetIfPresent(k)
	if !ok {
		var err error
		if p, err = z.to.make(z.plain); err != nil {
			return fmt.Errorf("compress a piece as %s: %w", z.form, err)
		}
		z.cache.made.Set(k, p)
	}
	err := z.to.add(z.w, z.plain, p)
	z.plain = z.plain[:0]
	return err
}

// Close ends the last piece and the form.
func (z *writer) Close() error {
	if z.err == nil && len(z.plain) > 0 {
		z.err = z.flush()
	}
	if z.err == nil {
		z.err = z.to.end(z.w)
	}
	return z.err
}
