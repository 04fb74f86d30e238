package repo

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"granary/digest"
	"granary/formats"
	"granary/repo/record"
	"granary/repo/upstream"
)

// fetchPointed brings what a name stands for that the upstream may move: it
// asks by HEAD where the name points to, fetches that under its fixed name
// unless it is here, and writes the name's record with the same content. A
// name that moves between the two requests is met as it was.
func (c *cache) fetchPointed(ctx context.Context, f *fill, op formats.Op, old *copied, p formats.Pointer) (*formats.Content, error) {
	req, _, err := c.locate(ctx, op)
	if err != nil {
		return nil, err
	}
	resp, err := c.service.Upstream.Head(ctx, req)
	var refused *upstream.Error
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusMethodNotAllowed:
		return c.fetchUnnamed(ctx, f, op, old, p)
	case errors.Is(err, formats.ErrNotFound):
		return nil, c.forget(ctx, op, old, err)
	case err != nil:
		return nil, fmt.Errorf("%s of the upstream of %s: %w", op.Upstream(), c.repo.Name, err)
	}
	target, ok := p.Target(op, resp.Header, digest.Sums{})
	if !ok {
		return c.fetchUnnamed(ctx, f, op, old, p)
	}
	if err := c.judge(ctx, target); err != nil {
		return nil, err
	}
	if old != nil && !old.lost && old.record.Origin != nil && has(old.record.Sums, target.Sum) {
		return c.confirmCopy(ctx, op, old)
	}
	f.fetched = true
	pointed, err := c.find(ctx, target, false)
	if err != nil {
		// Not that there is no such name: that has been told.
		return nil, fmt.Errorf("%w: %s points to %s: %s", formats.ErrUpstream, op.Upstream(), target.Name, err.Error())
	}
	content, err := c.point(ctx, target, op, &record.Origin{Checked: c.service.Now().UnixNano(), URL: resp.URL})
	if errors.Is(err, formats.ErrNotFound) || errors.Is(err, ErrQuota) || errors.Is(err, formats.ErrCorrupt) {
		return named(pointed, op), nil // there was no room to keep it, or its bytes are still on their way
	}
	return content, err
}

// named is the content of what a name points to, under the name.
func named(pointed *formats.Content, op formats.Op) *formats.Content {
	content := *pointed
	content.Scope, content.Name, content.Fixed, content.Accessed = op.Scope, op.Name, op.Fixed, nil
	return &content
}

// has tells whether all digests of want are known and equal.
func has(sums, want digest.Sums) bool { return known(sums, want) && sums.Check(want) == nil }

// fetchUnnamed takes the content under the name that points, where the
// upstream does not say what it points to.
func (c *cache) fetchUnnamed(ctx context.Context, f *fill, op formats.Op, old *copied, p formats.Pointer) (*formats.Content, error) {
	content, err := c.fetchFile(ctx, f, op, old)
	if err != nil {
		return nil, err
	}
	if target, ok := p.Target(op, nil, content.Sums); ok {
		if err := c.judge(ctx, target); err != nil {
			return nil, err
		}
		_, err := c.point(ctx, op, target, &record.Origin{Checked: c.service.Now().UnixNano()})
		if err != nil && !errors.Is(err, formats.ErrNotFound) && !errors.Is(err, ErrQuota) {
			return nil, err
		}
	}
	return content, nil
}

// point makes the record of to one of the content that from has.
func (c *cache) point(ctx context.Context, from, to formats.Op, origin *record.Origin) (*formats.Content, error) {
	src, _, err := c.service.Records.Get(ctx, c.repo.space, from.Scope, from.Name, record.Latest)
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", c.repo.Name, from.Key(), err)
	}
	count, longer, err := c.growth(ctx, to.Scope, to.Name, src.Size, true)
	if err == nil {
		err = c.service.room(ctx, c.repo.Repository, count, longer)
	}
	if err != nil {
		return nil, err
	}
	now := c.service.Now().UnixNano()
	rec := record.Record{
		Type: src.Type, Size: src.Size, Sums: src.Sums, Inline: src.Inline, Created: now, Updated: now, Origin: origin,
	}
	confirm := func() error { return nil }
	if src.Blob != "" {
		held, err := c.service.Refs.Use(ctx, src.Store, src.Sums.BLAKE3)
		if err != nil {
			return nil, fmt.Errorf("use the bytes of %s/%s: %w", c.repo.Name, from.Key(), err)
		}
		rec.Store, rec.Blob = src.Store, held.Blob
		confirm = func() error { return c.service.Refs.Confirm(ctx, held) }
	}
	return c.storeCopy(ctx, to, rec, confirm)
}
