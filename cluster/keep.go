package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Keep runs work while it renews the lease, and returns work's error. The
// context that work gets ends when the lease is lost.
func (l *Lease) Keep(ctx context.Context, work func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var renewing sync.WaitGroup
	renewing.Go(func() { cancel(l.renewals(ctx)) })
	err := work(ctx)
	cause := context.Cause(ctx)
	cancel(nil)
	renewing.Wait()
	if err != nil && errors.Is(cause, ErrLost) {
		return fmt.Errorf("%w: %w", cause, err)
	}
	return err
}

// renewals renews the lease until ctx ends or it is lost, and says which.
func (l *Lease) renewals(ctx context.Context) error {
	every := max(l.ttl/3, time.Millisecond)
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.lost:
			return fmt.Errorf("lease %s: %w", l.name, ErrLost)
		case <-ticker.C:
		}
		once, cancel := context.WithTimeout(ctx, every)
		err := l.Renew(once)
		cancel()
		if errors.Is(err, ErrLost) {
			return err
		}
		if err := l.Err(); err != nil && ctx.Err() == nil {
			return err
		}
	}
}

// Lease acquires a lease and keeps it until release is called, which waits
// until it is released. It is for work that needs neither its epoch nor to
// know of its loss.
func (n *Node) Lease(ctx context.Context, name string, ttl time.Duration) (release func(), err error) {
	l, err := n.Acquire(ctx, name, ttl)
	if err != nil {
		return nil, err
	}
	// The lease outlives the call, until release or Close.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var renewing sync.WaitGroup
	renewing.Go(func() { l.renewals(ctx) }) //nolint:errcheck // a loss is not told
	return func() {
		cancel()
		renewing.Wait()
		last, done := context.WithTimeout(context.WithoutCancel(ctx), ttl)
		defer done()
		if err := l.Release(last); err != nil {
			n.c.Log.WarnContext(last, "could not release a lease; it ends by itself", "lease", name, "error", err)
		}
	}, nil
}
