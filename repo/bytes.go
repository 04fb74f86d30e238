package repo

import (
	"context"
	"errors"
	"fmt"
	"io"

	"granary/blob"
	"granary/digest"
	"granary/formats"
	"granary/repo/refs"
)

// bodyMemory is how many bytes of memory all bodies that come in at once may
// wait in; see [blob.Budget].
const bodyMemory = 24 << 20

// receiveOptions are those of every body that comes in; size is the announced
// length, -1 if unknown.
func (s *Service) receiveOptions(size int64, also ...digest.Algorithm) blob.Options {
	return blob.Options{Inline: s.inline, Size: size, Also: also, Budget: s.memory, NewID: s.ids.NewID}
}

// hold gives received bytes a place in a store: a use of the reference to
// their content. The caller writes what names them, then confirms.
func (s *Service) hold(ctx context.Context, storeID string, rc *blob.Received) (refs.Held, error) {
	store, err := s.Store(ctx, storeID)
	if err != nil {
		return refs.Held{}, err
	}
	return s.Refs.Hold(ctx, storeID, store, rc)
}

// discard frees the memory of received bytes, and drops those that nothing
// names; what can't be dropped now is left to the collector, which finds blobs
// without a reference.
func (s *Service) discard(ctx context.Context, rc *blob.Received) {
	if err := rc.Discard(ctx); err != nil {
		s.Log.WarnContext(ctx, "discard unused bytes", "error", err)
	}
}

// opener opens the content of a blob; where its bytes are missing the
// reference by hash is followed once. Bytes that were found wrong are not opened.
func (s *Service) opener(storeID string, id blob.ID, sums digest.Sums) func(context.Context, int64, int64) (io.ReadCloser, error) {
	return func(ctx context.Context, offset, n int64) (io.ReadCloser, error) {
		store, err := s.Store(ctx, storeID)
		if err != nil {
			return nil, err
		}
		at, err := s.present(ctx, storeID, id, sums)
		if err != nil {
			return nil, fmt.Errorf("blob %s: %w", id, err)
		}
		r, err := store.Open(ctx, at, offset, n)
		if !errors.Is(err, blob.ErrNotFound) {
			return r, err
		}
		now, err := s.Refs.Resolve(ctx, storeID, sums.BLAKE3)
		if err == nil {
			if r, err = store.Open(ctx, now, offset, n); !errors.Is(err, blob.ErrNotFound) {
				return r, err
			}
			if err := s.Refs.MarkLost(ctx, storeID, sums.BLAKE3, now); err != nil {
				s.Log.ErrorContext(ctx, "mark lost content", "blob", now, "error", err)
			}
		}
		s.suspect(ctx, storeID)
		return nil, fmt.Errorf("%w: blob %s", formats.ErrCorrupt, id)
	}
}

// suspect says of a store that bytes of it are lost, so that who is about to
// upload them hears that they are not there.
func (s *Service) suspect(ctx context.Context, storeID string) {
	if c, ok := s.Registry.StoreByID(storeID); !ok || !c.Suspect.IsZero() {
		return
	}
	s.background(ctx, func(ctx context.Context) {
		if err := s.Registry.SuspectStore(ctx, storeID); err != nil {
			s.Log.ErrorContext(ctx, "suspect a store", "store", storeID, "error", err)
		}
	})
}
