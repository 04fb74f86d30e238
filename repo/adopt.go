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

// Adopt takes a file of another member of the group into the repository that
// is written to, by one more use of its content.
func (t *tx) Adopt(ctx context.Context, op formats.Op) error {
	missing := fmt.Errorf("%s: %w", op.Key(), formats.ErrNotFound)
	if t.group == nil {
		return missing
	}
	c, err := t.group.find(ctx, op, false)
	if err == nil && len(c.Sums.BLAKE3) == 0 {
		c, err = t.arrived(ctx, op, c)
	}
	if err != nil {
		return err
	}
	kept := &content{size: c.Size, sums: c.Sums, inline: c.Inline}
	if c.BlobID != "" {
		kept.store = t.repo.Store
		// The members may keep their bytes in different stores.
		_, err := t.service.Refs.Resolve(ctx, kept.store, c.Sums.BLAKE3)
		if errors.Is(err, refs.ErrNotFound) || errors.Is(err, refs.ErrLost) {
			return missing
		}
		if err != nil {
			return fmt.Errorf("look for the content of %s: %w", op.Key(), err)
		}
	}
	t.adopted = append(t.adopted, put{
		rec:  formats.Record{Scope: op.Scope, Name: op.Name, Type: c.Type, Meta: c.Meta, Move: c.Move},
		kept: kept,
	})
	return nil
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
