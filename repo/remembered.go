package repo

import (
	"context"
	"fmt"
	"io"
)

// longestInMemory is the longest document that is a blob and whose bytes stay in
// memory once it was read, in bytes.
const longestInMemory = 4 << 20

// opener opens bytes from an offset on.
type opener = func(ctx context.Context, offset, n int64) (io.ReadCloser, error)

// remembered reads a document from the blob store once, holds it against its
// digest, and then reads it from memory. Its blob never changes, so there is
// nothing to invalidate.
func (p *publications) remembered(f *published, open opener) opener {
	if f.Size > longestInMemory {
		return open
	}
	return func(ctx context.Context, offset, n int64) (io.ReadCloser, error) {
		if b, ok := p.bytes.GetIfPresent(f.Blob); ok {
			return inlineOpener(b)(ctx, offset, n)
		}
		r, err := open(ctx, 0, -1)
		if err != nil {
			return nil, err
		}
		defer r.Close() //nolint:errcheck // only read
		b := make([]byte, f.Size)
		if _, err := io.ReadFull(r, b); err != nil {
			return nil, fmt.Errorf("read document %s: %w", f.Path, err)
		}
		if err := intact(b, f.Sums); err != nil {
			return nil, fmt.Errorf("document %s in blob %s: %w", f.Path, f.Blob, err)
		}
		p.bytes.Set(f.Blob, b)
		return inlineOpener(b)(ctx, offset, n)
	}
}
