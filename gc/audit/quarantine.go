package audit

import (
	"context"
	"encoding/hex"
	"fmt"

	"granary/blob"
	"granary/repo/refs"
)

// quarantine keeps everybody from content that was found missing or wrong.
// Records name a blob by its id too: until wrong bytes are gone, the store is
// suspect, and whoever reads from it asks the reference first. So it is while a
// dry run leaves records that name content which is not there: who is about to
// upload it would hear that it is.
func (k *Kind) quarantine(ctx context.Context, bs blob.Store, store string, ref refs.Ref, p Params, out *contents, b bad) error {
	if b.Verdict == mismatched || p.DryRun {
		if err := k.doubt(ctx, store); err != nil {
			return err
		}
	}
	hash, err := hex.DecodeString(b.Hash)
	if err != nil {
		return fmt.Errorf("reference %q is no hash: %w", b.Hash, err)
	}
	if err := k.c.Refs.MarkLost(ctx, store, hash, ref.Blob); err != nil {
		return err
	}
	switch {
	case p.DryRun:
		out.Kept++
		return nil
	case b.Verdict != mismatched:
		return nil
	}
	// Once it is gone those who name it follow the reference.
	return bs.Delete(ctx, ref.Blob)
}

// doubt makes a store suspect.
func (k *Kind) doubt(ctx context.Context, store string) error {
	if s, ok := k.c.Registry.StoreByID(store); ok && !s.Suspect.IsZero() {
		return nil
	}
	if err := k.c.Registry.SuspectStore(ctx, store); err != nil {
		return fmt.Errorf("quarantine: %w", err)
	}
	return nil
}

// lost looks at content that was found missing or wrong before. If its bytes
// are right by now, since somebody has put them back, it is served again.
func (k *Kind) lost(ctx context.Context, bs blob.Store, store string, ref refs.Ref, p Params, out *contents, b bad) error {
	if err := k.look(ctx, bs, ref, p.Verify, out, &b); err != nil {
		return err
	}
	out.Total++
	hash, err := hex.DecodeString(b.Hash)
	if err != nil {
		return fmt.Errorf("reference %q is no hash: %w", b.Hash, err)
	}
	if b.Verdict == "" && p.Verify && k.c.Restore != nil {
		restored, err := k.c.Restore(ctx, store, hash, ref.Blob)
		if err != nil || restored {
			return err
		}
	}
	switch {
	case p.DryRun, b.Verdict != missing && b.Verdict != mismatched:
		if err := k.doubt(ctx, store); err != nil {
			return err
		}
		out.Kept++
	case b.Verdict == mismatched:
		if err := bs.Delete(ctx, ref.Blob); err != nil {
			return err
		}
	}
	out.add(bad{Hash: b.Hash, Blob: b.Blob, Verdict: missing, Actual: b.Actual, Error: "its bytes were found missing or wrong before"})
	return nil
}

// trust ends the quarantine of stores in which nothing lost is left that records
// may name.
func (k *Kind) trust(ctx context.Context, all []contents) error {
	kept, shards := map[string]int64{}, map[string]int{}
	for _, c := range all {
		kept[c.Store] += c.Kept
		shards[c.Store]++
	}
	for id, n := range shards {
		s, ok := k.c.Registry.StoreByID(id)
		if !ok || s.Suspect.IsZero() || kept[id] > 0 || n != len(hexDigits) {
			continue
		}
		if err := k.c.Registry.TrustStore(ctx, id, s.Suspect); err != nil {
			return fmt.Errorf("end the quarantine of store %s: %w", s.Name, err)
		}
	}
	return nil
}
