package blob

import "context"

// Piece is a stretch of a blob that a store has got before the blob is whole.
type Piece struct {
	Number int    `cbor:"1,keyasint"` // from 1 on; pieces follow each other by it
	Size   int64  `cbor:"2,keyasint"` // in bytes
	Tag    string `cbor:"3,keyasint"` // the store's own name for these bytes
}

// Extender is implemented by stores that take a blob in pieces, by any number
// of writers in any process, and make it of them without moving a byte again.
type Extender interface {
	Store
	// LeastPiece is how many bytes a writer of [Extender.Extend] has to be given
	// at least, but for the one that brings the end of the blob.
	LeastPiece() int64
	// Pieces is how many numbers from number on size bytes take at most.
	Pieces(number int, size int64) int
	// Begin begins a blob. What it returns names it to the other methods.
	Begin(ctx context.Context, id ID) (upload string, err error)
	// Extend returns a writer of size bytes, which become pieces from number on.
	// Two writers may not have a number in common, unless they write the same.
	Extend(ctx context.Context, id ID, upload string, number int, size int64) (Extension, error)
	// Assemble makes the blob of pieces; what was sent besides is dropped. It may
	// be called again with the same pieces, also when the blob is there.
	Assemble(ctx context.Context, id ID, upload string, pieces []Piece) error
	// Drop gives a blob up that was begun. A missing one is no error.
	Drop(ctx context.Context, id ID, upload string) error
}

// Extension writes pieces. Its Commit makes them durable, and nothing visible;
// its Abort leaves the blob as it was.
type Extension interface {
	Writer
	// Pieces are those that Commit made durable, in order.
	Pieces() []Piece
}
