package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/zeebo/blake3"

	"granary/blob"
	"granary/digest"
	"granary/formats"
	"granary/repo/refs"
)

// present returns the blob that has a content which something says is in blob
// id. While the store is known to hold wrong bytes the reference is asked first:
// bytes that were found wrong are not served to those that name the blob by its
// id either. formats.ErrCorrupt if they are lost.
func (s *Service) present(ctx context.Context, storeID string, id blob.ID, sums digest.Sums) (blob.ID, error) {
	c, ok := s.Registry.StoreByID(storeID)
	if !ok || c.Suspect.IsZero() {
		return id, nil
	}
	now, err := s.Refs.Resolve(ctx, storeID, sums.BLAKE3)
	if errors.Is(err, refs.ErrNotFound) {
		return id, nil // what nothing checks is what it is said to be
	}
	return now, err
}

// Restore makes lost content live again whose bytes in blob id are right after
// all, since somebody has put them back. They are stored anew: a blob that was
// lost once stays lost. false: they are not right, or not there.
func (s *Service) Restore(ctx context.Context, storeID string, hash []byte, id blob.ID) (bool, error) {
	store, err := s.Store(ctx, storeID)
	if err != nil {
		return false, err
	}
	r, err := store.Open(ctx, id, 0, -1)
	if errors.Is(err, blob.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read blob %s again: %w", id, err)
	}
	defer r.Close() //nolint:errcheck // only read
	o := s.receiveOptions(-1)
	o.Inline = -1
	rc, err := blob.Receive(ctx, store, r, o)
	if err != nil {
		return false, fmt.Errorf("read blob %s again: %w", id, err)
	}
	defer s.discard(ctx, rc)
	if rc.Sums().Check(digest.Sums{BLAKE3: hash}) != nil {
		return false, nil
	}
	if _, err := s.Refs.Hold(ctx, storeID, store, rc); err != nil {
		return false, fmt.Errorf("restore content %x: %w", hash, err)
	}
	return true, nil
}

// intact is nil if bytes are those that were stored, else formats.ErrCorrupt.
func intact(b []byte, sums digest.Sums) error {
	if len(b) == 0 || len(sums.BLAKE3) == 0 {
		return nil
	}
	if sum := blake3.Sum256(b); !bytes.Equal(sum[:], sums.BLAKE3) {
		return fmt.Errorf("%w: they are not what was stored", formats.ErrCorrupt)
	}
	return nil
}
