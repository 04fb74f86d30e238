package repo

import (
	"context"
	"errors"
	"fmt"

	"granary/formats"
	"granary/kv"
	"granary/repo/record"
	"granary/repo/refs"
)

// confirm is called when a record that names held content has been written, or
// was found to be there, and before that is acknowledged. If the content has
// another blob by now the record is made to name that. If it is gone, since the
// writer was slower than two rounds of the collector, a record of ours is taken
// back; one that was there already is another writer's, who does so itself.
func (s *Service) confirm(ctx context.Context, r *repository, scope, name string, held refs.Held, out record.Outcome) error {
	err := s.Refs.Confirm(ctx, held)
	if err != nil && !errors.Is(err, refs.ErrGone) {
		return err
	}
	if err == nil && (!out.Same || out.Record.Blob == held.Blob) {
		return nil
	}
	now, use := s.Refs.Use(ctx, held.Store, held.Hash)
	switch {
	case use == nil:
		return s.restate(ctx, r, scope, name, out, now)
	case !errors.Is(use, refs.ErrNotFound) && !errors.Is(use, refs.ErrLost):
		return use
	case out.Same:
		return fmt.Errorf("%w: %w", refs.ErrGone, use)
	}
	err = s.undo(ctx, r, scope, name, out, fmt.Errorf("%w: %w", refs.ErrGone, use))
	return errors.Join(err, s.Records.Forget(ctx, r.space, scope, name, out.Record))
}

// restate makes a record name the blob that its content has now, so that nobody
// who knows the old one takes the record back. Without history: it is the same
// record.
func (s *Service) restate(ctx context.Context, r *repository, scope, name string, out record.Outcome, now refs.Held) error {
	rec := out.Record
	if rec.Blob == now.Blob || rec.Blob == "" {
		return nil
	}
	rec.Store, rec.Blob = now.Store, now.Blob
	_, err := s.Records.Update(ctx, r.space, scope, name, out.Version, rec)
	if errors.Is(err, kv.ErrConflict) && !out.Same {
		return nil // ours has been replaced or deleted since
	}
	return err
}

// undo takes back a record whose content is gone. What it replaced holds again.
// It returns err, with what went wrong besides.
func (s *Service) undo(ctx context.Context, r *repository, scope, name string, out record.Outcome, err error) error {
	ours := func(now *record.Record) bool {
		return now != nil && now.Nonce == out.Record.Nonce && now.Since == out.Record.Since && now.Blob == out.Record.Blob
	}
	if old := out.Replaced; old != nil && s.hasContent(ctx, *old) == nil {
		_, again := s.Records.Put(ctx, r.space, scope, name, *old, func(now *record.Record) (record.Verdict, error) {
			if !ours(now) {
				return record.Refuse, errNotOurs
			}
			return record.Replace, nil
		})
		if again == nil || errors.Is(again, errNotOurs) {
			return err
		}
		return errors.Join(err, fmt.Errorf("put back what %s/%s was: %w", r.Name, name, again))
	}
	_, gone := s.Records.Delete(ctx, r.space, scope, name, func(now record.Record) error {
		if !ours(&now) {
			return errNotOurs
		}
		return nil
	})
	if gone != nil && !errors.Is(gone, errNotOurs) && !errors.Is(gone, formats.ErrNotFound) {
		return errors.Join(err, fmt.Errorf("take back %s/%s: %w", r.Name, name, gone))
	}
	return err
}

// errNotOurs says that somebody else has written meanwhile.
var errNotOurs = errors.New("written by somebody else meanwhile")

// hasContent makes sure of the content of a record that is to hold again.
func (s *Service) hasContent(ctx context.Context, rec record.Record) error {
	if rec.Blob == "" {
		return nil
	}
	_, err := s.Refs.Use(ctx, rec.Store, rec.Sums.BLAKE3)
	return err
}

// undoItem takes back an item of the index in the same way, if ours says that it
// is the one that was written.
func (s *Service) undoItem(ctx context.Context, key kv.Key, err error, ours func(kv.Item) bool) error {
	if !errors.Is(err, refs.ErrGone) {
		return err
	}
	item, read := s.KV.Get(ctx, key, kv.Consistent)
	if read != nil || !ours(item) {
		return err
	}
	if gone := s.KV.DeleteIf(ctx, key, item.Version); gone != nil && !errors.Is(gone, kv.ErrConflict) {
		return errors.Join(err, fmt.Errorf("take back %v: %w", key, gone))
	}
	return err
}
