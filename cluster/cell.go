package cluster

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"granary/kv"
)

// errLost says that somebody else has written to a cell.
var errLost = errors.New("cluster: written by somebody else")

// cell is an item that one writer keeps by compare-and-swap. It is not used
// concurrently.
type cell struct {
	store   kv.Store
	key     kv.Key
	version kv.Version // as last known to be stored, "": none
	// pending was sent and may be stored. It is sent again before anything
	// else is, so that there is at most one; the version found tells who won.
	pending *kv.Item
}

// write replaces the value, or returns errLost.
func (c *cell) write(ctx context.Context, value any, expires time.Time) error {
	data, err := kv.Marshal(value)
	if err != nil {
		return fmt.Errorf("write %v: %w", c.key, err)
	}
	if c.pending != nil {
		if err := c.settle(ctx); err != nil {
			return err
		}
	}
	c.pending = &kv.Item{Key: c.key, Value: data, Version: kv.NewVersion(), Expires: expires}
	return c.settle(ctx)
}

// settle sends the pending write until its outcome is known or ctx ends.
func (c *cell) settle(ctx context.Context) error {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		err := c.store.PutIf(ctx, *c.pending, c.version)
		switch {
		case err == nil:
			c.version, c.pending = c.pending.Version, nil
			return nil
		case errors.Is(err, kv.ErrConflict):
			c.pending = nil
			return fmt.Errorf("write %v: %w: %w", c.key, errLost, err)
		case !errors.Is(err, kv.ErrUnknown) || !sleep(ctx, rand.N(2*wait)):
			return fmt.Errorf("write %v: %w", c.key, err)
		}
	}
}

// remove deletes the item if it is still the cell's.
func (c *cell) remove(ctx context.Context) error {
	if c.pending != nil {
		if err := c.settle(ctx); err != nil {
			return err
		}
	}
	if c.version == "" {
		return nil
	}
	err := c.store.DeleteIf(ctx, c.key, c.version)
	if err != nil && !errors.Is(err, kv.ErrConflict) {
		return fmt.Errorf("remove %v: %w", c.key, err)
	}
	return nil
}

// sleep waits; false if ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
