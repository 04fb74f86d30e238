package check_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"granary/blob"
	"granary/blob/check"
	"granary/blob/mem"
)

// broken wraps a good store; a test replaces what shall be wrong.
type broken struct {
	blob.Store
	create func(context.Context, blob.ID, int64) (blob.Writer, error)
	open   func(context.Context, blob.ID, int64, int64) (io.ReadCloser, error)
	stat   func(context.Context, blob.ID) (blob.Info, error)
	delete func(context.Context, blob.ID) error
	list   func(context.Context, string) iter.Seq2[blob.Info, error]
}

func (b *broken) Create(ctx context.Context, id blob.ID, size int64) (blob.Writer, error) {
	if b.create != nil {
		return b.create(ctx, id, size)
	}
	return b.Store.Create(ctx, id, size)
}

func (b *broken) Open(ctx context.Context, id blob.ID, off, n int64) (io.ReadCloser, error) {
	if b.open != nil {
		return b.open(ctx, id, off, n)
	}
	return b.Store.Open(ctx, id, off, n)
}

func (b *broken) Stat(ctx context.Context, id blob.ID) (blob.Info, error) {
	if b.stat != nil {
		return b.stat(ctx, id)
	}
	return b.Store.Stat(ctx, id)
}

func (b *broken) Delete(ctx context.Context, id blob.ID) error {
	if b.delete != nil {
		return b.delete(ctx, id)
	}
	return b.Store.Delete(ctx, id)
}

func (b *broken) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	if b.list != nil {
		return b.list(ctx, prefix)
	}
	return b.Store.List(ctx, prefix)
}

// eager commits at the first write, and again.
type eager struct {
	blob.Writer
	s  blob.Store
	id blob.ID
}

func (w *eager) Write(p []byte) (int, error) {
	x, err := w.s.Create(context.Background(), w.id, -1)
	if err == nil {
		x.Write(p)
		err = x.Commit(context.Background())
	}
	if err != nil && !errors.Is(err, blob.ErrExists) {
		return 0, err
	}
	return w.Writer.Write(p)
}

// Each way of being wrong is found, under the name of the property that it
// breaks, and a good store passes.
func TestCheckFinds(t *testing.T) {
	for _, c := range []struct {
		name   string
		breaks string // "" for nothing
		do     func(b *broken)
	}{
		{"good", "", func(*broken) {}},
		{"no ranges", "ranges", func(b *broken) {
			b.open = func(ctx context.Context, id blob.ID, _, _ int64) (io.ReadCloser, error) {
				return b.Store.Open(ctx, id, 0, -1)
			}
		}},
		{"missing is empty", "missing", func(b *broken) {
			b.open = func(ctx context.Context, id blob.ID, off, n int64) (io.ReadCloser, error) {
				r, err := b.Store.Open(ctx, id, off, n)
				if errors.Is(err, blob.ErrNotFound) {
					return io.NopCloser(strings.NewReader("")), nil
				}
				return r, err
			}
		}},
		{"wrong size", "read as it was written", func(b *broken) {
			b.stat = func(ctx context.Context, id blob.ID) (blob.Info, error) {
				i, err := b.Store.Stat(ctx, id)
				i.Size++
				return i, err
			}
		}},
		{"visible early", "before commit", func(b *broken) {
			b.create = func(ctx context.Context, id blob.ID, size int64) (blob.Writer, error) {
				w, err := b.Store.Create(ctx, id, size)
				return &eager{w, b.Store, id}, err
			}
		}},
		{"no list", "lists", func(b *broken) {
			b.list = func(context.Context, string) iter.Seq2[blob.Info, error] {
				return func(func(blob.Info, error) bool) {}
			}
		}},
		{"no prefixes", "lists", func(b *broken) {
			b.list = func(ctx context.Context, _ string) iter.Seq2[blob.Info, error] { return b.Store.List(ctx, "") }
		}},
		{"no delete", "delete", func(b *broken) {
			b.delete = func(context.Context, blob.ID) error { return nil }
		}},
		{"no delete, second", "leaves nothing", func(b *broken) {
			b.delete = func(context.Context, blob.ID) error { return nil }
		}},
		{"delete of the missing fails", "missing", func(b *broken) {
			b.delete = func(ctx context.Context, id blob.ID) error {
				if _, err := b.Store.Stat(ctx, id); err != nil {
					return err
				}
				return b.Store.Delete(ctx, id)
			}
		}},
		{"any length", "wrong length", func(b *broken) {
			b.create = func(ctx context.Context, id blob.ID, _ int64) (blob.Writer, error) {
				return b.Store.Create(ctx, id, -1)
			}
		}},
		{"away", "read as it was written", func(b *broken) {
			b.create = func(context.Context, blob.ID, int64) (blob.Writer, error) { return nil, blob.ErrUnavailable }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := &broken{Store: mem.New(mem.Config{})}
			c.do(b)
			results := check.Run(t.Context(), b)
			found := slices.ContainsFunc(results, func(r check.Result) bool {
				return r.Err != nil && !r.Advisory && strings.Contains(r.Property, c.breaks)
			})
			if found != (c.breaks != "") || (check.Err(results) != nil) != found {
				t.Errorf("found %v, error %v, in %+v", found, check.Err(results), results)
			}
		})
	}
}

// A store that overwrites, or whose clock is off, is usable: advice, no error.
func TestAdvice(t *testing.T) {
	off := mem.New(mem.Config{Now: func() time.Time { return time.Now().Add(time.Hour) }})
	over := &broken{Store: mem.New(mem.Config{})}
	over.create = func(ctx context.Context, id blob.ID, size int64) (blob.Writer, error) {
		if err := over.Store.Delete(ctx, id); err != nil {
			return nil, err
		}
		return over.Store.Create(ctx, id, size)
	}
	for name, s := range map[string]blob.Store{"clock": off, "created once": over} {
		results := check.Run(t.Context(), s)
		var advice []string
		for _, r := range results {
			if r.Err != nil {
				advice = append(advice, r.Property)
			}
		}
		if err := check.Err(results); err != nil || len(advice) != 1 || !strings.Contains(advice[0], name) {
			t.Errorf("advice %q, error %v, want one about %q", advice, err, name)
		}
	}
}

// A check leaves nothing, even one that is cancelled or fails half-way.
func TestLeavesNothing(t *testing.T) {
	for _, after := range []int64{1, 5, 10, 20, 1 << 20} {
		ctx, cancel := context.WithCancel(t.Context())
		var commits atomic.Int64 // the check writes from several goroutines
		s := mem.New(mem.Config{Report: t.Errorf, Before: func(_ context.Context, c mem.Call, _ blob.ID) error {
			if c == mem.Commit && commits.Add(1) >= after {
				cancel()
			}
			return nil
		}})
		err := check.Err(check.Run(ctx, s))
		if (err == nil) != (after == 1<<20) {
			t.Errorf("cancelled at commit %d: %v", after, err)
		}
		for info := range s.List(t.Context(), "") {
			t.Errorf("cancelled at commit %d: %s is left", after, info.ID)
		}
		s.Check()
		cancel()
	}
}
