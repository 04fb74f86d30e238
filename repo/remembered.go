package repo

import (
	"context"
	"errors"
	"fmt"
	"io"

	"granary/formats"
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
		b, err := p.service.readWhole(ctx, store, f, open)
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

// readWhole reads a document that fits into memory and holds it against its
// digest. Wrong bytes are formats.ErrCorrupt, and are marked lost so that it is
// made anew.
func (s *Service) readWhole(ctx context.Context, store string, f *published, open opener) ([]byte, error) {
	r, err := open(ctx, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // only read
	b := make([]byte, f.Size)
	if _, err = io.ReadFull(r, b); err == nil {
		err = intact(b, f.Sums)
	} else if s.cutOff(ctx, store, f) {
		err = fmt.Errorf("%w: they are cut off", formats.ErrCorrupt)
	}
	if errors.Is(err, formats.ErrCorrupt) {
		if err := s.Refs.MarkLost(ctx, store, f.Sums.BLAKE3, f.Blob); err != nil {
			s.Log.ErrorContext(ctx, "mark lost content", "blob", f.Blob, "error", err)
		}
		s.suspect(ctx, store)
	}
	if err != nil {
		return nil, fmt.Errorf("read document %s in blob %s: %w", f.Path, f.Blob, err)
	}
	return b, nil
}

// cutOff tells whether the blob of a document that could not be read is there
// and shorter than it was stored.
func (s *Service) cutOff(ctx context.Context, storeID string, f *published) bool {
	store, err := s.Store(ctx, storeID)
	if err != nil {
		return false
	}
	info, err := store.Stat(ctx, f.Blob)
	return err == nil && info.Size < f.Size
}
