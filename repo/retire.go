package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"granary/formats"
	"granary/kv"
	"granary/repo/record"
)

// A record that others point at, such as an image's manifest, is removed with
// them, while an upload may put another one that points at it. Neither can do
// its writes at once, so that the removal
//
//  1. marks the record: it is there still, but leaving;
//  2. reads which others point at it, and makes sure that the mark is there still;
//  3. deletes those, if they are what it read, then the record, if it has the
//     mark still;
//
// and the upload
//
//  1. writes the record, if it is not there or has a mark;
//  2. writes what points at it, also where that is there already;
//  3. makes sure that the record is there, and has no mark, or begins again.
//
// If an upload found a record without a mark in the end, then either no removal
// had begun, and one that does reads what the upload wrote before; or the record
// was written after the removal set its mark, which therefore leaves it. What the
// upload wrote before the removal read it was written again after it. So nothing that
// was acknowledged is without what it points at, or gone, and a crash of either
// between any two writes changes nothing of that: it may leave a mark, which the
// next upload takes away and the next removal takes up.

// retired is the record that a removal has marked, with what was read since.
type retired struct {
	scope, name string
	mark        uint64
	seen        map[string]uint64 // nonces by key
}

// maxAgain is how often a removal or an upload begins again since others got in
// its way, each time by a write that succeeded.
const maxAgain = 20

func (t *tx) Retire(ctx context.Context, scope, name string) (formats.Record, error) {
	if t.looks || t.gone != nil {
		if t.gone != nil {
			t.retired = &retired{scope: scope, name: name, seen: map[string]uint64{}}
		}
		return t.Record(ctx, scope, name)
	}
	rec, err := t.service.Records.Retire(ctx, t.repo.space, scope, name)
	if err != nil {
		return formats.Record{}, fmt.Errorf("delete %s/%s: %w", t.repo.Name, formats.Join(scope, name), err)
	}
	if rec.Leaving != 0 {
		t.retired = &retired{scope, name, rec.Leaving, map[string]uint64{}}
	}
	return rec.Public(scope, name), nil
}

// saw remembers what was read of a record that may point at the retired one.
func (t *tx) saw(scope, name string, rec record.Record) {
	if t.retired != nil {
		t.retired.seen[formats.Join(scope, name)] = rec.Nonce
	}
}

// stays returns errNewer if an upload has taken the mark away.
func (t *tx) stays(ctx context.Context) error {
	r := t.retired
	if r == nil {
		return nil
	}
	rec, _, err := t.service.Records.Get(ctx, t.repo.space, r.scope, r.name, record.Latest)
	if errors.Is(err, formats.ErrNotFound) {
		return nil // another removal with the same mark
	}
	if err == nil && rec.Leaving != r.mark {
		return errNewer
	}
	return err
}

// check returns errNewer for a record that is not what was read.
func (r *retired) check(op formats.Op, now record.Record) error {
	if r == nil {
		return nil
	}
	if r.mark != 0 && op.Scope == r.scope && op.Name == r.name {
		if now.Leaving != r.mark {
			return errNewer
		}
		return nil
	}
	if n, ok := r.seen[op.Key()]; ok && n != now.Nonce {
		return errNewer
	}
	return nil
}

// whole sees to it that what was published points at something, also after a
// removal that was under way.
func (t *tx) whole(ctx context.Context) error {
	for try := 0; ; try++ {
		gone, err := t.dangling(ctx)
		if err != nil || len(gone) == 0 {
			return err
		}
		if try == maxAgain {
			return fmt.Errorf("%w: %s/%s is removed again and again", kv.ErrConflict, t.repo.Name, gone[0])
		}
		for _, p := range t.published() {
			if !slices.Contains(gone, p.rec.Key()) && !slices.Contains(gone, p.rec.Points) {
				continue
			}
			t.done.forget(p.rec.Key())
			if _, err := t.publish(ctx, p, false); err != nil {
				return t.explain(err)
			}
		}
	}
}

func (t *tx) published() []put { return slices.Concat(t.adopted, t.puts) }

// dangling returns the keys of what the upload points at and that is not there,
// or is leaving.
func (t *tx) dangling(ctx context.Context) ([]string, error) {
	needed := map[string]bool{}
	for _, p := range t.puts {
		if p.rec.Points != "" {
			needed[p.rec.Points] = true
		}
	}
	if len(needed) == 0 {
		return nil, nil
	}
	var gone []string
	for _, p := range t.published() {
		if !needed[p.rec.Key()] {
			continue
		}
		rec, _, err := t.service.Records.Get(ctx, t.repo.space, p.rec.Scope, p.rec.Name, record.Latest)
		switch {
		case errors.Is(err, formats.ErrNotFound) || err == nil && rec.Leaving != 0:
			gone = append(gone, p.rec.Key())
		case err != nil:
			return nil, fmt.Errorf("%s/%s: %w", t.repo.Name, p.rec.Key(), err)
		}
	}
	return gone, nil
}
