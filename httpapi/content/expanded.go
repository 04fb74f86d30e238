package content

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"github.com/maypok86/otter/v2"
	"golang.org/x/sync/singleflight"

	"granary/digest"
	"granary/formats"
)

const (
	// maxExpanded is the longest document, as it is stored, that is kept in
	// memory with its URLs, in bytes.
	maxExpanded = 4 << 20
	// gzipFrom is the length in bytes from which a compressed form is kept too.
	gzipFrom = 1 << 10
)

// Expanded keeps documents that carry absolute URLs, with the URLs filled in
// and compressed, in bounded memory: clients ask for the same ones again and
// again, and by the same name of the server. It is used concurrently.
type Expanded struct {
	hot    *otter.Cache[string, *expanded]
	making singleflight.Group
	expand func(w io.Writer, base string) io.WriteCloser
}

// expanded is one document for one URL of the server.
type expanded struct {
	plain, packed         []byte // packed: nil if it is not worth it
	plainSums, packedSums digest.Sums
}

// NewExpanded keeps up to maxBytes of documents that expand fills in.
func NewExpanded(maxBytes int64, expand func(w io.Writer, base string) io.WriteCloser) (*Expanded, error) {
	hot, err := otter.New(&otter.Options[string, *expanded]{
		MaximumWeight: uint64(max(maxBytes, 0)),
		Weigher: func(key string, e *expanded) uint32 {
			return uint32(len(key) + len(e.plain) + len(e.packed) + 512) //nolint:gosec // bounded by maxExpanded
		},
	})
	if err != nil {
		return nil, fmt.Errorf("make the cache of documents with URLs: %w", err)
	}
	return &Expanded{hot: hot, expand: expand}, nil
}

// Of returns the document c for the repository at base as bytes in memory, with
// an entity tag, ranges and a compressed form of its own. What is too long is
// returned as it is.
func (x *Expanded) Of(ctx context.Context, c *formats.Content, base string) (*formats.Content, error) {
	if !c.Expand || c.Size < 0 || c.Size > maxExpanded || len(c.Sums.BLAKE3) == 0 {
		return c, nil
	}
	key := hex.EncodeToString(c.Sums.BLAKE3) + " " + base
	e, ok := x.hot.GetIfPresent(key)
	if !ok {
		made, err, _ := x.making.Do(key, func() (any, error) {
			// Several requests share it: it must not die with the first.
			e, err := x.fill(context.WithoutCancel(ctx), c, base)
			if err == nil {
				x.hot.Set(key, e)
			}
			return e, err
		})
		if err != nil {
			return nil, err
		}
		e = made.(*expanded) //nolint:forcetypeassert // made above
	}
	out := inMemory(c, e.plain, e.plainSums)
	if e.packed != nil {
		out.Gzip = inMemory(c, e.packed, e.packedSums)
	}
	return out, nil
}

// fill replaces the stand-ins.
func (x *Expanded) fill(ctx context.Context, c *formats.Content, base string) (*expanded, error) {
	src, err := c.Open(ctx, 0, -1)
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w := x.expand(&buf, base)
	_, err = io.Copy(w, src)
	if err = errors.Join(err, w.Close(), src.Close()); err != nil {
		return nil, fmt.Errorf("fill in the URLs of %s: %w", c.Name, err)
	}
	e := &expanded{plain: buf.Bytes(), plainSums: sumsOf(buf.Bytes())}
	if len(e.plain) < gzipFrom {
		return e, nil
	}
	var z bytes.Buffer
	zw := gzip.NewWriter(&z)
	_, err = zw.Write(e.plain)
	if err = errors.Join(err, zw.Close()); err != nil {
		return nil, fmt.Errorf("compress %s: %w", c.Name, err)
	}
	if z.Len() < len(e.plain)*9/10 {
		e.packed, e.packedSums = z.Bytes(), sumsOf(z.Bytes())
	}
	return e, nil
}

func sumsOf(b []byte) digest.Sums {
	h := digest.NewHasher()
	defer h.Release()
	h.Write(b) //nolint:errcheck // never fails
	return h.Sums()
}

// inMemory is c with other bytes.
func inMemory(c *formats.Content, b []byte, sums digest.Sums) *formats.Content {
	out := *c
	out.Expand, out.Gzip, out.BlobID, out.Inline = false, nil, "", b
	out.Size, out.Sums = int64(len(b)), sums
	out.Open = func(_ context.Context, offset, n int64) (io.ReadCloser, error) {
		rest := b[min(max(offset, 0), int64(len(b))):]
		if n >= 0 && n < int64(len(rest)) {
			rest = rest[:n]
		}
		return io.NopCloser(bytes.NewReader(rest)), nil
	}
	return &out
}
