package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"granary/formats"
	"granary/repo/config"
	"granary/repo/record"
)

// conflict decides what becomes of a record that is already there.
func (t *tx) conflict(where string, p put, rec record.Record, old *record.Record) (record.Verdict, error) {
	if old == nil {
		return record.Replace, nil
	}
	same := bytes.Equal(old.Sums.BLAKE3, rec.Sums.BLAKE3) && old.Size == rec.Size
	unchanged := same && old.Type == rec.Type && bytes.Equal(old.Meta, rec.Meta) && old.Path == rec.Path && p.rec.Points == "" && old.Leaving == 0
	policy := t.repo.Conflicts()
	switch {
	case t.moves(p) || policy == config.Allow:
		if unchanged {
			return record.Same, nil
		}
		return record.Replace, nil
	case policy == config.AllowIdentical && same:
		return record.Same, nil
	}
	if same {
		return record.Refuse, fmt.Errorf("%s: %w", where, errSame)
	}
	return record.Refuse, fmt.Errorf("%s: %w", where, formats.ErrExists)
}

// errSame is ErrExists where it is the same content that exists.
var errSame = fmt.Errorf("%w, or rather the same", formats.ErrExists)

// moves tells whether the put may replace other bytes whatever the policy says
// of others.
func (t *tx) moves(p put) bool {
	return p.rec.Move || p.may != nil || p.rec.Force && t.repo.Conflicts() != config.Deny
}

// allowed asks the format's own condition.
func (p put) allowed(old *record.Record) error {
	if old == nil {
		return p.may(nil)
	}
	was := old.Public(p.rec.Scope, p.rec.Name)
	return p.may(&was)
}

// adds tells whether one of these is of what is not there yet: a file that is
// there is to be listed somewhere else, or a crash took what lists it.
func (t *tx) adds(ctx context.Context, puts []put) (bool, error) {
	for _, p := range puts {
		_, _, err := t.service.Records.Get(ctx, t.repo.space, p.rec.Scope, p.rec.Name, record.Latest)
		if errors.Is(err, formats.ErrNotFound) {
			return true, nil
		}
		if err != nil {
			return false, fmt.Errorf("look up %s/%s: %w", t.repo.Name, p.rec.Key(), err)
		}
	}
	return false, nil
}
