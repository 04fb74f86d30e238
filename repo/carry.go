package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"granary/blob"
	"granary/digest"
	"granary/formats"
	"granary/repo/record"
	"granary/repo/refs"
)

// carried is a record made ready to be written elsewhere.
type carried struct {
	rec  record.Record
	held *refs.Held // nil: it names no blob, or one whose bytes are lost
	lost bool
}

// carry makes a copy of a record whose bytes lie in a store: in the same store
// it uses the reference to them, into another one they are copied. Bytes that
// are lost are left to be healed by the next upload of that content.
func (s *Service) carry(ctx context.Context, rec record.Record, storeID string) (carried, error) {
	rec.Leaving = 0 // which it was where it comes from
	if rec.Blob == "" {
		return carried{rec: rec}, nil
	}
	if rec.Store == storeID {
		held, err := s.Refs.Use(ctx, storeID, rec.Sums.BLAKE3)
		if err == nil {
			rec.Blob = held.Blob
			return carried{rec: rec, held: &held}, nil
		}
		if !errors.Is(err, refs.ErrNotFound) && !errors.Is(err, refs.ErrLost) {
			return carried{}, err
		}
	}
	out, err := s.copyBytes(ctx, rec, storeID)
	if errors.Is(err, formats.ErrCorrupt) {
		return carried{rec: rec, lost: true}, nil
	}
	return out, err
}

// copyBytes reads the bytes of a record and stores them.
func (s *Service) copyBytes(ctx context.Context, rec record.Record, storeID string) (carried, error) {
	store, err := s.Store(ctx, storeID)
	if err != nil {
		return carried{}, err
	}
	r, err := s.opener(rec.Store, rec.Blob, rec.Sums)(ctx, 0, -1)
	if err != nil {
		return carried{}, err
	}
	defer r.Close() //nolint:errcheck // only read
	rc, err := blob.Receive(ctx, store, r, s.receiveOptions(rec.Size))
	if err != nil {
		return carried{}, fmt.Errorf("copy content %x: %w", rec.Sums.BLAKE3, err)
	}
	defer s.discard(ctx, rc)
	if err := rc.Sums().Check(digest.Sums{BLAKE3: rec.Sums.BLAKE3}); err != nil {
		return carried{}, fmt.Errorf("%w: copy content: %w", formats.ErrCorrupt, err)
	}
	if b, ok := rc.Inline(); ok {
		rec.Inline, rec.Store, rec.Blob = bytes.Clone(b), "", ""
		return carried{rec: rec}, nil
	}
	held, err := s.hold(ctx, storeID, rc)
	if err != nil {
		return carried{}, err
	}
	rec.Store, rec.Blob = storeID, held.Blob
	return carried{rec: rec, held: &held}, nil
}

// confirm is called once what names the bytes is written.
func (c *carried) confirm(ctx context.Context, s *Service) error {
	if c.held == nil {
		return nil
	}
	return s.Refs.Confirm(ctx, *c.held)
}
