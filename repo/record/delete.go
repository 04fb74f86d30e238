package record

import (
	"context"
	"errors"
	"fmt"

	"granary/formats"
	"granary/kv"
)

// Delete swaps in a tombstone and returns what was removed, or
// formats.ErrNotFound. cond, if not nil, may refuse to remove what is there; it
// may be called several times. Costs one read and two writes.
func (s *Store) Delete(ctx context.Context, sp kv.Space, scope, name string, cond func(Record) error) (Record, error) {
	if err := checkName(scope, name); err != nil {
		return Record{}, err
	}
	w := s.begin(sp, scope, name)
	old, now, err := w.remove(ctx, cond)
	if err != nil {
		w.end(nil, nil, !refusal(err))
		return Record{}, fmt.Errorf("delete record %s: %w", formats.Join(scope, name), err)
	}
	w.end(&old, &now, false)
	return old, nil
}

func (w *write) remove(ctx context.Context, cond func(Record) error) (removed, tombstone Record, err error) {
	old, err := w.head(ctx)
	if err != nil {
		return Record{}, Record{}, refused{err}
	}
	id := nonce()
	for try := 0; ; try++ {
		if old.live() == nil {
			return Record{}, Record{}, refused{formats.ErrNotFound}
		}
		if cond != nil {
			if err := cond(*old.live()); err != nil {
				return Record{}, Record{}, refused{err}
			}
		}
		next := Record{Deleted: true, Nonce: id, Since: max(w.now().UnixNano(), old.rec.Since+1)}
		next.Updated = next.Since
		now, done, err := w.swap(ctx, old, next)
		if err != nil {
			return Record{}, Record{}, err
		}
		if done {
			return *old.live(), now.rec, nil
		}
		old = now
		if err := pause(ctx, try); err != nil {
			return Record{}, Record{}, refused{err}
		}
	}
}

// Forget removes from history a record that was taken back: nobody was told of
// it, and its content is gone.
func (s *Store) Forget(ctx context.Context, sp kv.Space, scope, name string, rec Record) error {
	key := sp.Replaced(scope, name, rec.Since)
	past, err := s.load(ctx, key, kv.Consistent)
	if err == nil && past.version != "" && past.rec.Nonce == rec.Nonce && past.rec.Blob == rec.Blob {
		err = s.kv.DeleteIf(ctx, key, past.version)
	}
	if err != nil && !errors.Is(err, kv.ErrConflict) {
		return fmt.Errorf("forget record %s: %w", formats.Join(scope, name), err)
	}
	return nil
}

var errUpdate = errors.New("record: update takes a live record with its Since and the version that it was read at")

// Update writes a record that Get returned with nothing but its bookkeeping
// changed (Origin), without history. It fails with kv.ErrConflict if the stored
// version is another one by now.
func (s *Store) Update(ctx context.Context, sp kv.Space, scope, name string, version kv.Version, rec Record) (kv.Version, error) {
	if version == "" || rec.Since == 0 || rec.Deleted {
		return "", errUpdate
	}
	value, err := kv.Marshal(rec)
	if err != nil {
		return "", err
	}
	item := kv.Item{Key: sp.Record(scope, name), Value: value, Version: kv.NewVersion()}
	if err := s.kv.PutIf(ctx, item, version); err != nil {
		return "", fmt.Errorf("update record %s: %w", formats.Join(scope, name), err)
	}
	return item.Version, nil
}
