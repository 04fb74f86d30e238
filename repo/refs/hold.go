package refs

import (
	"context"
	"errors"
	"fmt"

	"granary/blob"
	"granary/digest"
)

// Received is content that was uploaded, hashed and maybe stored already; see
// [blob.Received], whose Discard the caller defers.
type Received interface {
	Size() int64
	Sums() digest.Sums
	// Persist stores the bytes, once.
	Persist(ctx context.Context) (blob.ID, error)
	// Keep says that the stored blob is needed from now on.
	Keep()
}

var _ Received = (*blob.Received)(nil)

// Hold gives received bytes a place: that of the same content if it is there
// already, else their own. New content costs a read, a write and the upload;
// known content a read and a Stat. The caller writes the record that names
// Held.Blob, then calls Confirm. Bytes that are not needed are left to the
// caller's Discard.
func (k *Keeper) Hold(ctx context.Context, storeID string, bs blob.Store, rc Received) (Held, error) {
	h := hold{Keeper: k, bs: bs, rc: rc, held: Held{Store: storeID, Hash: rc.Sums().BLAKE3, Size: rc.Size()}}
	h.held.look(k)
	key, err := k.key(storeID, h.held.Hash)
	if err != nil {
		return Held{}, err
	}
	e, err := k.load(ctx, key)
	for try := 0; err == nil; try++ {
		var done bool
		if e, done, err = h.step(ctx, e); done {
			return h.held, nil
		}
		if err == nil {
			err = pause(ctx, try)
		}
	}
	return Held{}, fmt.Errorf("hold content %x: %w", h.held.Hash, err)
}

// hold is one use of a reference by one upload.
type hold struct {
	*Keeper
	bs   blob.Store
	rc   Received
	own  blob.ID // "" while our bytes are not stored
	held Held
}

// step does what the state of the reference asks for. It returns the entry to
// go on with.
func (h *hold) step(ctx context.Context, e entry) (entry, bool, error) {
	switch {
	case e.version == "":
		return h.put(ctx, e)
	case e.ref.State == Lost || e.ref.State == Deleting:
		return h.put(ctx, e)
	case e.ref.State == Condemned:
		// Live first: then the collector can't delete what we are about to look at.
		return h.revive(ctx, e, h.lazily)
	case e.ref.Blob == h.own:
		// An attempt of ours whose answer was lost.
		return h.finish(e, false)
	}
	there, err := h.intact(ctx, e.ref)
	if err != nil {
		return e, false, err
	}
	if there {
		return h.finish(e, true)
	}
	return h.lose(ctx, e, h.lazily)
}

// intact tells whether a blob is there with the length that its content has.
func (h *hold) intact(ctx context.Context, ref Ref) (bool, error) {
	info, err := h.bs.Stat(ctx, ref.Blob)
	if errors.Is(err, blob.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for blob %s: %w", ref.Blob, err)
	}
	return info.Size == h.held.Size && ref.Size == h.held.Size, nil
}

// put stores our own bytes and names them in the place of what e holds. A lost
// blob goes first: records still name it by its id, and once it is gone they
// follow the reference. It never comes back to life, so nobody needs it.
func (h *hold) put(ctx context.Context, e entry) (entry, bool, error) {
	if err := h.store(ctx, e); err != nil {
		return e, false, err
	}
	if e.version != "" && e.ref.State == Lost {
		if err := h.bs.Delete(ctx, e.ref.Blob); err != nil {
			return e, false, fmt.Errorf("remove the lost blob %s: %w", e.ref.Blob, err)
		}
	}
	ref := e.ref // with fields that only newer nodes know
	ref.Blob, ref.Size, ref.State = h.own, h.held.Size, Live
	now, done, err := h.swap(ctx, e, ref, h.lazily)
	switch {
	case errors.Is(err, errUnknown):
		h.rc.Keep() // the reference may name them; if not, they are an orphan for the collector
		return e, false, err
	case err == nil && !done && now.version != "" && now.ref.Blob == h.own:
		h.rc.Keep() // an attempt whose answer was lost was done, and others have gone on from there
		return now, false, nil
	case err != nil || !done:
		return now, false, err
	case e.version == "":
		h.stats.stored.Add(1)
	default:
		h.stats.healed.Add(1)
	}
	return h.finish(now, false)
}

// store puts our own bytes into the store, or makes sure that they are there
// still: e may be what came of them after an attempt whose answer was lost, if
// the collector has gone round since.
func (h *hold) store(ctx context.Context, e entry) (err error) {
	if h.own == "" {
		if h.own, err = h.rc.Persist(ctx); err != nil {
			h.own = ""
			return fmt.Errorf("store bytes: %w", err)
		}
		return nil
	}
	there := e.version == "" || e.ref.Blob != h.own
	if there {
		there, err = h.intact(ctx, Ref{Blob: h.own, Size: h.held.Size})
	}
	if err == nil && !there {
		err = ErrGone
	}
	return err
}

// finish is the end: e names the blob.
func (h *hold) finish(e entry, dedup bool) (entry, bool, error) {
	h.held.Blob, h.held.Dedup = e.ref.Blob, dedup
	if e.ref.Blob == h.own {
		h.rc.Keep()
		return e, true, nil
	}
	h.stats.dedup.Add(1)
	if h.own != "" {
		h.stats.raced.Add(1)
	}
	return e, true, nil
}

// revive makes a condemned reference live.
func (k *Keeper) revive(ctx context.Context, e entry, put putter) (entry, bool, error) {
	ref := e.ref
	ref.State = Live
	now, done, err := k.swap(ctx, e, ref, put)
	if done {
		k.stats.revived.Add(1)
	}
	return now, false, err
}

// lose marks a reference whose blob is not what it should be.
func (k *Keeper) lose(ctx context.Context, e entry, put putter) (entry, bool, error) {
	ref := e.ref
	ref.State = Lost
	now, done, err := k.swap(ctx, e, ref, put)
	if done {
		k.stats.lost.Add(1)
	}
	return now, false, err
}
