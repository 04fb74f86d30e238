package repo

import (
	"bytes"
	"context"
	"fmt"

	"granary/digest"
	"granary/repo/record"
	"granary/repo/refs"
)

// content is bytes that are stored already, to be named by one more record.
type content struct {
	size   int64
	sums   digest.Sums
	inline []byte
	store  string // id; "" if inline
	fresh  bool   // the upload brought it: it was not known before
}

// use makes the stored form of a record of such bytes: a use of their
// reference.
func (t *tx) use(ctx context.Context, rec record.Record, p put) (record.Record, *refs.Held, error) {
	rec.Size, rec.Sums = p.kept.size, p.kept.sums
	if p.kept.store == "" {
		rec.Inline = bytes.Clone(p.kept.inline)
		return rec, nil, nil
	}
	held, err := t.service.Refs.Use(ctx, p.kept.store, p.kept.sums.BLAKE3)
	if err != nil {
		return rec, nil, fmt.Errorf("use the bytes of %s/%s: %w", t.repo.Name, p.rec.Key(), err)
	}
	rec.Store, rec.Blob = p.kept.store, held.Blob
	return rec, &held, nil
}
