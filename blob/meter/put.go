package meter

import (
	"context"

	"granary/blob"
)

// putting is a store that takes blobs from memory.
type putting struct {
	blob.Store
	meter *Store
	inner blob.Putter
}

var (
	_ blob.Putter    = (*putting)(nil)
	_ blob.Unwrapper = (*putting)(nil)
)

// Unwrap implements [blob.Unwrapper].
func (s *putting) Unwrap() blob.Store { return s.Store }

// Put implements [blob.Putter]; it is a write.
func (s *putting) Put(ctx context.Context, id blob.ID, content []byte) error {
	c := s.meter.began(ctx, write)
	err := s.inner.Put(ctx, id, content)
	if err == nil {
		s.meter.observer.Written(int64(len(content)))
	}
	return s.meter.ended(c, err)
}
