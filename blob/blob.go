// Package blob is the contract between granary and a store of bytes.
//
// A blob is written once under a random id, never changed, and deleted at the
// end. The id is not the hash of the content: bytes stream straight to their
// final place while they are hashed, and a late delete can't hit newer bytes.
// Which content a blob holds, and who needs it, is the business of references
// in the key-value store; this package knows nothing of them.
package blob

import (
	"context"
	"errors"
	"io"
	"iter"
	"time"
)

var (
	// ErrNotFound is returned when no blob has the id.
	ErrNotFound = errors.New("blob: not found")
	// ErrNoSpace is returned when the store's volume or quota is full. Nothing
	// was stored.
	ErrNoSpace = errors.New("blob: no space left")
	// ErrUnavailable is returned when the store could not be asked: time-out,
	// refused connection, throttled beyond the retries.
	ErrUnavailable = errors.New("blob: store unavailable")
	// ErrInvalidID is returned for an id that [NewID] did not make.
	ErrInvalidID = errors.New("blob: invalid id")
	// ErrExists is returned by Create or Commit for an id that a blob has. What
	// that blob holds is unchanged.
	ErrExists = errors.New("blob: id in use")
	// ErrTooLarge is returned when a body is longer than the caller allows, or
	// than the store can hold in one object.
	ErrTooLarge = errors.New("blob: too large")
	// ErrLength is returned when there are more bytes than were announced, and
	// by Commit when there are fewer.
	ErrLength = errors.New("blob: length is not what was announced")
)

// Info is what a store says of a blob.
type Info struct {
	ID       ID
	Size     int64
	Modified time.Time // by the store's clock
}

// Store keeps blobs. All methods may be called concurrently.
type Store interface {
	// Create begins a blob. Nothing is visible before Commit returns nil, and
	// then it is durable. size is the length in bytes if known, else -1; a
	// store may use it to choose how it writes, and Commit checks it. The
	// writer outlives a cancelled ctx only to be aborted.
	Create(ctx context.Context, id ID, size int64) (Writer, error)
	// Open returns the bytes from offset on, length of them, -1 for the rest.
	// The reader ends where the blob ends. An offset at or beyond the end
	// gives an empty reader; a negative offset, or a length below -1, is an
	// error. Readers may implement [io.WriterTo]; copy with [io.Copy], so that
	// a file reaches a socket by sendfile.
	Open(ctx context.Context, id ID, offset, length int64) (io.ReadCloser, error)
	// Stat returns size and time, or ErrNotFound.
	Stat(ctx context.Context, id ID) (Info, error)
	// Delete removes a blob; a missing one is no error.
	Delete(ctx context.Context, id ID) error
	// List yields committed blobs whose [ID.Path] begins with prefix, in any
	// order; work objects only if prefix begins with [WorkFolder]. It pages by
	// itself and yields one error, last.
	List(ctx context.Context, prefix string) iter.Seq2[Info, error]
}

// Writer receives the bytes of one blob. It is used by one goroutine and keeps
// nothing of the slices that it is given. Commit or Abort ends it; Abort after
// a Commit that returned nil does nothing, and after one that failed it drops
// what is left. What became of a Commit that failed with ErrUnavailable is not
// known: who cares deletes the id.
type Writer interface {
	io.Writer
	// Commit makes what was written durable and visible.
	Commit(ctx context.Context) error
	// Abort drops what was written. What it can't drop now is left to the
	// store's own clean-up.
	Abort(ctx context.Context) error
}

// Presigner is implemented by stores whose blobs clients can fetch themselves.
type Presigner interface {
	// Presign returns a URL that answers GET for a while. (A signature is for one
	// method: who gets a HEAD answers it.)
	Presign(ctx context.Context, id ID, ttl time.Duration, header Header) (string, error)
}

// Header is what a presigned answer shall say of itself.
type Header struct {
	ContentType        string
	ContentDisposition string
	CacheControl       string
}

// Presign asks s for a URL; ok is false where s can't make one.
func Presign(ctx context.Context, s Store, id ID, ttl time.Duration, h Header) (url string, ok bool, err error) {
	p, ok := As[Presigner](s)
	if !ok {
		return "", false, nil
	}
	url, err = p.Presign(ctx, id, ttl, h)
	return url, err == nil, err
}

// Putter is implemented by stores that take a blob from where it lies in memory:
// a Writer would copy it.
type Putter interface {
	// Put does what Create, one Write and Commit do, and Abort if it fails.
	Put(ctx context.Context, id ID, content []byte) error
}

// ManyDeleter is implemented by stores that delete many blobs in one request.
type ManyDeleter interface {
	// DeleteMany does what Delete does, for each id; the error joins those of
	// the ids that failed.
	DeleteMany(ctx context.Context, ids []ID) error
}

// DeleteMany removes blobs, in few requests where the store can.
func DeleteMany(ctx context.Context, s Store, ids []ID) error {
	if m, ok := s.(ManyDeleter); ok {
		return m.DeleteMany(ctx, ids)
	}
	var errs []error
	for _, id := range ids {
		if err := ctx.Err(); err != nil {
			return errors.Join(append(errs, err)...)
		}
		errs = append(errs, s.Delete(ctx, id))
	}
	return errors.Join(errs...)
}

// Unwrapper is implemented by stores that wrap another.
type Unwrapper interface {
	Unwrap() Store
}

// As finds the optional part T of a store, if need be in what it wraps.
func As[T any](s Store) (part T, ok bool) {
	for {
		if part, ok = s.(T); ok {
			return part, true
		}
		w, wraps := s.(Unwrapper)
		if !wraps {
			return part, false
		}
		s = w.Unwrap()
	}
}
