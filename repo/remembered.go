package repo

import (
	"context"
	"fmt"
	"io"

	"granary/repo/config"
)

// longestInMemory is the longest document that is a blob and whose bytes stay in
// memory once it was read, in bytes.
const longestInMemory = 4 << 20

// opener opens bytes from an offset on.
type opener = func(ctx context.Context, offset, n int64) (io.ReadCloser, error)

// shortestInFile is the shortest document that is sent from a file, if it lies
// in one, in bytes: the system sends it without copying. Of shorter ones copying
// costs less than opening.
const shortestInFile = 256 << 10

// remembered reads a document from the blob store once, holds it against its
// digest, and then reads it from memory, or long ones from their file. Its blob
// never changes, so there is nothing to invalidate.
func (p *publications) remembered(store string, f *published, open opener) opener {
	if f.Size > longestInMemory {
		return open
	}
	c, ok := p.service.Registry.StoreByID(store)
	inFile := ok && c.Type == config.File && f.Size >= shortestInFile
	return func(ctx context.Context, offset, n int64) (io.ReadCloser, error) {
		if b, ok := p.bytes.GetIfPresent(f.Blob); ok {
			if inFile {
				return open(ctx, offset, n)
			}
			return inlineOpener(b)(ctx, offset, n)
		}
		b, err := whole(ctx, f, open)
		if err != nil {
			return nil, err
		}
		if inFile {
			p.bytes.Set(f.Blob, nil) // it was found right
		} else {
			p.bytes.Set(f.Blob, b)
		}
		return inlineOpener(b)(ctx, offset, n)
	}
}

// whole reads a document that fits into memory and holds it against its digest.
func whole(ctx context.Context, f *published, open opener) ([]byte, error) {
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
	return b, nil
}
