// Package filter keeps the marks of a round of the collector: what is needed,
// as Bloom filters, one for each of 256 prefixes, so that whoever sweeps a
// prefix loads the filter of that prefix alone.
//
// A filter says "needed" of a little that was never marked, and never "not
// needed" of what was. The salt differs from round to round, so that what one
// round keeps by mistake the next does not.
//
// A set is stored as one section per prefix, all of one length: the bits, then a
// checksum that also covers the name of the object, so that neither a damaged
// section nor that of another object is taken for the right one.
package filter

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/bits-and-blooms/bloom/v3"
	"github.com/zeebo/blake3"
)

// Prefixes is how many filters a set has.
const Prefixes = 256

// wanted is the false-positive rate that filters are sized for.
const wanted = 0.01

// sumSize is the length in bytes of a section's checksum.
const sumSize = 16

// ErrDamaged is returned for a section that is not what was written.
var ErrDamaged = errors.New("filter: damaged section")

// Params are what all filters of a round have in common.
type Params struct {
	Bits   uint64 `cbor:"1,keyasint"` // of one prefix; a multiple of 64
	Hashes uint64 `cbor:"2,keyasint"`
	Salt   []byte `cbor:"3,keyasint"`
}

// Size returns the params of filters for n keys spread evenly over the
// prefixes, at a false-positive rate of 1 %: about 9.6 bits for a key.
func Size(n int64, salt []byte) Params {
	each := float64(max(n, 0)) / Prefixes
	each += 3*math.Sqrt(each) + 8 // prefixes do not get exactly the same number
	bits, hashes := bloom.EstimateParameters(uint(math.Ceil(each)), wanted)
	return Params{Bits: (uint64(bits) + 63) / 64 * 64, Hashes: uint64(hashes), Salt: salt}
}

// Section is the length in bytes of a stored filter.
func (p Params) Section() int64 { return int64(p.Bits/8) + sumSize }

// Memory is what a whole set takes at the most, in bytes.
func (p Params) Memory() int64 { return Prefixes * int64(p.Bits/8) }

// Set is a filter for each prefix. It is used by one goroutine.
type Set struct {
	Params
	filters [Prefixes]*bloom.BloomFilter // nil: empty
	buf     []byte
	hasher  *blake3.Hasher
}

// New returns an empty set.
func New(p Params) *Set { return &Set{Params: p} }

func (s *Set) salted(key []byte) []byte {
	s.buf = append(append(s.buf[:0], s.Salt...), key...)
	return s.buf
}

// Add marks a key.
func (s *Set) Add(prefix byte, key []byte) {
	f := s.filters[prefix]
	if f == nil {
		f = bloom.New(uint(s.Bits), uint(s.Hashes))
		s.filters[prefix] = f
	}
	f.Add(s.salted(key))
}

// Has tells whether a key was marked; of one that was not, about one time in a
// hundred it says so all the same.
func (s *Set) Has(prefix byte, key []byte) bool {
	f := s.filters[prefix]
	return f != nil && f.Test(s.salted(key))
}

// Rate is the false-positive rate that the filter of a prefix has as it is: the
// share of its bits that are set, to the power of the number of hashes.
func (s *Set) Rate(prefix byte) float64 {
	f := s.filters[prefix]
	if f == nil {
		return 0
	}
	return math.Pow(float64(f.BitSet().Count())/float64(s.Bits), float64(s.Hashes))
}

// Drop forgets a prefix.
func (s *Set) Drop(prefix byte) { s.filters[prefix] = nil }

// Write writes the sections of the prefixes from ≤ p < to of an object.
func (s *Set) Write(w io.Writer, object string, from, to int) error {
	section := make([]byte, s.Section())
	for p := from; p < to; p++ {
		bits := section[:len(section)-sumSize]
		clear(bits)
		if f := s.filters[p]; f != nil {
			for i, word := range f.BitSet().Words() {
				binary.LittleEndian.PutUint64(bits[8*i:], word)
			}
		}
		copy(section[len(bits):], s.sum(object, byte(p), bits))
		if _, err := w.Write(section); err != nil {
			return fmt.Errorf("write filters of %s: %w", object, err)
		}
	}
	return nil
}

// Merge reads the section of a prefix and marks all that it marks. ErrDamaged
// if it is not what was written.
func (s *Set) Merge(r io.Reader, object string, prefix byte) error {
	section := make([]byte, s.Section())
	if _, err := io.ReadFull(r, section); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		return fmt.Errorf("read filter %02x of %s: %w", prefix, object, err)
	}
	bits := section[:len(section)-sumSize]
	if string(s.sum(object, prefix, bits)) != string(section[len(bits):]) {
		return fmt.Errorf("read filter %02x of %s: %w", prefix, object, ErrDamaged)
	}
	words := make([]uint64, s.Bits/64)
	for i := range words {
		words[i] = binary.LittleEndian.Uint64(bits[8*i:])
	}
	other := bloom.FromWithM(words, uint(s.Bits), uint(s.Hashes))
	if s.filters[prefix] == nil {
		s.filters[prefix] = other
		return nil
	}
	return s.filters[prefix].Merge(other)
}

func (s *Set) sum(object string, prefix byte, bits []byte) []byte {
	if s.hasher == nil {
		s.hasher = blake3.New()
	}
	h := s.hasher
	h.Reset()
	about := binary.LittleEndian.AppendUint64(nil, uint64(len(object)))
	about = append(append(about, object...), prefix)
	about = binary.LittleEndian.AppendUint64(binary.LittleEndian.AppendUint64(about, s.Bits), s.Hashes)
	h.Write(append(about, s.Salt...)) //nolint:errcheck // hash.Hash never returns an error
	h.Write(bits)                     //nolint:errcheck // as above
	return h.Sum(nil)[:sumSize]
}
