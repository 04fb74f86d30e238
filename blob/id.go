package blob

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

// ID names a blob: a ULID in its 26-character form, upper case.
type ID string

// NewID returns a fresh id. random must be a cryptographic source in
// production; tests and simulations pass a seeded one.
func NewID(now time.Time, random io.Reader) (ID, error) {
	u, err := ulid.New(ulid.Timestamp(now), random)
	if err != nil {
		return "", fmt.Errorf("make blob id: %w", err)
	}
	return ID(u.String()), nil
}

// An id of this form names an object that the collector keeps beside the blobs
// for one of its rounds: two ULIDs, of the round and of the object, with a dot
// between them. It is no blob: [Store.List] yields it only below [WorkFolder].
const idDot = "."

// WorkFolder is what the paths of all work objects begin with.
const WorkFolder = ".gc/work/"

// WorkID names a work object of a round. Both are ids as [NewID] makes them.
func WorkID(round, object ID) ID { return round + idDot + object }

// Work returns the round that a work object belongs to; ok is false for the id
// of a blob.
func (id ID) Work() (round ID, ok bool) {
	r, _, ok := strings.Cut(string(id), idDot)
	return ID(r), ok
}

// ParseID returns ErrInvalidID unless s is an id in canonical form, of a blob
// or of a work object.
func ParseID(s string) (ID, error) {
	round, object, work := strings.Cut(s, idDot)
	ok := isULID(round) && (!work || isULID(object))
	if !ok {
		return "", fmt.Errorf("%w: %q", ErrInvalidID, s)
	}
	return ID(s), nil
}

func isULID(s string) bool {
	u, err := ulid.ParseStrict(s)
	return err == nil && u.String() == s
}

// Path is where stores keep the blob: aa/bb/<id>, with aa and bb from the
// random end of the id in lower case, so that folders and S3 key prefixes
// fill evenly. Work objects have a folder of their own.
func (id ID) Path() string {
	s := string(id)
	if _, work := id.Work(); work {
		return WorkFolder + s
	}
	if len(s) < 4 {
		return s
	}
	l := strings.ToLower(s[len(s)-4:])
	return l[:2] + "/" + l[2:] + "/" + s
}

// Lists tells whether a list of prefix has the blob or work object.
func (id ID) Lists(prefix string) bool {
	_, work := id.Work()
	return strings.HasPrefix(id.Path(), prefix) && (!work || strings.HasPrefix(prefix, WorkFolder))
}
