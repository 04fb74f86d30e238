// Package kvtest is the conformance suite of [kv.Store]: every sentence of the
// contract as a test. Backends run it, and so do wrappers.
//
// The suite writes only partitions with random names, so stores may share a
// table. Where correctness is asked for it reads consistently.
package kvtest

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"granary/kv"
)

type suite struct {
	open    func(*testing.T) kv.Store
	now     func() time.Time
	advance func(time.Duration)
	lasts   time.Duration // of items that expire in a test
	items   int
	steps   int
	lossy   bool
	without []string
}

// Option adapts the suite to a backend.
type Option func(*suite)

// Clock makes the suite move time instead of waiting for items to expire.
func Clock(now func() time.Time, advance func(time.Duration)) Option {
	return func(s *suite) { s.now, s.advance, s.lasts = now, advance, time.Hour }
}

// Items is the number of items in the tests of long queries, 3,000 by default.
func Items(n int) Option { return func(s *suite) { s.items = n } }

// Steps is the greatest number of operations in one run of the model test, of
// which there are a hundred (-rapid.checks); 40 by default.
func Steps(n int) Option { return func(s *suite) { s.steps = n } }

// Without leaves out tests, by name, that a backend is documented to fail.
func Without(tests ...string) Option {
	return func(s *suite) { s.without = append(s.without, tests...) }
}

// LostReplies says that the store settles lost replies, so that a DeleteIf may
// find its item missing and take that for its own work, and a write that has
// expired by its repetition is a conflict.
func LostReplies() Option { return func(s *suite) { s.lossy = true } }

// Test runs the suite. open returns a store for one test and cleans it up.
func Test(t *testing.T, open func(t *testing.T) kv.Store, options ...Option) {
	s := &suite{open: open, now: time.Now, advance: time.Sleep, lasts: 2 * time.Second, items: 3000, steps: 40}
	for _, o := range options {
		o(s)
	}
	tests := []struct {
		name string
		run  func(*testing.T, *env)
	}{
		{"ReadBack", testReadBack},
		{"Versions", testVersions},
		{"OwnVersion", testOwnVersion},
		{"DeleteIf", testDeleteIf},
		{"Lazy", testLazy},
		{"Blind", testBlind},
		{"Batch", testBatch},
		{"NastyKeys", testNastyKeys},
		{"NUL", testNUL},
		{"InvalidKeys", testInvalidKeys},
		{"TooLarge", testTooLarge},
		{"Ranges", testRanges},
		{"ByteOrder", testByteOrder},
		{"Neighbours", testNeighbours},
		{"LongQuery", testLongQuery},
		{"QueryWhileWriting", testQueryWhileWriting},
		{"Expired", testExpired},
		{"Expiry", testExpiry},
		{"Cancelled", testCancelled},
		{"OneCreates", testOneCreates},
		{"Counter", testCounter},
		{"Model", testModel},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if slices.Contains(s.without, test.name) {
				t.Skip("left out for this backend")
			}
			test.run(t, &env{suite: s, store: s.open(t), name: string(kv.NewVersion())})
		})
	}
}

// tb is what helpers need of a test, or of one run of the model test, which
// shrinks what made it fail.
type tb interface {
	Helper()
	Fatalf(format string, args ...any)
	Context() context.Context
}

// env is what one test works with.
type env struct {
	*suite
	store kv.Store
	name  string
}

// key names an item in a partition of this test that is written conditionally.
func (e *env) key(sort string) kv.Key { return kv.Key{Partition: "z/" + e.name, Sort: sort} }

// blindKey names an item in a partition of this test that is written blindly.
func (e *env) blindKey(sort string) kv.Key { return kv.Key{Partition: "t/" + e.name, Sort: sort} }

func item(key kv.Key, value string) kv.Item {
	return kv.Item{Key: key, Value: []byte(value), Version: kv.NewVersion()}
}

// put writes an item that must not exist yet and returns it.
func (e *env) put(t tb, key kv.Key, value string) kv.Item {
	t.Helper()
	i := item(key, value)
	e.putIf(t, i, "")
	return i
}

func (e *env) putIf(t tb, i kv.Item, old kv.Version) {
	t.Helper()
	if err := e.store.PutIf(t.Context(), i, old); err != nil {
		t.Fatalf("PutIf(%q, version %s over %q): %v", i.Key, i.Version, old, err)
	}
}

// wants checks what a consistent Get sees.
func (e *env) wants(t tb, want kv.Item) {
	t.Helper()
	got, err := e.store.Get(t.Context(), want.Key, kv.Consistent)
	if err != nil {
		t.Fatalf("Get(%q): %v", want.Key, err)
	}
	if !same(got, want) {
		t.Fatalf("Get(%q)\n got %s\nwant %s", want.Key, show(got), show(want))
	}
}

func (e *env) wantsNone(t tb, key kv.Key) {
	t.Helper()
	if got, err := e.store.Get(t.Context(), key, kv.Consistent); !errors.Is(err, kv.ErrNotFound) {
		t.Fatalf("Get(%q) = %s, %v, want ErrNotFound", key, show(got), err)
	}
}

// wantsConflict checks that err is a conflict with found, nil for none, and
// that what the error says and what it leads to agree.
func (e *env) wantsConflict(t tb, err error, key kv.Key, found *kv.Item) {
	t.Helper()
	if !errors.Is(err, kv.ErrConflict) {
		t.Fatalf("write to %q: %v, want ErrConflict", key, err)
	}
	var c *kv.ConflictError
	if errors.As(err, &c) {
		switch {
		case c.Key != key:
			t.Fatalf("conflict at %q names key %q", key, c.Key)
		case c.Current != nil && (found == nil || !same(*c.Current, *found)):
			t.Fatalf("conflict at %q carries %s, stored is %v", key, show(*c.Current), found)
		case c.Absent && found != nil:
			t.Fatalf("conflict at %q says absent, stored is %s", key, show(*found))
		}
	}
	got, err := kv.Current(t.Context(), e.store, key, err)
	switch {
	case found == nil && !errors.Is(err, kv.ErrNotFound):
		t.Fatalf("Current(%q) = %s, %v, want ErrNotFound", key, show(got), err)
	case found != nil && (err != nil || !same(got, *found)):
		t.Fatalf("Current(%q) = %s, %v, want %s", key, show(got), err, show(*found))
	}
}

// wantsMissing checks the outcome of a DeleteIf of an item that is missing.
func (e *env) wantsMissing(t tb, err error, key kv.Key) {
	t.Helper()
	if err == nil && e.lossy {
		return
	}
	e.wantsConflict(t, err, key, nil)
}

// query collects a range and fails on errors.
func (e *env) query(t tb, partition, from, to string, opts ...kv.ReadOption) []kv.Item {
	t.Helper()
	var items []kv.Item
	for i, err := range e.store.Query(t.Context(), partition, from, to, append(opts, kv.Consistent)...) {
		if err != nil {
			t.Fatalf("Query(%q, %q, %q) after %d items: %v", partition, from, to, len(items), err)
		}
		items = append(items, i)
	}
	return items
}

func same(a, b kv.Item) bool {
	return a.Key == b.Key && a.Version == b.Version && bytes.Equal(a.Value, b.Value) &&
		kv.WholeSeconds(a.Expires).Equal(kv.WholeSeconds(b.Expires))
}

func sorts(items []kv.Item) []string {
	out := make([]string, len(items))
	for i, item := range items {
		out[i] = item.Sort
	}
	return out
}

// cancelled returns a context that has ended.
func cancelled(t tb) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
