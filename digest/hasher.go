package digest

import (
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
