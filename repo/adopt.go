package repo

import (
	"context"
	"errors"
	"fmt"
	"io"

	"granary/formats"
	"granary/repo/refs"
)

var _ formats.Adopter = (*tx)(nil)

// Find looks through the group's members, and waits for what a cache is just
// fetching.
func (t *tx) Find(ctx context.Context, op formats.Op) (*formats.Content, error) {
	if t.group == nil {
		return nil, fmt.Errorf("%s: %w", op.Key(), formats.ErrNotFound)
	}
	c, err := t.group.find(ctx, op, false)
	if err == nil && len(c.Sums.BLAKE3) == 0 {
		c, err = t.arrived(ctx, op, c)
	}
	return c, err
}

// Adopt takes a file of another member of the group into the repository that
// is written to, by one more use of its content. The members may keep their
// bytes in different stores: then they are copied.
func (t *tx) Adopt(ctx context.Context, rec formats.Record, c *formats.Content) error {
	p := put{rec: rec, kept: &content{size: c.Size, sums: c.Sums, inline: c.Inline}}
	if c.BlobID != "" {
		p.kept.store = t.repo.Store
		_, err := t.service.Refs.Resolve(ctx, p.kept.store, c.Sums.BLAKE3)
		if errors.Is(err, refs.ErrNotFound) || errors.Is(err, refs.ErrLost) {
			p.kept = nil
			p.blob, err = t.copied(ctx, c)
		}
		if err != nil {
			return fmt.Errorf("take the content of %s: %w", rec.Key(), err)
		}
	}
	t.adopted = append(t.adopted, p)
	return nil
}

// copied stages the bytes of a file of another store.
func (t *tx) copied(ctx context.Context, c *formats.Content) (*upload, error) {
	r, err := c.Open(ctx, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // only read
	if _, err := t.Blob(ctx, r, c.Sums.Algorithms()...); err != nil {
		return nil, err
	}
	b := t.blobs[len(t.blobs)-1]
	if err := b.Sums().Check(c.Sums); err != nil {
		return nil, fmt.Errorf("%w: %w", formats.ErrCorrupt, err)
	}
	return b, nil
}

// arrived waits for a file that a cache is just fetching.
func (t *tx) arrived(ctx context.Context, op formats.Op, c *formats.Content) (*formats.Content, error) {
	r, err := c.Open(ctx, 0, -1)
	if err == nil {
		_, err = io.Copy(io.Discard, r)
		err = errors.Join(err, r.Close())
	}
	if err != nil {
		return nil, fmt.Errorf("fetch %s: %w", op.Key(), err)
	}
	c, err = t.group.find(ctx, op, true)
	if err == nil && len(c.Sums.BLAKE3) == 0 {
		err = fmt.Errorf("%s is being fetched again: %w", op.Key(), formats.ErrBusy)
	}
	return c, err
}
