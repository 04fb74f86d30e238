// Package mem is a [kv.Store] in memory and a strict referee: it refuses what
// a careful caller never does, such as a blind write to a key that is written
// conditionally, or a version used for two different writes. Tests let calls
// fail before or after they take effect.
package mem

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"granary/kv"
)

// ErrMisuse is returned for a call that breaks the rules of package kv. It was
// not carried out.
var ErrMisuse = errors.New("mem: misuse")

// Options of a store; the zero value is a strict store on the system's clock.
type Options struct {
	// Now is the clock that expiry goes by. Optional.
	Now func() time.Time
	// Blind says which partitions may be written with Put, Delete and
	// BatchPut; nil: those of last access (t/…). Elsewhere BatchPut may only
	// fill a partition that nothing but BatchPut has written.
	Blind func(partition string) bool
	// Misuse is told of each ErrMisuse, such as a test's Error method: callers
	// may swallow the error. Optional.
	Misuse func(error)
	// Before is called before a call takes effect; its error is returned and
	// nothing happens. Optional.
	Before func(Op) error
	// After is called when a call has taken effect; its error is returned
	// although what was written stays. Optional.
	After func(Op) error
}

// Op describes a call to the hooks.
type Op struct {
	Method string    // Get, Put, PutIf, Delete, DeleteIf, Query or BatchPut
	Key    kv.Key    // Sort is empty for Query and BatchPut
	Items  []kv.Item // what Put, PutIf and BatchPut write; not to be changed
	Old    kv.Version
	Read   kv.Read // of Get and Query
}

// Write reports whether the call may change the store.
func (o Op) Write() bool { return o.Method != "Get" && o.Method != "Query" }

// Store is a [kv.Store]. Make it with [New].
type Store struct {
	options   Options
	onlyBlind bool // what may be written blindly may not be written conditionally
	seed      maphash.Seed

	mu         sync.RWMutex
	partitions map[string]*partition
	versions   map[kv.Version]uint64 // hash of the write that used it
}

// A partition keeps its items in the order of their sort keys.
type partition struct {
	items       []*kv.Item
	conditional bool // something but BatchPut has written it
}

var (
	_ kv.Store   = (*Store)(nil)
	_ kv.Traiter = (*Store)(nil)
)

// New returns an empty store.
func New(o Options) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	onlyBlind := o.Blind == nil
	if onlyBlind {
		o.Blind = func(p string) bool { return strings.HasPrefix(p, "t/") }
	}
	return &Store{
		options:    o,
		onlyBlind:  onlyBlind,
		seed:       maphash.MakeSeed(),
		partitions: map[string]*partition{},
		versions:   map[kv.Version]uint64{},
	}
}

// Traits are those of an embedded store.
func (s *Store) Traits() kv.Traits {
	return kv.Traits{Inline: 16 << 10, Shards: 16, AlwaysConsistent: true, Embedded: true}
}

// Len returns the number of items, expired ones included.
func (s *Store) Len() int {
	s.mu.RLock()
	defer s.mu.RUnlock()
	n := 0
	for _, p := range s.partitions {
		n += len(p.items)
	}
	return n
}

// Get implements [kv.Store].
func (s *Store) Get(ctx context.Context, key kv.Key, opts ...kv.ReadOption) (kv.Item, error) {
	var found kv.Item
	err := s.call(ctx, kv.CheckKey(key), Op{Method: "Get", Key: key, Read: kv.Resolve(opts)}, func() error {
		s.mu.RLock()
		defer s.mu.RUnlock()
		item := s.live(key)
		if item == nil {
			return kv.ErrNotFound
		}
		found = clone(*item)
		return nil
	})
	if err != nil {
		return kv.Item{}, err
	}
	return found, nil
}

// Put implements [kv.Store].
func (s *Store) Put(ctx context.Context, item kv.Item) error {
	item = prepared(item)
	return s.call(ctx, kv.Check(item), Op{Method: "Put", Key: item.Key, Items: []kv.Item{item}}, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.options.Blind(item.Partition) {
			return s.misuse("blind write to %v", item.Key)
		}
		if err := s.use(item, "blind"); err != nil {
			return err
		}
		s.set(item).conditional = true
		return nil
	})
}

// PutIf implements [kv.Store].
func (s *Store) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	op := Op{Method: "PutIf", Key: item.Key, Items: []kv.Item{prepared(item)}, Old: old}
	return s.call(ctx, kv.CheckWrite(item), op, func() error {
		item := op.Items[0]
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.onlyBlind && s.options.Blind(item.Partition) {
			return s.misuse("conditional write to %v, which is written blindly", item.Key)
		}
		if item.Version == old {
			return s.misuse("version %s replaces itself at %v", old, item.Key)
		}
		if err := s.use(item, old); err != nil {
			return err
		}
		current := s.live(item.Key)
		switch {
		case current == nil && old != "":
			return &kv.ConflictError{Key: item.Key, Absent: true}
		case current != nil && current.Version == item.Version:
			return nil
		case current != nil && current.Version != old:
			return conflict(current)
		}
		s.set(item).conditional = true
		return nil
	})
}

// Delete implements [kv.Store].
func (s *Store) Delete(ctx context.Context, key kv.Key) error {
	return s.call(ctx, kv.CheckKey(key), Op{Method: "Delete", Key: key}, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.options.Blind(key.Partition) {
			return s.misuse("blind delete of %v", key)
		}
		s.remove(key)
		return nil
	})
}

// DeleteIf implements [kv.Store].
func (s *Store) DeleteIf(ctx context.Context, key kv.Key, old kv.Version) error {
	err := kv.CheckKey(key)
	if err == nil && old == "" {
		err = fmt.Errorf("%w: conditional delete without a version at %v", kv.ErrInvalid, key)
	}
	return s.call(ctx, err, Op{Method: "DeleteIf", Key: key, Old: old}, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.onlyBlind && s.options.Blind(key.Partition) {
			return s.misuse("conditional delete of %v, which is written blindly", key)
		}
		switch current := s.live(key); {
		case current == nil:
			return &kv.ConflictError{Key: key, Absent: true}
		case current.Version != old:
			return conflict(current)
		}
		s.remove(key)
		return nil
	})
}

// BatchPut implements [kv.Store].
func (s *Store) BatchPut(ctx context.Context, items []kv.Item) error {
	items = slices.Clone(items)
	keys := make(map[kv.Key]struct{}, len(items))
	var invalid error
	for i := range items {
		items[i] = prepared(items[i])
		keys[items[i].Key] = struct{}{}
		invalid = cmp.Or(invalid, kv.Check(items[i]))
	}
	return s.call(ctx, invalid, Op{Method: "BatchPut", Items: items}, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(keys) < len(items) {
			return s.misuse("batch with a key twice")
		}
		for _, item := range items {
			if p := s.partitions[item.Partition]; p != nil && p.conditional && !s.options.Blind(item.Partition) {
				return s.misuse("batch into the used partition of %v", item.Key)
			}
			if err := s.use(item, "blind"); err != nil {
				return err
			}
		}
		for _, item := range items {
			s.set(item)
		}
		return nil
	})
}

// Query implements [kv.Store]. A writer may come between its pages.
func (s *Store) Query(ctx context.Context, partition, from, to string, opts ...kv.ReadOption) iter.Seq2[kv.Item, error] {
	read := kv.Resolve(opts)
	op := Op{Method: "Query", Key: kv.Key{Partition: partition}, Read: read}
	return func(yield func(kv.Item, error) bool) {
		stopped := false
		err := s.call(ctx, kv.CheckQuery(partition, from, to), op, func() error {
			from, to, left := from, to, read.Limit
			for {
				page := s.page(partition, from, to, read)
				for _, item := range page {
					if err := ctx.Err(); err != nil {
						return err
					}
					if stopped = !yield(item, nil); stopped {
						return errStopped
					}
					if left--; left == 0 {
						return nil
					}
				}
				if len(page) == 0 {
					return nil
				}
				if last := page[len(page)-1].Sort; read.Reverse {
					to = last
				} else {
					from = last + "\x00"
				}
				if to != "" && from >= to {
					return nil
				}
			}
		})
		if err != nil && !stopped {
			yield(kv.Item{}, err)
		}
	}
}

var errStopped = errors.New("mem: consumer stopped")

// call runs a method's body between the checks and the hooks.
func (s *Store) call(ctx context.Context, invalid error, op Op, body func() error) error {
	if err := cmp.Or(invalid, ctx.Err()); err != nil {
		return err
	}
	if s.options.Before != nil {
		if err := s.options.Before(op); err != nil {
			return err
		}
	}
	if err := body(); err != nil {
		return err
	}
	if s.options.After != nil {
		return s.options.After(op)
	}
	return nil
}
