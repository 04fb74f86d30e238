// Package mem is a blob store in memory: the reference for what a store does,
// a referee of how it is used, and a place for tests to inject faults.
//
// The referee reports use that the contract forbids but other stores may
// forgive: a writer used by two goroutines or after its end, a blob whose bytes
// were changed, and at [Store.Check] writers and readers that nobody ended.
package mem

import (
	"bytes"
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"granary/blob"
)

// Call names a method of a store or of its writers and readers.
type Call string

// The calls that hooks see.
const (
	Create Call = "create"
	Write  Call = "write"
	Commit Call = "commit"
	Abort  Call = "abort"
	Open   Call = "open"
	Read   Call = "read"
	Stat   Call = "stat"
	Delete Call = "delete"
	List   Call = "list"
)

// Config is what a store needs; the zero value works.
type Config struct {
	// Now is the store's clock; nil is time.Now.
	Now func() time.Time
	// Before is asked before a call has any effect; its error is returned
	// instead. id is empty for List.
	Before func(ctx context.Context, call Call, id blob.ID) error
	// After is asked when the call has had its effect; its error is returned, as
	// if the reply had been lost.
	After func(ctx context.Context, call Call, id blob.ID) error
	// Report gets the referee's findings: t.Errorf. Nil drops them.
	Report func(format string, args ...any)
	// Quota is how many bytes of committed blobs there may be; beyond, writes
	// fail with blob.ErrNoSpace. 0 is no limit.
	Quota int64
}

// Store is a blob store in memory.
type Store struct {
	cfg Config

	mu    sync.Mutex // guards what follows
	blobs map[blob.ID]object
	open  map[blob.ID]int // writers and readers that are not ended
	used  int64
	calls map[Call]int
}

type object struct {
	data     []byte
	crc      uint32
	modified time.Time
}

var _ blob.Store = (*Store)(nil)

var table = crc32.MakeTable(crc32.Castagnoli)

// New returns an empty store.
func New(cfg Config) *Store {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	nothing := func(context.Context, Call, blob.ID) error { return nil }
	if cfg.Before == nil {
		cfg.Before = nothing
	}
	if cfg.After == nil {
		cfg.After = nothing
	}
	if cfg.Report == nil {
		cfg.Report = func(string, ...any) {}
	}
	return &Store{cfg: cfg, blobs: map[blob.ID]object{}, open: map[blob.ID]int{}, calls: map[Call]int{}}
}

// Calls returns how often each call was made; the cost budget's tests count.
func (s *Store) Calls() map[Call]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.calls)
}

// Check reports what was left open and blobs whose bytes were changed. Call it
// when all work has ended.
func (s *Store) Check() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, n := range s.open {
		s.cfg.Report("blob/mem: %d writers or readers of %s were never ended", n, id)
	}
	for id, o := range s.blobs {
		s.verify(id, o)
	}
}

func (s *Store) verify(id blob.ID, o object) {
	if crc32.Checksum(o.data, table) != o.crc {
		s.cfg.Report("blob/mem: the bytes of %s were changed", id)
	}
}

// do runs f, the effect of a call, between the hooks.
func (s *Store) do(ctx context.Context, call Call, id blob.ID, f func() error) error {
	s.mu.Lock()
	s.calls[call]++
	s.mu.Unlock()
	if err := ctx.Err(); err != nil && call != Abort {
		return fmt.Errorf("%s blob %s: %w", call, id, context.Cause(ctx))
	}
	if id != "" {
		if _, err := blob.ParseID(string(id)); err != nil {
			return fmt.Errorf("%s: %w", call, err)
		}
	}
	if err := s.cfg.Before(ctx, call, id); err != nil {
		return fmt.Errorf("%s blob %s: %w", call, id, err)
	}
	s.mu.Lock()
	err := f()
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("%s blob %s: %w", call, id, err)
	}
	if err := s.cfg.After(ctx, call, id); err != nil {
		return fmt.Errorf("%s blob %s: %w", call, id, err)
	}
	return nil
}

// Create implements [blob.Store].
func (s *Store) Create(ctx context.Context, id blob.ID, size int64) (blob.Writer, error) {
	if id == "" {
		return nil, fmt.Errorf("create: %w: %q", blob.ErrInvalidID, id)
	}
	var w *writer
	err := s.do(ctx, Create, id, func() error {
		if _, ok := s.blobs[id]; ok {
			return blob.ErrExists
		}
		w = &writer{s: s, ctx: ctx, id: id, size: size}
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.opened(id, 1)
	return w, nil
}

// opened counts writers and readers that are in use.
func (s *Store) opened(id blob.ID, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[id] += n; s.open[id] == 0 {
		delete(s.open, id)
	}
}

// Open implements [blob.Store].
func (s *Store) Open(ctx context.Context, id blob.ID, offset, length int64) (io.ReadCloser, error) {
	if offset < 0 || length < -1 {
		return nil, fmt.Errorf("open blob %s: invalid range %d+%d", id, offset, length)
	}
	var data []byte
	err := s.known(ctx, Open, id, func(o object) {
		s.verify(id, o)
		data = o.data[min(offset, int64(len(o.data))):]
		if length >= 0 {
			data = data[:min(length, int64(len(data)))]
		}
	})
	if err != nil {
		return nil, err
	}
	s.opened(id, 1)
	return &reader{s: s, ctx: ctx, id: id, r: bytes.NewReader(data)}, nil
}

// Stat implements [blob.Store].
func (s *Store) Stat(ctx context.Context, id blob.ID) (blob.Info, error) {
	var info blob.Info
	err := s.known(ctx, Stat, id, func(o object) { info = infoOf(id, o) })
	return info, err
}

// known runs f on a blob that is there.
func (s *Store) known(ctx context.Context, call Call, id blob.ID, f func(object)) error {
	if id == "" {
		return fmt.Errorf("%s: %w: %q", call, blob.ErrInvalidID, id)
	}
	return s.do(ctx, call, id, func() error {
		o, ok := s.blobs[id]
		if !ok {
			return blob.ErrNotFound
		}
		f(o)
		return nil
	})
}

func infoOf(id blob.ID, o object) blob.Info {
	return blob.Info{ID: id, Size: int64(len(o.data)), Modified: o.modified}
}

// Delete implements [blob.Store].
func (s *Store) Delete(ctx context.Context, id blob.ID) error {
	if id == "" {
		return fmt.Errorf("delete: %w: %q", blob.ErrInvalidID, id)
	}
	return s.do(ctx, Delete, id, func() error {
		if o, ok := s.blobs[id]; ok {
			s.verify(id, o)
			s.used -= int64(len(o.data))
			delete(s.blobs, id)
		}
		return nil
	})
}

// List implements [blob.Store].
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		var infos []blob.Info
		err := s.do(ctx, List, "", func() error {
			for _, id := range slices.Sorted(maps.Keys(s.blobs)) {
				if id.Lists(prefix) {
					infos = append(infos, infoOf(id, s.blobs[id]))
				}
			}
			return nil
		})
		for _, i := range infos {
			if cerr := ctx.Err(); cerr != nil {
				yield(blob.Info{}, fmt.Errorf("list blobs: %w", context.Cause(ctx)))
				return
			}
			if !yield(i, nil) {
				return
			}
		}
		if err != nil {
			yield(blob.Info{}, err)
		}
	}
}
