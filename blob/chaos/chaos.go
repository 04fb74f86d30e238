// Package chaos makes a blob store as bad as the network can make it: calls
// fail before they have an effect, or after (the reply is lost), take their
// time, and reads break off. What it does is decided by a seed and the order of
// calls. It never breaks the contract: what it answers without an error is true.
package chaos

import (
	"context"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"granary/blob"
)

// Config says how bad it gets. Chances are between 0 and 1.
type Config struct {
	Seed uint64
	// Before is the chance that a call fails without an effect.
	Before float64
	// After is the chance that a call has its effect and fails all the same.
	After float64
	// Cut is the chance that a piece of a read breaks off.
	Cut float64
	// MaxDelay is the longest that a call waits before its effect; the wait is
	// evenly spread.
	MaxDelay time.Duration
	// Sleep waits, or returns ctx's error. Nil uses a timer.
	Sleep func(ctx context.Context, d time.Duration) error
}

// Store wraps another store.
type Store struct {
	inner blob.Store
	cfg   Config

	mu    sync.Mutex // guards what follows
	rng   *rand.Rand
	quiet bool
	fails int
}

var _ blob.Store = (*Store)(nil)

// Wrap returns a store that does what inner does, sometimes.
func Wrap(inner blob.Store, cfg Config) *Store {
	if cfg.Sleep == nil {
		cfg.Sleep = sleep
	}
	return &Store{inner: inner, cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, 0))} //nolint:gosec // repeatable, on purpose
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Quiet stops the chaos, or lets it go on.
func (s *Store) Quiet(quiet bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quiet = quiet
}

// Failures returns how many calls were made to fail.
func (s *Store) Failures() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fails
}

// hit tells whether something of the given chance happens now.
func (s *Store) hit(chance float64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quiet || chance <= 0 || s.rng.Float64() >= chance {
		return false
	}
	s.fails++
	return true
}

func (s *Store) delay() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quiet || s.cfg.MaxDelay <= 0 {
		return 0
	}
	return time.Duration(s.rng.Int64N(int64(s.cfg.MaxDelay) + 1))
}

// before waits, and perhaps fails a call that has had no effect.
func (s *Store) before(ctx context.Context, call string) error {
	if d := s.delay(); d > 0 {
		if err := s.cfg.Sleep(ctx, d); err != nil {
			return fmt.Errorf("chaos: %s: %w", call, err)
		}
	}
	if s.hit(s.cfg.Before) {
		return fmt.Errorf("chaos: %s did not arrive: %w", call, blob.ErrUnavailable)
	}
	return nil
}

// after perhaps loses the reply of a call that succeeded.
func (s *Store) after(call string, err error) error {
	if err == nil && s.hit(s.cfg.After) {
		return fmt.Errorf("chaos: the reply of %s is lost: %w", call, blob.ErrUnavailable)
	}
	return err
}

// Create implements [blob.Store].
func (s *Store) Create(ctx context.Context, id blob.ID, size int64) (blob.Writer, error) {
	if err := s.before(ctx, "create"); err != nil {
		return nil, err
	}
	w, err := s.inner.Create(ctx, id, size)
	if err != nil {
		return nil, err
	}
	return &writer{s: s, ctx: ctx, inner: w}, nil
}

// Open implements [blob.Store].
func (s *Store) Open(ctx context.Context, id blob.ID, offset, length int64) (io.ReadCloser, error) {
	if err := s.before(ctx, "open"); err != nil {
		return nil, err
	}
	r, err := s.inner.Open(ctx, id, offset, length)
	if err != nil {
		return nil, err
	}
	return &reader{s: s, inner: r}, nil
}

// Stat implements [blob.Store].
func (s *Store) Stat(ctx context.Context, id blob.ID) (blob.Info, error) {
	if err := s.before(ctx, "stat"); err != nil {
		return blob.Info{}, err
	}
	info, err := s.inner.Stat(ctx, id)
	if err = s.after("stat", err); err != nil {
		return blob.Info{}, err
	}
	return info, nil
}

// Delete implements [blob.Store].
func (s *Store) Delete(ctx context.Context, id blob.ID) error {
	if err := s.before(ctx, "delete"); err != nil {
		return err
	}
	return s.after("delete", s.inner.Delete(ctx, id))
}

// List implements [blob.Store]. It may break off anywhere.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		if err := s.before(ctx, "list"); err != nil {
			yield(blob.Info{}, err)
			return
		}
		for info, err := range s.inner.List(ctx, prefix) {
			if err == nil && s.hit(s.cfg.Cut) {
				yield(blob.Info{}, fmt.Errorf("chaos: the list broke off: %w", blob.ErrUnavailable))
				return
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

type writer struct {
	s     *Store
	ctx   context.Context //nolint:containedctx // of Create: Write has none of its own
	inner blob.Writer
}

func (w *writer) Write(p []byte) (int, error) {
	if err := w.s.before(w.ctx, "write"); err != nil {
		return 0, err
	}
	return w.inner.Write(p)
}

func (w *writer) Commit(ctx context.Context) error {
	if err := w.s.before(ctx, "commit"); err != nil {
		return err
	}
	return w.s.after("commit", w.inner.Commit(ctx))
}

// Abort always reaches the store, which is the one that cleans up.
func (w *writer) Abort(ctx context.Context) error {
	return w.s.after("abort", w.inner.Abort(ctx))
}

type reader struct {
	s     *Store
	inner io.ReadCloser
}

func (r *reader) Read(p []byte) (int, error) {
	if r.s.hit(r.s.cfg.Cut) {
		return 0, fmt.Errorf("chaos: the read broke off: %w", blob.ErrUnavailable)
	}
	return r.inner.Read(p)
}

func (r *reader) Close() error { return r.inner.Close() }
