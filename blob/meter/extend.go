package meter

import (
	"context"
	"time"

	"granary/blob"
)

// extending is a store that takes blobs in pieces.
type extending struct {
	blob.Store
	meter *Store
	inner blob.Extender
}

var (
	_ blob.Extender  = (*extending)(nil)
	_ blob.Unwrapper = (*extending)(nil)
)

// Unwrap implements [blob.Unwrapper].
func (s *extending) Unwrap() blob.Store { return s.Store }

// LeastPiece implements [blob.Extender].
func (s *extending) LeastPiece() int64 { return s.inner.LeastPiece() }

// Pieces implements [blob.Extender].
func (s *extending) Pieces(number int, size int64) int { return s.inner.Pieces(number, size) }

// Begin implements [blob.Extender]. It is no operation of its own: nothing is
// written yet.
func (s *extending) Begin(ctx context.Context, id blob.ID) (string, error) {
	return s.inner.Begin(ctx, id)
}

// Extend implements [blob.Extender]; it is a write.
func (s *extending) Extend(ctx context.Context, id blob.ID, upload string, number int, size int64) (blob.Extension, error) {
	c := s.meter.began(ctx, write)
	e, err := s.inner.Extend(ctx, id, upload, number, size)
	if err != nil {
		return nil, s.meter.ended(c, err)
	}
	return &extension{writer{store: s.meter, call: c, inner: e, took: time.Since(c.began)}, e}, nil
}

// Assemble implements [blob.Extender]; it is a write without bytes.
func (s *extending) Assemble(ctx context.Context, id blob.ID, upload string, pieces []blob.Piece) error {
	c := s.meter.began(ctx, write)
	return s.meter.ended(c, s.inner.Assemble(ctx, id, upload, pieces))
}

// Drop implements [blob.Extender]; it is a delete.
func (s *extending) Drop(ctx context.Context, id blob.ID, upload string) error {
	c := s.meter.began(ctx, remove)
	return s.meter.ended(c, s.inner.Drop(ctx, id, upload))
}

type extension struct {
	writer
	inner blob.Extension
}

// Pieces implements [blob.Extension].
func (e *extension) Pieces() []blob.Piece { return e.inner.Pieces() }
