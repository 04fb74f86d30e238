package formats

import (
	"context"
	"errors"
	"io"

	"granary/digest"
)

var (
	// ErrOffset is returned by Session.Append for bytes that do not follow
	// those that are there; 416.
	ErrOffset = errors.New("bytes out of order")
	// ErrRaced is returned when another request changed the session first; 409.
	ErrRaced = errors.New("the upload session was changed by another request")
)

// Uploads publishes bytes that no [Format] Accept sees: bodies that arrive in
// several requests, at any node, and content that another repository has
// already. A [Caller] finds it by [UploadsOf].
type Uploads interface {
	// Begin makes a session for records of a scope.
	Begin(ctx context.Context, scope string) (Session, error)
	// Find returns a session that Begin made for the scope, in this repository
	// and not too long ago, or ErrNotFound.
	Find(ctx context.Context, scope, id string) (Session, error)
	// Publish stores a body that arrives as a whole under rec. size is -1 if
	// unknown. ErrChecksum if its digests are not those wanted.
	Publish(ctx context.Context, rec Record, body io.Reader, size int64, want digest.Sums) (Record, error)
	// Mount makes rec a record of the bytes that the image, package or the
	// like called from has at the operation that at returns; from is a name as
	// a client of the repository's surface says it. Whatever keeps the caller
	// from reading that is ErrNotFound.
	Mount(ctx context.Context, from string, at func(name string) Op, rec Record) (Record, error)
}

// Chunk is the body of a request that adds to a session.
type Chunk struct {
	Body io.Reader
	At   int64 // offset of its first byte, -1: where the session ends
	Size int64 // -1 if unknown
}

// Session is an upload in progress. Its methods read and change what all nodes
// see.
type Session interface {
	ID() string
	// Offset is the number of bytes that are there, -1 once the session has
	// ended.
	Offset() int64
	// Append adds the bytes of a chunk: all of them, or none.
	Append(ctx context.Context, c Chunk) error
	// Finish adds the last chunk, if there is one, and publishes what is there
	// under rec. ErrChecksum if its digests are not those wanted: the session is
	// gone then. Finishing again what is finished returns the record.
	Finish(ctx context.Context, rec Record, want digest.Sums, last *Chunk) (Record, error)
	// Cancel drops the session.
	Cancel(ctx context.Context) error
}

type uploadsKey struct{}

// WithUploads is for the core: Call finds u in its request's context.
func WithUploads(ctx context.Context, u Uploads) context.Context {
	return context.WithValue(ctx, uploadsKey{}, u)
}

// UploadsOf returns the repository's Uploads, nil outside a Call.
func UploadsOf(ctx context.Context) Uploads {
	u, _ := ctx.Value(uploadsKey{}).(Uploads)
	return u
}
