package refs

import (
	"context"
	"errors"
	"fmt"

	"granary/kv"
)

// What the collector does to references. Each step is one compare-and-swap on
// the version at which the reference was read, so that a use in between makes it
// fail.

// Condemn says that nothing needed the content when the collector looked. It
// returns the version that the reference has from then on; ok is false if
// somebody else has written it since it was read.
func (k *Keeper) Condemn(ctx context.Context, item kv.Item, ref Ref) (version kv.Version, ok bool, err error) {
	return k.step(ctx, item, ref, Condemned)
}

// Acquit makes a condemned reference live: something needs it after all.
func (k *Keeper) Acquit(ctx context.Context, item kv.Item, ref Ref) (ok bool, err error) {
	_, ok, err = k.step(ctx, item, ref, Live)
	return ok, err
}

// Doom says that the blob is being deleted from now on. There is no way back
// but for an upload that brings bytes of its own.
func (k *Keeper) Doom(ctx context.Context, item kv.Item, ref Ref) (version kv.Version, ok bool, err error) {
	return k.step(ctx, item, ref, Deleting)
}

func (k *Keeper) step(ctx context.Context, item kv.Item, ref Ref, to State) (kv.Version, bool, error) {
	ref.State = to
	now, done, err := k.swap(ctx, entry{item.Key, ref, item.Version}, ref, k.kv.PutIf)
	if err != nil {
		return "", false, fmt.Errorf("make content %s %v: %w", item.Sort, to, err)
	}
	return now.version, done, nil
}

// Remove deletes a reference whose blob has been deleted, if it still has the
// version that Doom gave it.
func (k *Keeper) Remove(ctx context.Context, key kv.Key, version kv.Version) error {
	err := k.kv.DeleteIf(ctx, key, version)
	if err != nil && !errors.Is(err, kv.ErrConflict) {
		return fmt.Errorf("remove reference %v: %w", key, err)
	}
	return nil
}
