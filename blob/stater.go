package blob

import (
	"errors"
	"io"
)

// Stater is implemented by readers of stores that can tell of the blob what Stat
// does, without looking for it again. Others answer ErrNotTold.
type Stater interface{ Stat() (Info, error) }

// ErrNotTold is returned by readers that wrap one which tells nothing of its
// blob.
var ErrNotTold = errors.New("blob: the reader tells nothing of its blob")

// StatReader returns what a reader tells of its blob, false if it tells nothing.
func StatReader(r io.Reader) (Info, bool) {
	s, ok := r.(Stater)
	if !ok {
		return Info{}, false
	}
	info, err := s.Stat()
	return info, err == nil
}
