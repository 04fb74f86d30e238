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

// ParseID returns ErrInvalidID unless s is an id in canonical form.
func ParseID(s string) (ID, error) {
	u, err := ulid.ParseStrict(s)
	if err != nil || u.String() != s {
		return "", fmt.Errorf("%w: %q", ErrInvalidID, s)
	}
	return ID(s), nil
}

// Path is where stores keep the blob: aa/bb/<id>, with aa and bb from the
// random end of the id in lower case, so that folders and S3 key prefixes
// fill evenly.
func (id ID) Path() string {
	s := string(id)
	if len(s) < 4 {
		return s
	}
	l := strings.ToLower(s[len(s)-4:])
	return l[:2] + "/" + l[2:] + "/" + s
}
