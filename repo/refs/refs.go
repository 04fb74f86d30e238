// Package refs keeps the references to blobs: for each content in a store,
// named by its BLAKE3, which blob holds it. Every blob that something needs has
// one, and whoever writes a record that names a blob first uses its reference.
//
// # Use
//
// A reference is live, condemned, deleting or lost. The collector condemns what
// no record names, deletes what it condemned if a later look at all records
// finds that nothing came to need it, and never in between. [Keeper.Hold] and
// [Keeper.Use] make a condemned reference live again, so that the collector's
// next step fails; the record is written after that. If much time has passed
// until it is, the collector may have gone round: [Keeper.Confirm] looks again.
//
// # Healing
//
// Content whose bytes are found missing or wrong becomes lost. The next upload
// of the same content stores its own bytes and puts them in the place of the
// lost ones; a reader whose blob is missing asks [Keeper.Resolve] where the
// content is now, so that all records of it are whole again.
package refs

import (
	"errors"
	"fmt"
	"time"

	"granary/blob"
	"granary/digest"
	"granary/formats"
	"granary/kv"
)

var (
	// ErrNotFound is returned when a store has no such content, or is about to
	// delete it.
	ErrNotFound = errors.New("refs: no such content")
	// ErrLost is returned when the bytes of a content are known to be missing or
	// wrong. The next upload of it heals that.
	ErrLost = fmt.Errorf("refs: content is lost: %w", formats.ErrCorrupt)
	// ErrGone is returned by Confirm when the blob that was held is not, or no
	// longer, what the reference names: the caller stores the bytes again and
	// rewrites what names them, or undoes it. Hold returns it when that happens
	// before it is done: then nothing names them.
	ErrGone = errors.New("refs: content was collected before its record was written")
)

// State is where a reference is in its life.
type State uint8

// The states. What a reference goes through: live → condemned → deleting →
// removed by the collector, condemned → live by a use, any → lost → live by
// healing.
const (
	Live      State = iota + 1
	Condemned       // nothing needed it when the collector looked
	Deleting        // the collector is deleting the blob
	Lost            // the blob is missing or wrong
)

func (s State) String() string {
	switch s {
	case Live:
		return "live"
	case Condemned:
		return "condemned"
	case Deleting:
		return "deleting"
	case Lost:
		return "lost"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Ref is a reference as stored.
type Ref struct {
	kv.Extra `cbor:"-"`

	Blob  blob.ID `cbor:"1,keyasint,omitempty"`
	Size  int64   `cbor:"2,keyasint,omitempty"` // bytes
	State State   `cbor:"3,keyasint,omitempty"`
	Since int64   `cbor:"4,keyasint,omitempty"` // Unix ns at which the state began
}

// Decode reads the value of an item at a reference's key.
func Decode(item kv.Item) (Ref, error) {
	var r Ref
	if err := kv.Unmarshal(item.Value, &r); err != nil {
		return Ref{}, fmt.Errorf("%w: reference %v: %w", formats.ErrCorrupt, item.Key, err)
	}
	if r.State < Live || r.State > Lost || r.Blob == "" {
		return Ref{}, fmt.Errorf("%w: reference %v names blob %q in %v", formats.ErrCorrupt, item.Key, r.Blob, r.State)
	}
	return r, nil
}

// Held is content that may be named by a record, if that is written and
// confirmed.
type Held struct {
	Store string // id
	Hash  []byte // BLAKE3
	Blob  blob.ID
	Size  int64
	Dedup bool // the content was there already

	wall time.Time     // before the reference was read, by the wall clock alone
	mono time.Duration // the same by the monotonic clock
}

func (h *Held) look(k *Keeper) { h.wall, h.mono = k.now().Round(0), k.mono() }

// Config is what a Keeper is made of.
type Config struct {
	KV  kv.Store
	Now func() time.Time // optional; the wall clock
	// Grace is the least time between two rounds of the collector, as the
	// settings say now. Optional; an hour.
	Grace func() time.Duration
	// Monotonic is a clock that nobody sets. Optional.
	Monotonic func() time.Duration
}

// Keeper uses and heals references. It is used concurrently.
type Keeper struct {
	kv    kv.Store
	now   func() time.Time
	mono  func() time.Duration
	grace func() time.Duration
	stats counters
}

// New returns a Keeper.
func New(c Config) *Keeper {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Monotonic == nil {
		start := time.Now()
		c.Monotonic = func() time.Duration { return time.Since(start) }
	}
	if c.Grace == nil {
		c.Grace = func() time.Duration { return time.Hour }
	}
	return &Keeper{kv: c.KV, now: c.Now, mono: c.Monotonic, grace: c.Grace}
}

func (k *Keeper) key(storeID string, hash []byte) (kv.Key, error) {
	if storeID == "" || len(hash) != digest.BLAKE3.Size() {
		return kv.Key{}, fmt.Errorf("refs: %x is no BLAKE3 of content in store %q", hash, storeID)
	}
	return kv.Reference(storeID, fmt.Sprintf("%x", hash)), nil
}
