// Package digest names content. BLAKE3 is the name that granary itself uses;
// the others are what ecosystems publish. All are computed in one pass while
// bytes arrive and never again on a read.
package digest

import (
	"bytes"
	"crypto/md5"  //nolint:gosec // published by ecosystems, not used for trust
	"crypto/sha1" //nolint:gosec // as above
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"

	"github.com/zeebo/blake3"
)

// ErrMismatch is returned when content is not what a digest promised.
var ErrMismatch = errors.New("digest mismatch")

// ErrInvalid is returned for text that is no digest.
var ErrInvalid = errors.New("invalid digest")

// Algorithm is a hash function by the name that OCI digests and Subresource
// Integrity use, in lower case.
type Algorithm string

// The algorithms that granary computes.
const (
	BLAKE3 Algorithm = "blake3"
	SHA256 Algorithm = "sha256"
	SHA512 Algorithm = "sha512"
	SHA1   Algorithm = "sha1"
	MD5    Algorithm = "md5"
)

// Algorithms lists all of them.
var Algorithms = []Algorithm{BLAKE3, SHA256, SHA512, SHA1, MD5}

// Size returns the length of a sum in bytes, 0 for an unknown algorithm.
func (a Algorithm) Size() int {
	switch a {
	case BLAKE3, SHA256:
		return 32
	case SHA512:
		return 64
	case SHA1:
		return 20
	case MD5:
		return 16
	}
	return 0
}

// New returns a hash of the algorithm, which must be a known one.
func (a Algorithm) New() hash.Hash {
	switch a {
	case BLAKE3:
		return blake3.New()
	case SHA256:
		return sha256.New()
	case SHA512:
		return sha512.New()
	case SHA1:
		return sha1.New() //nolint:gosec // see imports
	case MD5:
		return md5.New() //nolint:gosec // see imports
	}
	panic("digest: unknown algorithm " + string(a))
}

// Sums are the digests of one content that are known; the others are nil. The
// CBOR keys are part of stored records.
type Sums struct {
	BLAKE3 []byte `cbor:"1,keyasint,omitempty"`
	SHA256 []byte `cbor:"2,keyasint,omitempty"`
	SHA512 []byte `cbor:"3,keyasint,omitempty"`
	SHA1   []byte `cbor:"4,keyasint,omitempty"`
	MD5    []byte `cbor:"5,keyasint,omitempty"`
}

func (s *Sums) field(a Algorithm) *[]byte {
	switch a {
	case BLAKE3:
		return &s.BLAKE3
	case SHA256:
		return &s.SHA256
	case SHA512:
		return &s.SHA512
	case SHA1:
		return &s.SHA1
	case MD5:
		return &s.MD5
	}
	return nil
}

// Get returns the sum, nil if it is not known.
func (s Sums) Get(a Algorithm) []byte {
	if f := s.field(a); f != nil {
		return *f
	}
	return nil
}

// Set stores a sum of a known algorithm; others are ignored.
func (s *Sums) Set(a Algorithm, sum []byte) {
	if f := s.field(a); f != nil {
		*f = sum
	}
}

// Hex returns the sum in lower-case hex, "" if it is not known.
func (s Sums) Hex(a Algorithm) string { return hex.EncodeToString(s.Get(a)) }

// IsZero tells whether no sum is known.
func (s Sums) IsZero() bool {
	for _, a := range Algorithms {
		if s.Get(a) != nil {
			return false
		}
	}
	return true
}

// Algorithms returns those whose sums are known.
func (s Sums) Algorithms() []Algorithm {
	var out []Algorithm
	for _, a := range Algorithms {
		if s.Get(a) != nil {
			out = append(out, a)
		}
	}
	return out
}

// Check compares every sum that want has with the one in s. The error wraps
// ErrMismatch and names both; a sum that s does not have is not compared.
func (s Sums) Check(want Sums) error {
	for _, a := range Algorithms {
		w, g := want.Get(a), s.Get(a)
		if w != nil && g != nil && !bytes.Equal(w, g) {
			return fmt.Errorf("%w: %s is %x, expected %x", ErrMismatch, a, g, w)
		}
	}
	return nil
}

// ParseHex reads a sum of algorithm a in hex of either case.
func ParseHex(a Algorithm, s string) ([]byte, error) {
	b, err := hex.DecodeString(s)
	if err != nil || a.Size() == 0 || len(b) != a.Size() {
		return nil, fmt.Errorf("%w: %q is no %s in hex", ErrInvalid, s, a)
	}
	return b, nil
}
