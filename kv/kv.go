// Package kv is the contract between granary and a key-value store.
//
// A record is (partition, sort) → (value, version). Single-key atomicity is
// all that is asked of a backend: no transactions, no secondary indexes, no
// ordering between partitions. Within a partition items are ordered by the
// bytes of their sort key.
//
// # Versions
//
// A version is an opaque stamp that is never used twice, compared for equality
// only. The caller makes it ([NewVersion]) before the first attempt, so that
// the same conditional write can be sent again when its outcome is unknown:
// a store that finds the very version it was asked to write reports success.
//
// # Blind and conditional writes
//
// A key is always written conditionally or always blindly, by its first
// letter: last access (t/) alone is blind. [Store.Put], [Store.Delete] and
// [Store.BatchPut] are for it and for partitions nobody else writes yet.
//
// # Consistency
//
// Reads may return an earlier state unless [Consistent] is asked for. Expired
// items are absent for every method, whenever the backend really drops them.
package kv

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"iter"
	"time"
)

// Limits of keys and values that every backend accepts and checks alike.
const (
	// MaxPartition is the longest partition name in bytes.
	MaxPartition = 1024
	// MaxSort is the longest sort key in bytes.
	MaxSort = 1024
	// MaxValue is the largest value in bytes; larger metadata spills into a blob.
	MaxValue = 256 << 10
)

var (
	// ErrNotFound is returned when no live item has the key.
	ErrNotFound = errors.New("kv: not found")
	// ErrConflict is returned when the stored version is not the one that the
	// write named. The error is a [*ConflictError] where the backend can say
	// what it found.
	ErrConflict = errors.New("kv: version conflict")
	// ErrThrottled is returned when the store refused for load and the
	// backend's own retries are used up. Nothing was written.
	ErrThrottled = errors.New("kv: throttled")
	// ErrTooLarge is returned for a key or value beyond the limits. Nothing
	// was written.
	ErrTooLarge = errors.New("kv: too large")
	// ErrUnknown is returned when a write may or may not have happened and the
	// backend could not settle it before the context ended. The same write,
	// with the same version, may be sent again.
	ErrUnknown = errors.New("kv: outcome unknown")
	// ErrNoSpace is returned when the store's volume or quota is full. Nothing
	// was written.
	ErrNoSpace = errors.New("kv: no space left")
	// ErrInvalid is returned for an empty partition or sort key, or one that
	// is not valid UTF-8. Nothing was written.
	ErrInvalid = errors.New("kv: invalid key")
)

// Key names an item. Both parts are non-empty UTF-8.
type Key struct {
	Partition, Sort string
}

func (k Key) String() string { return k.Partition + " " + k.Sort }

// Version is the opaque stamp of one write; "" stands for "no such item".
type Version string

// NewVersion returns a stamp that was never used before.
func NewVersion() Version {
	var b [15]byte
	if _, err := rand.Read(b[:]); err != nil {
		panic("kv: no randomness: " + err.Error()) // crypto/rand never fails on supported systems
	}
	return Version(base64.RawURLEncoding.EncodeToString(b[:]))
}

// Item is a record as stored. A reader must not change Value.
type Item struct {
	Key
	Value   []byte
	Version Version
	Expires time.Time // zero: never; stored with a grain of one second
}

// ConflictError is [ErrConflict] with what stood in the way.
type ConflictError struct {
	Key Key
	// Current is the item that was found, nil where the backend can't tell
	// without another read or where Absent is set.
	Current *Item
	// Absent is set when the item was expected and is known to be missing.
	Absent bool
}

func (e *ConflictError) Error() string { return fmt.Sprintf("%v: %v", ErrConflict, e.Key) }

// Is makes errors.Is(err, ErrConflict) true.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// Store is a key-value store. All methods may be called concurrently, check
// keys and sizes before they write (ErrInvalid, ErrTooLarge), and have made a
// write durable when they return nil. Throttling and retries, with full
// jitter, are the backend's business.
type Store interface {
	// Get returns the item, or ErrNotFound.
	Get(ctx context.Context, key Key, opts ...ReadOption) (Item, error)
	// Put writes blindly. An empty Version is filled in by the store.
	Put(ctx context.Context, item Item) error
	// PutIf writes item, whose Version the caller made, if the stored version
	// is old; old "" means that no item may exist. If the stored version
	// already is item.Version the write is taken as done. Else ErrConflict. An
	// empty item.Version is ErrInvalid.
	PutIf(ctx context.Context, item Item, old Version) error
	// Delete removes blindly; a missing item is no error.
	Delete(ctx context.Context, key Key) error
	// DeleteIf removes the item if its version is old, which is not "". A
	// missing item is ErrConflict with Absent set where the backend can tell:
	// who repeats a delete of unknown outcome takes that as done. An empty old
	// is ErrInvalid.
	DeleteIf(ctx context.Context, key Key, old Version) error
	// Query yields the items of a partition with from ≤ sort < to in order of
	// their sort key; to "" is the end. It pages by itself and yields one
	// error, last. A partition that does not exist is empty, and so is a range
	// that ends before it begins. See CheckQuery for what is no valid range.
	Query(ctx context.Context, partition, from, to string, opts ...ReadOption) iter.Seq2[Item, error]
	// BatchPut writes blindly, in any order; on error some may be written. The
	// keys differ and every item is checked before any is written.
	BatchPut(ctx context.Context, items []Item) error
}

// Read says how an item is to be read; see [Resolve].
type Read struct {
	Consistent bool
	Limit      int  // items wanted at the most, 0: all; a hint for page sizes and a bound for Query
	Reverse    bool // Query only: descending order
	KeysOnly   bool // Query only: values may be left out
}

// ReadOption changes a [Read].
type ReadOption func(*Read)

// Consistent asks for the latest acknowledged state.
func Consistent(r *Read) { r.Consistent = true }

// Reverse asks a Query for descending order.
func Reverse(r *Read) { r.Reverse = true }

// KeysOnly allows a Query to leave the values out.
func KeysOnly(r *Read) { r.KeysOnly = true }

// Limit ends a Query after n items.
func Limit(n int) ReadOption { return func(r *Read) { r.Limit = n } }

// Resolve folds options, for implementations of [Store].
func Resolve(opts []ReadOption) Read {
	var r Read
	for _, o := range opts {
		o(&r)
	}
	return r
}

// Traits are what a backend is known to be good at.
type Traits struct {
	// Inline is the size in bytes up to which artifact bytes are better kept
	// in the record than in a blob.
	Inline int
	// Shards is the default number of record partitions of a new repository.
	Shards int
	// AlwaysConsistent: every read is consistent, a confirming read is waste.
	AlwaysConsistent bool
	// Embedded: the store belongs to this process alone, so that earlier nodes
	// are dead once it is open.
	Embedded bool
}

// Traiter is implemented by backends, and by wrappers for what they wrap.
type Traiter interface {
	Traits() Traits
}

// TraitsOf returns what s says of itself, else what holds for any store:
// 4 KiB inline and 16 shards.
func TraitsOf(s Store) Traits {
	if t, ok := s.(Traiter); ok {
		return t.Traits()
	}
	return Traits{Inline: 4 << 10, Shards: 16}
}

// LazyPutter is implemented by backends that can order a write before later
// ones without waiting for the disk.
type LazyPutter interface {
	// PutIfLazy is PutIf, but durable only once any later write to the same
	// store that is not lazy has been acknowledged.
	PutIfLazy(ctx context.Context, item Item, old Version) error
}

// PutIfLazy writes something that matters only if a later write of the same
// caller is acknowledged too, such as the reference that a record will name.
// It falls back to PutIf.
func PutIfLazy(ctx context.Context, s Store, item Item, old Version) error {
	if l, ok := s.(LazyPutter); ok {
		return l.PutIfLazy(ctx, item, old)
	}
	return s.PutIf(ctx, item, old)
}

// Check returns ErrInvalid or ErrTooLarge for an item that no backend takes.
func Check(item Item) error {
	if err := CheckKey(item.Key); err != nil {
		return err
	}
	if len(item.Value) > MaxValue {
		return fmt.Errorf("%w: value of %d bytes at %v", ErrTooLarge, len(item.Value), item.Key)
	}
	return nil
}
