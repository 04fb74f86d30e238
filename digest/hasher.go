package digest

import (
	"encoding"
	"errors"
	"fmt"
	"hash"
	"runtime"
	"slices"
	"sync"
)

// parallelMin is the length in bytes from which one Write is worth a goroutine
// per algorithm: hashing takes some hundred times what starting them does.
const parallelMin = 256 << 10

// pools keep states of hash functions, of which BLAKE3's has 10 KiB.
var pools = map[Algorithm]*sync.Pool{
	BLAKE3: poolOf(BLAKE3), SHA256: poolOf(SHA256), SHA512: poolOf(SHA512), SHA1: poolOf(SHA1), MD5: poolOf(MD5),
}

func poolOf(a Algorithm) *sync.Pool { return &sync.Pool{New: func() any { return a.New() }} }

// Hasher computes several sums in one pass. It is used by one goroutine.
type Hasher struct {
	algorithms []Algorithm
	hashes     []hash.Hash
	n          int64

	algorithmsBuf [5]Algorithm // backs algorithms, hashesBuf hashes
	hashesBuf     [5]hash.Hash
}

// NewHasher computes BLAKE3, SHA-256 and what else is asked.
func NewHasher(also ...Algorithm) *Hasher {
	h := &Hasher{}
	h.algorithms = append(h.algorithmsBuf[:0], BLAKE3, SHA256)
	for _, a := range also {
		if a.Size() > 0 && !slices.Contains(h.algorithms, a) {
			h.algorithms = append(h.algorithms, a)
		}
	}
	h.hashes = h.hashesBuf[:0]
	for _, a := range h.algorithms {
		x := pools[a].Get().(hash.Hash)
		x.Reset()
		h.hashes = append(h.hashes, x)
	}
	return h
}

// Release gives the memory of h back for other hashers; h is not used
// afterwards. A hasher that is not released is collected like anything else.
func (h *Hasher) Release() {
	for i, a := range h.algorithms {
		pools[a].Put(h.hashes[i])
	}
	*h = Hasher{}
}

// Write never fails. Long writes hash with one goroutine per algorithm, which
// have ended when it returns.
func (h *Hasher) Write(p []byte) (int, error) {
	if len(p) >= parallelMin && len(h.hashes) > 1 && runtime.GOMAXPROCS(0) > 1 {
		h.parallel(p)
	} else {
		for _, x := range h.hashes {
			x.Write(p) //nolint:errcheck // hash.Hash never returns an error
		}
	}
	h.n += int64(len(p))
	return len(p), nil
}

func (h *Hasher) parallel(p []byte) {
	var wg sync.WaitGroup
	for _, x := range h.hashes[1:] {
		wg.Go(func() { x.Write(p) }) //nolint:errcheck // as above
	}
	h.hashes[0].Write(p) //nolint:errcheck // as above
	wg.Wait()
}

// Len returns the bytes written so far.
func (h *Hasher) Len() int64 { return h.n }

// Sums returns the digests of what was written so far. More can be written
// afterwards.
func (h *Hasher) Sums() Sums {
	var s Sums
	for i, a := range h.algorithms {
		s.Set(a, h.hashes[i].Sum(nil))
	}
	return s
}

// State returns what is needed to go on hashing by one algorithm elsewhere, see
// [Hasher.Continue]. The error wraps errors.ErrUnsupported where the algorithm
// has no such form (BLAKE3), or h does not compute it.
func (h *Hasher) State(a Algorithm) ([]byte, error) {
	i := slices.Index(h.algorithms, a)
	if i < 0 {
		return nil, fmt.Errorf("state of %s: %w", a, errors.ErrUnsupported)
	}
	m, ok := h.hashes[i].(encoding.BinaryMarshaler)
	if !ok {
		return nil, fmt.Errorf("state of %s: %w", a, errors.ErrUnsupported)
	}
	return m.MarshalBinary()
}

// Continue makes the sum of one algorithm that of what was hashed up to state,
// and of what is written from now on. It is called before the first Write; the
// other sums are of what is written alone.
func (h *Hasher) Continue(a Algorithm, state []byte) error {
	i := slices.Index(h.algorithms, a)
	if i < 0 {
		return fmt.Errorf("continue %s: %w", a, errors.ErrUnsupported)
	}
	u, ok := h.hashes[i].(encoding.BinaryUnmarshaler)
	if !ok {
		return fmt.Errorf("continue %s: %w", a, errors.ErrUnsupported)
	}
	if err := u.UnmarshalBinary(state); err != nil {
		return fmt.Errorf("%w: state of %s: %w", ErrInvalid, a, err)
	}
	return nil
}
