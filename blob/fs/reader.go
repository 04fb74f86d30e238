package fs

import (
	"fmt"
	"io"
	"os"

	"granary/blob"
)

// reader reads the next left bytes of a file.
type reader struct {
	f    *os.File
	id   blob.ID
	left int64
}

var (
	_ io.WriterTo = (*reader)(nil)
	_ blob.Stater = (*reader)(nil)
)

// Stat implements [blob.Stater].
func (r *reader) Stat() (blob.Info, error) {
	i, err := r.f.Stat()
	if err != nil {
		return blob.Info{}, fmt.Errorf("stat blob %s: %w", r.id, err)
	}
	return blob.Info{ID: r.id, Size: i.Size(), Modified: i.ModTime()}, nil
}

func (r *reader) Read(p []byte) (int, error) {
	if r.left <= 0 {
		return 0, io.EOF
	}
	n, err := r.f.Read(p[:min(int64(len(p)), r.left)])
	r.left -= int64(n)
	return n, err
}

// WriteTo hands w a limited *os.File, which is what a TCP connection's and an
// HTTP response's ReadFrom send without copying.
func (r *reader) WriteTo(w io.Writer) (int64, error) {
	l := &io.LimitedReader{R: r.f, N: r.left}
	n, err := io.Copy(w, l)
	r.left = l.N
	return n, err
}

func (r *reader) Close() error { return r.f.Close() }
