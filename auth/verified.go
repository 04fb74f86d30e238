package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	stdhash "hash"
	"io"
	"sync"
	"time"
)

const (
	verifiedFor = time.Minute
	maxVerified = 4096 // per kind of credential, less than 1 MiB
)

// fingerprint stands for a credential that was presented. It can't be computed
// outside this process.
type fingerprint [sha256.Size]byte

// verified remembers credentials that were found right with what was found
// about them, so that argon2id is not paid per request. It holds fingerprints
// only.
type verified[V any] struct {
	now    func() time.Time
	hashes sync.Pool // of keyed hash.Hash

	mu      sync.RWMutex // protects entries
	entries map[fingerprint]finding[V]
}

type finding[V any] struct {
	value V
	until time.Time
}

func newVerified[V any](now func() time.Time, random io.Reader) (*verified[V], error) {
	k, err := newSecret(random, sha256.Size)
	if err != nil {
		return nil, err
	}
	v := &verified[V]{now: now, entries: map[fingerprint]finding[V]{}}
	v.hashes.New = func() any { return hmac.New(sha256.New, k) }
	return v, nil
}

// fingerprint of a credential's parts; their lengths keep them from running
// into each other.
func (v *verified[V]) fingerprint(parts ...string) fingerprint {
	h := v.hashes.Get().(stdhash.Hash)
	defer v.hashes.Put(h)
	h.Reset()
	buf := make([]byte, 0, 512)
	for _, p := range parts {
		buf = binary.AppendUvarint(buf, uint64(len(p)))
		buf = append(buf, p...)
	}
	h.Write(buf) //nolint:errcheck // hash.Hash never returns an error
	var f fingerprint
	h.Sum(f[:0])
	return f
}

// find returns what was added, for a minute.
func (v *verified[V]) find(f fingerprint) (V, bool) {
	v.mu.RLock()
	e, ok := v.entries[f]
	v.mu.RUnlock()
	return e.value, ok && v.now().Before(e.until)
}

func (v *verified[V]) add(f fingerprint, value V) {
	v.mu.Lock()
	defer v.mu.Unlock()
	now := v.now()
	if len(v.entries) >= maxVerified {
		for old, e := range v.entries {
			if !now.Before(e.until) {
				delete(v.entries, old)
			}
		}
	}
	for old := range v.entries { // any: the map's order is random enough
		if len(v.entries) < maxVerified {
			break
		}
		delete(v.entries, old)
	}
	v.entries[f] = finding[V]{value, now.Add(verifiedFor)}
}

// String keeps fingerprints and their key out of logs.
func (v *verified[V]) String() string { return fmt.Sprintf("verified(%s)", Mask) }
