package kv

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"
)

// ErrUnchanged is returned by the function given to [Table.Update] to end the
// update without a write; Update then succeeds with what is stored.
var ErrUnchanged = errors.New("kv: unchanged")

// Table reads and writes items of one Go type, encoded with [Marshal]. Its
// writes are conditional.
type Table[T any] struct {
	Store Store
	// Expires says when an item vanishes. Optional; nil, or the zero time: never.
	Expires func(T) time.Time
}

// Row is an item of a [Table].
type Row[T any] struct {
	Key
	Value   T
	Version Version
}

// Get returns the value at key and its version, or ErrNotFound.
func (t Table[T]) Get(ctx context.Context, key Key, opts ...ReadOption) (T, Version, error) {
	item, err := t.Store.Get(ctx, key, opts...)
	if err != nil {
		var none T
		return none, "", err
	}
	row, err := t.decode(item)
	return row.Value, row.Version, err
}

// Create writes value at a key that has no item, without a read; else
// ErrConflict, from which [Table.Found] takes the value that is there.
func (t Table[T]) Create(ctx context.Context, key Key, value T) (Version, error) {
	return t.Replace(ctx, key, value, "")
}

// Replace writes value over the version old, else ErrConflict.
func (t Table[T]) Replace(ctx context.Context, key Key, value T, old Version) (Version, error) {
	item, err := t.encode(key, value)
	if err != nil {
		return "", err
	}
	if err := t.Store.PutIf(ctx, item, old); err != nil {
		return "", err
	}
	return item.Version, nil
}

// Delete removes the version old, else ErrConflict.
func (t Table[T]) Delete(ctx context.Context, key Key, old Version) error {
	return t.Store.DeleteIf(ctx, key, old)
}

// Found returns the value that a failed conditional write met, as [Current] does.
func (t Table[T]) Found(ctx context.Context, key Key, conflict error) (T, Version, error) {
	item, err := Current(ctx, t.Store, key, conflict)
	if err != nil {
		var none T
		return none, "", err
	}
	row, err := t.decode(item)
	return row.Value, row.Version, err
}

// How often an update is tried and how long it waits in between: the mean of a
// wait doubles from the first up to the last.
const (
	updateTries     = 32
	updateEager     = 2 // conflicts after which it does not wait
	updateFirstWait = time.Millisecond
	updateLastWait  = 128 * time.Millisecond
)

// Update replaces the value at key by what change makes of it, and returns
// what it wrote. exists is false, and old the zero value, where there is none.
// change sees the latest state and may be called again when another writer was
// faster; after an unknown outcome that a later writer hid, once more than its
// effect. It may end the update with an error, which is returned as it is, or
// with [ErrUnchanged]. Against too many other writers it ends in ErrConflict.
func (t Table[T]) Update(ctx context.Context, key Key, change func(old T, exists bool) (T, error)) (T, error) {
	var none T
	old, version, err := t.Get(ctx, key, Consistent)
	for try := 1; ; try++ {
		if err != nil && !errors.Is(err, ErrNotFound) {
			return none, err
		}
		next, stop := change(old, version != "")
		if errors.Is(stop, ErrUnchanged) {
			return old, nil
		} else if stop != nil {
			return none, stop
		}
		_, conflict := t.Replace(ctx, key, next, version)
		switch {
		case conflict == nil:
			return next, nil
		case !errors.Is(conflict, ErrConflict):
			return none, conflict
		case try == updateTries:
			return none, fmt.Errorf("update %v: %d tries: %w", key, updateTries, conflict)
		case try <= updateEager:
			old, version, err = t.Found(ctx, key, conflict)
			continue
		}
		// Many writers: what the conflict met is old after a pause, so read.
		if err := pause(ctx, try-updateEager); err != nil {
			return none, fmt.Errorf("update %v: %w", key, err)
		}
		old, version, err = t.Get(ctx, key, Consistent)
	}
}

// Query yields the typed items of a range, see [Store.Query]; with [KeysOnly]
// their values are zero. It ends with the first item that does not decode.
func (t Table[T]) Query(ctx context.Context, partition, from, to string, opts ...ReadOption) iter.Seq2[Row[T], error] {
	keysOnly := Resolve(opts).KeysOnly
	return func(yield func(Row[T], error) bool) {
		for item, err := range t.Store.Query(ctx, partition, from, to, opts...) {
			row := Row[T]{Key: item.Key, Version: item.Version}
			if err == nil && !keysOnly {
				row, err = t.decode(item)
			}
			if !yield(row, err) || err != nil {
				return
			}
		}
	}
}

func (t Table[T]) encode(key Key, value T) (Item, error) {
	data, err := Marshal(value)
	if err != nil {
		return Item{}, fmt.Errorf("%v: %w", key, err)
	}
	item := Item{Key: key, Value: data, Version: NewVersion()}
	if t.Expires != nil {
		item.Expires = t.Expires(value)
	}
	return item, nil
}

func (t Table[T]) decode(item Item) (Row[T], error) {
	row := Row[T]{Key: item.Key, Version: item.Version}
	if err := Unmarshal(item.Value, &row.Value); err != nil {
		return row, fmt.Errorf("%v: %w", item.Key, err)
	}
	return row, nil
}

// pause waits with full jitter before a further try.
func pause(ctx context.Context, try int) error {
	longest := min(updateFirstWait<<min(try, 20), updateLastWait)
	timer := time.NewTimer(rand.N(2 * longest))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
