package repo

import (
	"bytes"
	"context"
	"errors"

	"granary/formats"
	"granary/repo/record"
)

var errOvertaken = errors.New("repo: the promotion was ended by another worker")

// put writes a record as the format and the target's conflict policy would have
// an upload do.
func (m *promoting) put(ctx context.Context, n record.Named, rec record.Record, t *tx) (record.Outcome, error) {
	joined := joining(t.repo.format, n, rec)
	next, err := joined(nil)
	if err != nil {
		return record.Outcome{}, err
	}
	for {
		rec.Meta = next
		out, err := m.Records.Put(ctx, m.sp, n.Scope, n.Name, rec, func(old *record.Record) (record.Verdict, error) {
			if next, err = joined(old); err != nil {
				return record.Refuse, err
			}
			if !bytes.Equal(next, rec.Meta) {
				return record.Refuse, errOtherwise
			}
			verdict, err := t.conflict(t.repo.Name+"/"+formats.Join(n.Scope, n.Name), put{rec: formats.Record{Move: rec.Move}}, rec, old)
			if err != nil || verdict != record.Replace {
				return verdict, err
			}
			// Once the commit is made or refused nothing may be added to it: this is a
			// worker that has been overtaken.
			if over, err := m.Records.Decided(ctx, m.sp, m.ID); err != nil || over {
				return record.Refuse, errors.Join(err, errOvertaken)
			}
			return verdict, nil
		})
		if !errors.Is(err, errOtherwise) {
			return out, err
		}
	}
}

// joining returns what tells the Meta that a record has in the target, by what
// is there.
func joining(f formats.Format, n record.Named, rec record.Record) func(old *record.Record) ([]byte, error) {
	j, ok := f.(formats.Joiner)
	if !ok {
		return func(*record.Record) ([]byte, error) { return rec.Meta, nil }
	}
	public := rec.Public(n.Scope, n.Name)
	return func(old *record.Record) ([]byte, error) {
		var was *formats.Record
		if old != nil {
			is := old.Public(n.Scope, n.Name)
			was = &is
		}
		out, err := j.Join(public, was)
		return out.Meta, err
	}
}

var errOtherwise = errors.New("repo: the record has to be another one beside what is there")
