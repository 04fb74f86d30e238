package blob

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// runLength is how many ids in a row share a folder.
const runLength = 256

// Source makes ids that are cheap to store: runs of them have the same
// [ID.Path] folder, so that not every blob costs a store of files a new folder
// and its fsyncs, and blobs that are committed together share one. Over many
// runs the folders fill as evenly as with single random ids; of an id's 80
// random bits 60 are its own.
type Source struct {
	now    func() time.Time
	random io.Reader

	mu   sync.Mutex // guards what follows, and reads from random
	tail string     // the last four characters of this run's ids
	left int        // how many more ids get them
}

// NewSource returns a source; random is a cryptographic one in production.
func NewSource(now func() time.Time, random io.Reader) *Source {
	return &Source{now: now, random: random}
}

// NewID returns a fresh id. It may be called concurrently.
func (s *Source) NewID() (ID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, err := NewID(s.now(), s.random)
	if err != nil {
		return "", fmt.Errorf("next id: %w", err)
	}
	if s.left == 0 {
		s.tail, s.left = string(id[len(id)-4:]), runLength
	}
	s.left--
	return id[:len(id)-4] + ID(s.tail), nil
}
