package formats

import (
	"fmt"
	"io"
)

// Limit passes on at most n bytes of r; what is longer fails with an
// ErrTooLarge that names what it is.
func Limit(r io.Reader, n int64, what string) io.Reader {
	return &limited{r: r, left: n, max: n, what: what}
}

type limited struct {
	r         io.Reader
	left, max int64
	what      string
}

func (l *limited) Read(b []byte) (int, error) {
	// One byte more than allowed is asked for, so that an exact fit passes.
	if int64(len(b)) > l.left+1 {
		b = b[:l.left+1]
	}
	n, err := l.r.Read(b)
	if int64(n) > l.left {
		n, l.left = int(l.left), 0
		return n, fmt.Errorf("%w: %s, at most %d bytes are possible", ErrTooLarge, l.what, l.max)
	}
	l.left -= int64(n)
	return n, err
}

// readAhead is what ReadAhead reads at once, in bytes.
const readAhead = 1 << 20

// ReadAhead reads b in steps of 1 MiB, so that a parser which asks for a few
// bytes at a time does not make a request to the blob store of each. It is for
// one goroutine and keeps one step in memory.
func ReadAhead(b Blob) io.ReaderAt { return &ahead{r: b, size: b.Size()} }

type ahead struct {
	r    io.ReaderAt
	size int64
	off  int64 // of window
	win  []byte
	buf  []byte
}

// ReadAt is that of [io.ReaderAt], except that it must not be called
// concurrently.
func (a *ahead) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("read at %d", off)
	}
	n := 0
	for n < len(p) {
		if off+int64(n) >= a.size {
			return n, io.EOF
		}
		if err := a.load(off + int64(n)); err != nil {
			return n, err
		}
		n += copy(p[n:], a.win[off+int64(n)-a.off:])
	}
	return n, nil
}

// load makes the window hold the byte at off, which the blob has. It begins at
// a multiple of the step: zip readers look at the end of a file, then before it.
func (a *ahead) load(off int64) error {
	if off >= a.off && off < a.off+int64(len(a.win)) {
		return nil
	}
	if a.buf == nil {
		a.buf = make([]byte, min(readAhead, a.size))
	}
	start := off - off%readAhead
	want := min(int64(len(a.buf)), a.size-start)
	a.win = nil
	n, err := a.r.ReadAt(a.buf[:want], start)
	if int64(n) < want {
		if err == nil || err == io.EOF { //nolint:errorlint // plain by contract
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("read %d bytes at %d: %w", want, start, err)
	}
	a.off, a.win = start, a.buf[:want]
	return nil
}
