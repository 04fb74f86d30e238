package formats

import (
	"errors"
	"fmt"
)

var (
	// ErrNotFound is returned when a repository does not have what was asked.
	ErrNotFound = errors.New("not found")
	// ErrExists is returned when other bytes are published under the name and
	// the conflict policy keeps them.
	ErrExists = errors.New("already exists with other content")
	// ErrBadRequest is returned for input that is wrong whatever is stored.
	ErrBadRequest = errors.New("bad request")
	// ErrBadPackage is returned for a file that is not what its name or its
	// format says. It is an ErrBadRequest.
	ErrBadPackage = fmt.Errorf("%w: invalid package", ErrBadRequest)
	// ErrChecksum is returned when a body does not have the digest that the
	// request promised; 422.
	ErrChecksum = errors.New("checksum mismatch")
	// ErrTooLarge is returned for a body beyond the limit in force; 413.
	ErrTooLarge = errors.New("body too large")
	// ErrPrecondition is returned when If-Match or If-None-Match does not
	// hold; 412.
	ErrPrecondition = errors.New("precondition failed")
	// ErrNotAllowed is returned when the repository's type does not take the
	// operation; 405.
	ErrNotAllowed = errors.New("not allowed for this repository type")
	// ErrTruncated is returned when a body ended before its announced length.
	ErrTruncated = fmt.Errorf("%w: body ended early", ErrBadRequest)
	// ErrUpstream is returned when an upstream could not be asked or answered
	// with what can't be used; 502.
	ErrUpstream = errors.New("upstream error")
	// ErrUpstreamTimeout is an ErrUpstream after too long a wait; 504.
	ErrUpstreamTimeout = fmt.Errorf("%w: timed out", ErrUpstream)
	// ErrBlocked is returned when a pattern or policy refuses the path; 403.
	ErrBlocked = errors.New("refused by policy")
	// ErrBusy is returned when the client should come back later; 429 or 503.
	ErrBusy = errors.New("busy")
	// ErrNoSpace is returned when store, volume or quota is full; 507.
	ErrNoSpace = errors.New("insufficient storage")
	// ErrCorrupt is returned when stored bytes are missing or wrong; 500.
	ErrCorrupt = errors.New("stored content is missing or damaged")
)

// BadRequest returns an ErrBadRequest with a sentence for the client.
func BadRequest(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrBadRequest, fmt.Sprintf(format, args...))
}

// Coded is an error that clients of a format know by a code of theirs.
type Coded struct {
	Code string
	Err  error
}

func (e *Coded) Error() string { return e.Err.Error() }

// Unwrap returns the error without the code.
func (e *Coded) Unwrap() error { return e.Err }

// CodeOf returns the outermost code in the chain of err, "" without one.
func CodeOf(err error) string {
	var c *Coded
	if errors.As(err, &c) {
		return c.Code
	}
	return ""
}
