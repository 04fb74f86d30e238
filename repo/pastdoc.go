package repo

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"

	"granary/digest"
	"granary/formats"
	"granary/kv"
	"granary/repo/record"
)

// Upstream documents have a history as records have, so that a cache can be
// read as it was, index documents included. It lies beside that of records and
// has their form, so that whoever goes through history need not tell them
// apart.

// since is the time from which on the document was known.
func (d *document) since() int64 {
	if d.Since != 0 {
		return d.Since
	}
	return d.Checked
}

// same tells whether the upstream's answer is the one before.
func (d *document) same(o *document) bool {
	return d.missing() == o.missing() && (d.missing() || string(d.Sums.BLAKE3) == string(o.Sums.BLAKE3))
}

// keepDocument completes d as the successor of old, nil for none, which goes to
// history if d is another. Every racer writes the same under the same key.
func (c *cache) keepDocument(ctx context.Context, scope, path string, old, d *document) error {
	now := c.service.Now().UnixNano()
	switch {
	case old == nil:
		d.Since = now
		return nil
	case d.same(old):
		d.Since, d.Replaced = old.since(), old.Replaced
		return nil
	}
	d.Since = max(now, old.since()+1)
	d.Replaced = d.missing()
	if old.missing() && !old.Replaced {
		return nil // there was nothing before it either
	}
	value, err := kv.Marshal(old.record(path))
	if err != nil {
		return err
	}
	key := c.repo.space.Replaced(scope, kv.ReplacedDocument(path), old.since())
	err = c.service.KV.PutIf(ctx, kv.Item{Key: key, Value: value, Version: kv.NewVersion()}, "")
	if errors.Is(err, kv.ErrConflict) {
		return nil
	}
	return err
}

// record is the document as history has it.
func (d *document) record(path string) record.Record {
	r := record.Record{Since: d.since(), Deleted: d.missing(), Path: path}
	if r.Deleted {
		return r
	}
	r.Size, r.Sums, r.Inline, r.Store, r.Blob = d.Size, d.Sums, d.Inline, d.Store, d.Blob
	r.Origin = &record.Origin{ETag: d.ETag, LastModified: d.LastModified, Checked: d.Checked, URL: d.URL}
	return r
}

func documentOf(r record.Record) *document {
	d := &document{Status: http.StatusOK, Since: r.Since, Size: r.Size, Sums: r.Sums, Inline: r.Inline, Store: r.Store, Blob: r.Blob}
	if r.Deleted {
		d.Status = http.StatusNotFound
	}
	if o := r.Origin; o != nil {
		d.ETag, d.LastModified, d.Checked, d.URL = o.ETag, o.LastModified, o.Checked, o.URL
	}
	return d
}

// pastDocument returns an upstream's document as this cache had it at the
// view's time; with sum, the one that has it, whenever that was. The upstream
// is not asked.
func (c *cache) pastDocument(ctx context.Context, scope, path string, sum digest.Sums) (*document, error) {
	if c.repo.refuses(path) {
		return nil, fmt.Errorf("%s/%s: %w", c.repo.Name, path, formats.ErrBlocked)
	}
	at := c.moment.at.UnixNano()
	fits := func(d *document) bool {
		if sum.IsZero() {
			return d.since() <= at
		}
		return !d.missing() && d.Sums.Check(sum) == nil
	}
	now, _, err := c.service.documentTable().Get(ctx, c.repo.space.Document(scope, path), kv.Consistent)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return nil, fmt.Errorf("read document %s/%s: %w", c.repo.Name, path, err)
	}
	if err == nil && fits(&now) {
		return now.result(path)
	}
	until := at
	if !sum.IsZero() {
		until = math.MaxInt64
	}
	from, to := c.repo.space.ReplacedRange(scope, kv.ReplacedDocument(path), until)
	partition := c.repo.space.History(c.repo.space.Shard(scope))
	for item, err := range c.service.KV.Query(ctx, partition, from, to, kv.Consistent, kv.Reverse) {
		if err != nil {
			return nil, fmt.Errorf("read the history of document %s/%s: %w", c.repo.Name, path, err)
		}
		if len(item.Sort) != len(from)+16 {
			continue // of a path that begins with this one
		}
		r, err := record.Decode(item)
		if err != nil {
			return nil, err
		}
		if d := documentOf(r); fits(d) {
			return d.result(path)
		}
	}
	return nil, fmt.Errorf("document %s/%s as of %s: %w", c.repo.Name, path, c.moment.at, formats.ErrNotFound)
}
