package refs

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"granary/kv"
)

// entry is what a reference's key holds; without version it is nothing.
type entry struct {
	key     kv.Key
	ref     Ref
	version kv.Version
}

func (k *Keeper) load(ctx context.Context, key kv.Key) (entry, error) {
	return entryOf(key)(k.kv.Get(ctx, key, kv.Consistent))
}

func entryOf(key kv.Key) func(kv.Item, error) (entry, error) {
	return func(item kv.Item, err error) (entry, error) {
		if errors.Is(err, kv.ErrNotFound) {
			return entry{key: key}, nil
		}
		if err != nil {
			return entry{}, fmt.Errorf("read reference %v: %w", key, err)
		}
		ref, err := Decode(item)
		return entry{key, ref, item.Version}, err
	}
}

// errUnknown marks a write that may or may not have happened.
var errUnknown = errors.New("refs: outcome unknown")

// putter is a conditional write of the store, lazy or not.
type putter func(ctx context.Context, item kv.Item, old kv.Version) error

// lazily is for what matters only if the caller then writes the record that
// relies on it. The collector sees it at once all the same.
func (k *Keeper) lazily(ctx context.Context, item kv.Item, old kv.Version) error {
	return kv.PutIfLazy(ctx, k.kv, item, old)
}

// swap puts ref in the place of what e holds. It returns the new entry and
// true, or what is there instead.
func (k *Keeper) swap(ctx context.Context, e entry, ref Ref, put putter) (entry, bool, error) {
	ref.Since = k.now().UnixNano()
	value, err := kv.Marshal(ref)
	if err != nil {
		return e, false, err
	}
	item := kv.Item{Key: e.key, Value: value, Version: kv.NewVersion()}
	err = put(ctx, item, e.version)
	switch {
	case err == nil:
		return entry{e.key, ref, item.Version}, true, nil
	case errors.Is(err, kv.ErrConflict):
		now, err := entryOf(e.key)(kv.Current(ctx, k.kv, e.key, err))
		if err != nil { // ours may have been done before it was overtaken
			err = fmt.Errorf("%w: %w", errUnknown, err)
		}
		return now, false, err
	}
	for _, refused := range []error{kv.ErrThrottled, kv.ErrTooLarge, kv.ErrNoSpace, kv.ErrInvalid} {
		if errors.Is(err, refused) && !errors.Is(err, kv.ErrUnknown) {
			return e, false, fmt.Errorf("write reference %v: %w", e.key, err)
		}
	}
	return e, false, fmt.Errorf("write reference %v: %w: %w", e.key, errUnknown, err)
}

// pause lets others finish before a compare-and-swap is tried again.
func pause(ctx context.Context, try int) error {
	if try < 2 {
		return ctx.Err()
	}
	t := time.NewTimer(rand.N(time.Millisecond << min(try, 7))) //nolint:gosec // jitter
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
