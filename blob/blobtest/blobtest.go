// Package blobtest is the conformance suite of blob stores. A store's own test
// is a few lines:
//
//	func TestStore(t *testing.T) {
//		blobtest.Test(t, func(t *testing.T) blob.Store { return open(t) })
//	}
package blobtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"granary/blob"
	"granary/blob/check"
)

// Suite is the conformance suite with its knobs.
type Suite struct {
	// Open returns an empty store.
	Open func(t *testing.T) blob.Store
	// Many is how many blobs the list test stores; more than the backend's page.
	// 0 is 100.
	Many int
	// Boundaries are lengths in bytes at which the store changes how it writes;
	// each is tried with one byte less, as is, and with one byte more.
	Boundaries []int
	// Big is the length in bytes of a blob that must pass in bounded memory. 0
	// leaves it out.
	Big int64
	// Overwrites says that the store can't refuse an id that is in use.
	Overwrites bool
}

// Test runs the suite with its defaults.
func Test(t *testing.T, open func(t *testing.T) blob.Store) {
	t.Helper()
	Suite{Open: open}.Run(t)
}

// Run runs the suite.
func (s Suite) Run(t *testing.T) {
	t.Run("Check", s.testCheck)
	t.Run("InvalidID", s.testInvalidID)
	t.Run("Cancelled", s.testCancelled)
	t.Run("Boundaries", s.testBoundaries)
	t.Run("Pieces", s.testPieces)
	t.Run("Receive", s.testReceive)
	t.Run("Race", s.testRace)
	t.Run("ListMany", s.testListMany)
	t.Run("WorkObjects", s.testWorkObjects)
	t.Run("ReadWhileDeleted", s.testReadWhileDeleted)
	t.Run("Big", s.testBig)
}

// testCheck runs what granary store check runs.
func (s Suite) testCheck(t *testing.T) {
	for _, r := range check.Run(t.Context(), s.Open(t)) {
		if r.Err != nil && (!r.Advisory || r.Property == "an id is created once" && !s.Overwrites) {
			t.Errorf("%s: %v", r.Property, r.Err)
		}
	}
}

func newID(t testing.TB) blob.ID {
	t.Helper()
	id, err := blob.NewID(time.Now(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// content returns n bytes that depend on seed.
func content(n int, seed byte) []byte {
	b := make([]byte, n)
	mathrand.NewChaCha8([32]byte{seed, byte(n), byte(n >> 8), byte(n >> 16)}).Read(b) //nolint:errcheck // never fails
	return b
}

func put(ctx context.Context, s blob.Store, id blob.ID, size int64, pieces ...[]byte) error {
	w, err := s.Create(ctx, id, size)
	if err != nil {
		return err
	}
	for _, p := range pieces {
		if _, err := w.Write(p); err != nil {
			return errors.Join(err, w.Abort(ctx))
		}
	}
	if err := w.Commit(ctx); err != nil {
		return errors.Join(err, w.Abort(ctx))
	}
	return nil
}

func expect(ctx context.Context, s blob.Store, id blob.ID, want []byte) error {
	r, err := s.Open(ctx, id, 0, -1)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // nothing was written
	var got bytes.Buffer
	if _, err := io.Copy(&got, r); err != nil { // through WriteTo if there is one
		return err
	}
	if !bytes.Equal(got.Bytes(), want) {
		return fmt.Errorf("%s has %d bytes, want %d, or other ones", id, got.Len(), len(want))
	}
	return nil
}

func (s Suite) testInvalidID(t *testing.T) {
	store := s.Open(t)
	for _, id := range []blob.ID{"", "x", ".", "..", "../../etc/passwd", "/etc/passwd", "01ARZ3NDEKTSV4RRFFQ69G5FA\x00", "01arz3ndektsv4rrffq69g5fav", ".tmp"} {
		if _, err := store.Create(t.Context(), id, 0); !errors.Is(err, blob.ErrInvalidID) {
			t.Errorf("Create(%q) = %v", id, err)
		}
		if _, err := store.Open(t.Context(), id, 0, -1); !errors.Is(err, blob.ErrInvalidID) {
			t.Errorf("Open(%q) = %v", id, err)
		}
		if _, err := store.Stat(t.Context(), id); !errors.Is(err, blob.ErrInvalidID) {
			t.Errorf("Stat(%q) = %v", id, err)
		}
		if err := store.Delete(t.Context(), id); !errors.Is(err, blob.ErrInvalidID) {
			t.Errorf("Delete(%q) = %v", id, err)
		}
	}
}

// testCancelled expects that nothing is done for who has gone, except to abort.
func (s Suite) testCancelled(t *testing.T) {
	store := s.Open(t)
	there, id := newID(t), newID(t)
	if err := put(t.Context(), store, there, 1, []byte("x")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	w, err := store.Create(ctx, id, -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("y")); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := w.Commit(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Commit = %v, want cancelled", err)
	}
	if err := w.Abort(ctx); err != nil {
		t.Errorf("Abort = %v", err)
	}
	if _, err := store.Stat(t.Context(), id); !errors.Is(err, blob.ErrNotFound) {
		t.Errorf("Stat of a cancelled blob = %v", err)
	}
	if _, err := store.Create(ctx, newID(t), -1); !errors.Is(err, context.Canceled) {
		t.Errorf("Create = %v, want cancelled", err)
	}
	if r, err := store.Open(ctx, there, 0, -1); !errors.Is(err, context.Canceled) {
		t.Errorf("Open = %v, %v, want cancelled", r, err)
	}
	if _, err := store.Stat(ctx, there); !errors.Is(err, context.Canceled) {
		t.Errorf("Stat = %v, want cancelled", err)
	}
	if err := store.Delete(ctx, there); !errors.Is(err, context.Canceled) {
		t.Errorf("Delete = %v, want cancelled", err)
	}
	var last error
	for _, last = range store.List(ctx, "") { //nolint:revive // the last one counts
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("List = %v, want cancelled", last)
	}
	if err := expect(t.Context(), store, there, []byte("x")); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

func (s Suite) testBoundaries(t *testing.T) {
	store := s.Open(t)
	for _, b := range append([]int{1, 4096, 64 << 10}, s.Boundaries...) {
		for _, n := range []int{b - 1, b, b + 1} {
			for _, size := range []int64{-1, int64(n)} {
				id, c := newID(t), content(n, 1)
				if err := put(t.Context(), store, id, size, c); err != nil {
					t.Fatalf("%d bytes, %d announced: %v", n, size, err)
				}
				if err := expect(t.Context(), store, id, c); err != nil {
					t.Errorf("%d bytes, %d announced: %v", n, size, err)
				}
				if err := store.Delete(t.Context(), id); err != nil {
					t.Error(err)
				}
			}
		}
	}
}

// testPieces writes in pieces of any length, to the model of a byte slice, and
// reads ranges of it.
func (s Suite) testPieces(t *testing.T) {
	store := s.Open(t)
	rapid.Check(t, func(rt *rapid.T) {
		id := newID(t)
		var pieces [][]byte
		for i := range rapid.IntRange(0, 5).Draw(rt, "pieces") {
			n := rapid.OneOf(rapid.IntRange(0, 10), rapid.IntRange(0, 70_000)).Draw(rt, "length")
			pieces = append(pieces, content(n, byte(i)))
		}
		all := bytes.Join(pieces, nil)
		if err := put(t.Context(), store, id, -1, pieces...); err != nil {
			rt.Fatal(err)
		}
		for range 3 {
			off := rapid.IntRange(0, len(all)+2).Draw(rt, "offset")
			n := rapid.IntRange(-1, len(all)+2).Draw(rt, "range length")
			want := all[min(off, len(all)):]
			if n >= 0 {
				want = want[:min(n, len(want))]
			}
			r, err := store.Open(t.Context(), id, int64(off), int64(n))
			if err != nil {
				rt.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if cerr := r.Close(); err != nil || cerr != nil || !bytes.Equal(got, want) {
				rt.Fatalf("%d+%d of %d bytes: got %d, want %d, %v, %v", off, n, len(all), len(got), len(want), err, cerr)
			}
		}
		if err := store.Delete(t.Context(), id); err != nil {
			rt.Fatal(err)
		}
	})
}
