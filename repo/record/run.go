package record

import (
	"context"
	"errors"
	"time"
)

const (
	flushEvery   = time.Second
	flushTimeout = 10 * time.Second
)

// Stats are what this process has dropped because its memory is bounded.
type Stats struct {
	CountsDropped   int64 // changes of counters
	AccessesDropped int64 // last accesses
}

// Observer is told how much is written in the background at once.
type Observer interface {
	// CountsWritten is told how many counters of directories and repositories
	// were written together.
	CountsWritten(n int)
	// AccessesWritten is told how many last accesses were.
	AccessesWritten(n int)
}

type unobserved struct{}

func (unobserved) CountsWritten(int)   {}
func (unobserved) AccessesWritten(int) {}

// Stats returns the numbers since the start.
func (s *Store) Stats() Stats {
	return Stats{s.counts.dropped.Load(), s.accesses.dropped.Load()}
}

// Run writes counters every second and last accesses within five, until ctx
// ends. What fails is logged and tried again. [Store.Close] writes the rest.
func (s *Store) Run(ctx context.Context) {
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	accessed := time.Now()
	for {
		all := false
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.counts.full:
		case <-s.accesses.full:
			all = true
		}
		s.inBackground(ctx, "write counters", s.counts.flush)
		if all || time.Since(accessed) >= accessFlush {
			accessed = time.Now()
			s.inBackground(ctx, "write last accesses", s.accesses.flush)
		}
	}
}

// inBackground does not die with ctx, so that no write is left half known.
func (s *Store) inBackground(ctx context.Context, what string, f func(context.Context) error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushTimeout)
	defer cancel()
	if err := f(ctx); err != nil {
		s.log.WarnContext(ctx, what, "error", err)
	}
}

// Flush writes the counters and last accesses that wait.
func (s *Store) Flush(ctx context.Context) error {
	return errors.Join(s.counts.flush(ctx), s.accesses.flush(ctx))
}

// Close writes what waits, after Run has ended and the last request was
// answered.
func (s *Store) Close(ctx context.Context) error { return s.Flush(ctx) }
