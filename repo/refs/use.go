package refs

import (
	"context"
	"errors"
	"fmt"

	"granary/blob"
)

var errNotHeld = errors.New("refs: confirm what is not held")

// Use is Hold for a copy, without bytes at hand: clone, move, promotion,
// restore, mount. ErrNotFound or ErrLost if the content can't be had. It costs
// a read.
func (k *Keeper) Use(ctx context.Context, storeID string, hash []byte) (Held, error) {
	held := Held{Store: storeID, Hash: hash, Dedup: true}
	held.look(k)
	e, err := k.usable(ctx, storeID, hash, func(Ref) bool { return true }, k.lazily)
	if err != nil {
		return Held{}, fmt.Errorf("use content %x: %w", hash, err)
	}
	held.Blob, held.Size = e.ref.Blob, e.ref.Size
	return held, nil
}

// usable reads a reference and makes it live if it is condemned and wanted.
func (k *Keeper) usable(ctx context.Context, storeID string, hash []byte, wanted func(Ref) bool, put putter) (entry, error) {
	key, err := k.key(storeID, hash)
	if err != nil {
		return entry{}, err
	}
	e, err := k.load(ctx, key)
	for try := 0; err == nil; try++ {
		switch {
		case e.version == "" || e.ref.State == Deleting:
			return e, ErrNotFound
		case e.ref.State == Lost:
			return e, ErrLost
		case e.ref.State == Live || !wanted(e.ref):
			return e, nil
		}
		if e, _, err = k.revive(ctx, e, put); err == nil {
			err = pause(ctx, try)
		}
	}
	return entry{}, err
}

// Confirm is called when what names held content has been written, and before
// that is acknowledged. It costs nothing unless, by the wall clock or by the
// monotonic one, more than a quarter of the grace has passed since the content
// was held; then it looks at the reference again. ErrGone: what was written
// names bytes that are gone, or may go.
func (k *Keeper) Confirm(ctx context.Context, held Held) error {
	if held.Blob == "" {
		return errNotHeld
	}
	wall, mono := k.now().Round(0).Sub(held.wall), k.mono()-held.mono
	if max(wall.Abs(), mono) <= k.grace()/4 {
		return nil
	}
	same := func(r Ref) bool { return r.Blob == held.Blob }
	e, err := k.usable(ctx, held.Store, held.Hash, same, k.kv.PutIf) // no write follows that would make a lazy one durable
	switch {
	case err == nil && same(e.ref):
		return nil
	case err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrLost):
		err = ErrGone
	}
	return fmt.Errorf("confirm content %x in blob %s: %w", held.Hash, held.Blob, err)
}

// Resolve returns the blob that holds a content now, for a reader who did not
// find its bytes where the record says. ErrNotFound or ErrLost if there is none.
func (k *Keeper) Resolve(ctx context.Context, storeID string, hash []byte) (blob.ID, error) {
	e, err := k.usable(ctx, storeID, hash, func(Ref) bool { return false }, k.lazily)
	if err != nil {
		return "", fmt.Errorf("find content %x: %w", hash, err)
	}
	return e.ref.Blob, nil
}

// MarkLost says that the bytes of a content are missing or wrong in blob id. It
// does nothing if the reference names another blob by now, or none.
func (k *Keeper) MarkLost(ctx context.Context, storeID string, hash []byte, id blob.ID) error {
	key, err := k.key(storeID, hash)
	if err != nil {
		return err
	}
	e, err := k.load(ctx, key)
	for try := 0; err == nil; try++ {
		if e.version == "" || e.ref.Blob != id || e.ref.State == Lost || e.ref.State == Deleting {
			return nil
		}
		var now entry
		if now, _, err = k.lose(ctx, e, k.kv.PutIf); err == nil {
			e, err = now, pause(ctx, try)
		}
	}
	return fmt.Errorf("mark content %x lost in blob %s: %w", hash, id, err)
}
