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

// undo takes back a record that was written after its content had been
// collected: one whose writer was slower than two rounds. What it replaced holds
// again. It returns err, with what went wrong besides; any other error than
// refs.ErrGone leaves the record, for its content is there.
func (s *Service) undo(ctx context.Context, r *repository, scope, name string, out record.Outcome, err error) error {
	if !errors.Is(err, refs.ErrGone) || out.Same {
		return err
	}
	ours := func(now *record.Record) bool {
		return now != nil && now.Nonce == out.Record.Nonce && now.Since == out.Record.Since
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
