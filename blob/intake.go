package blob

import (
	"context"
	"fmt"
	"io"
)

// ReadError is an error of the reader that a body came from, as opposed to one
// of the store that it was going to.
type ReadError struct{ Err error }

func (e *ReadError) Error() string { return "read body: " + e.Err.Error() }

// Unwrap returns the reader's own error, io.ErrUnexpectedEOF for a body that
// ended before its announced length.
func (e *ReadError) Unwrap() error { return e.Err }

// maxEmptyReads is how often in a row a reader may return nothing at all.
const maxEmptyReads = 100

// intake reads a body and holds it to its limits.
type intake struct {
	ctx  context.Context //nolint:containedctx // lives as long as the one call it belongs to
	r    io.Reader
	size int64 // announced, -1 if it was not
	max  int64 // 0 for no limit
	n    int64 // read so far
	eof  bool  // r has ended
}

// fill reads until p is full or the body ends, which it reports as io.EOF if
// its length is right.
func (in *intake) fill(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m, err := in.read(p[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

func (in *intake) read(p []byte) (int, error) {
	if in.eof {
		return 0, io.EOF
	}
	for range maxEmptyReads {
		if err := in.ctx.Err(); err != nil {
			return 0, fmt.Errorf("receive body: %w", context.Cause(in.ctx))
		}
		m, err := in.r.Read(p)
		in.n += int64(m)
		switch {
		case in.max > 0 && in.n > in.max:
			return m, fmt.Errorf("%w: body exceeds %d bytes", ErrTooLarge, in.max)
		case in.size >= 0 && in.n > in.size:
			return m, fmt.Errorf("%w: body exceeds %d bytes", ErrLength, in.size)
		case err == io.EOF && in.n < in.size:
			return m, &ReadError{fmt.Errorf("%d of %d bytes: %w", in.n, in.size, io.ErrUnexpectedEOF)}
		case err == io.EOF:
			in.eof = true
			return m, io.EOF
		case err != nil:
			return m, &ReadError{err}
		case m > 0:
			return m, nil
		}
	}
	return 0, &ReadError{io.ErrNoProgress}
}
