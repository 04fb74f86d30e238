package refs_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zeebo/blake3"

	"granary/blob"
	blobmem "granary/blob/mem"
	"granary/kv"
	"granary/kv/count"
	"granary/kv/mem"
	"granary/repo/refs"
)

const storeID = "s1"

var (
	content = []byte("the content that everybody uploads")
	sum     = blake3.Sum256(content)
	hash    = sum[:]
)

// world is the two stores and the clocks that a test is about.
type world struct {
	t     testing.TB
	kv    *count.Store
	blobs *blobmem.Store
	keep  *refs.Keeper
	wall  atomic.Int64 // ns
	mono  atomic.Int64
	calls atomic.Int64 // to the blob store, those of readers left out

	// hook is called before each call to either store, after says that it is
	// called after.
	hook func(after bool) error
	busy bool // the hook is running
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t}
	w.wall.Store(time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC).UnixNano())
	w.kv = count.New(mem.New(mem.Options{
		Misuse: func(err error) { t.Error(err) },
		Before: func(mem.Op) error { return w.run(false) },
		After:  func(mem.Op) error { return w.run(true) },
	}))
	w.blobs = blobmem.New(blobmem.Config{
		Report: t.Errorf,
		Before: func(_ context.Context, c blobmem.Call, _ blob.ID) error {
			if c == blobmem.Stat || c == blobmem.Commit || c == blobmem.Delete {
				w.calls.Add(1)
				return w.run(false)
			}
			return nil
		},
		After: func(_ context.Context, c blobmem.Call, _ blob.ID) error {
			if c == blobmem.Stat || c == blobmem.Commit || c == blobmem.Delete {
				return w.run(true)
			}
			return nil
		},
	})
	w.keep = refs.New(refs.Config{
		KV:        w.kv,
		Now:       func() time.Time { return time.Unix(0, w.wall.Load()) },
		Monotonic: func() time.Duration { return time.Duration(w.mono.Load()) },
	})
	return w
}

// run calls the hook, but not for what the hook itself does.
func (w *world) run(after bool) error {
	if w.hook == nil || w.busy {
		return nil
	}
	w.busy = true
	defer func() { w.busy = false }()
	return w.hook(after)
}

func (w *world) receive(body []byte) *blob.Received {
	w.t.Helper()
	rc, err := blob.Receive(w.t.Context(), w.blobs, bytes.NewReader(body), blob.Options{
		Size: -1, NewID: func() (blob.ID, error) { return blob.NewID(time.Now(), rand.Reader) },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return rc
}

func (w *world) discard(rc *blob.Received) {
	w.t.Helper()
	if err := rc.Discard(context.Background()); err != nil {
		w.t.Error(err)
	}
}

// upload is a whole use of the content.
func (w *world) upload() (refs.Held, error) {
	w.t.Helper()
	rc := w.receive(content)
	defer w.discard(rc)
	return w.keep.Hold(w.t.Context(), storeID, w.blobs, rc)
}

func (w *world) mustUpload() refs.Held {
	w.t.Helper()
	h, err := w.upload()
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

func key() kv.Key { return kv.Reference(storeID, blake3Hex) }

var blake3Hex = func() string {
	const digits = "0123456789abcdef"
	var b []byte
	for _, x := range hash {
		b = append(b, digits[x>>4], digits[x&15])
	}
	return string(b)
}()

// ref is the reference as stored; without version there is none.
func (w *world) ref() (refs.Ref, kv.Version) {
	w.t.Helper()
	item, err := w.kv.Get(context.Background(), key(), kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) {
		return refs.Ref{}, ""
	}
	if err != nil {
		w.t.Fatal(err)
	}
	r, err := refs.Decode(item)
	if err != nil {
		w.t.Fatal(err)
	}
	return r, item.Version
}

// set puts the reference into a state, if it has the version.
func (w *world) set(old kv.Version, change func(*refs.Ref)) (kv.Version, bool) {
	w.t.Helper()
	r, v := w.ref()
	if v != old {
		return v, false
	}
	change(&r)
	value, err := kv.Marshal(r)
	if err != nil {
		w.t.Fatal(err)
	}
	now := kv.NewVersion()
	if err := w.kv.PutIf(context.Background(), kv.Item{Key: key(), Value: value, Version: now}, old); err != nil {
		w.t.Fatal(err)
	}
	return now, true
}

func (w *world) turn(s refs.State) kv.Version {
	w.t.Helper()
	_, v := w.ref()
	v, _ = w.set(v, func(r *refs.Ref) { r.State = s })
	return v
}

// whole tells whether a blob holds the content.
func (w *world) whole(id blob.ID) bool {
	w.t.Helper()
	r, err := w.blobs.Open(context.Background(), id, 0, -1)
	if errors.Is(err, blob.ErrNotFound) {
		return false
	}
	if err != nil {
		w.t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	return err == nil && bytes.Equal(b, content)
}

func (w *world) blobCount() int {
	w.t.Helper()
	n := 0
	for _, err := range w.blobs.List(context.Background(), "") {
		if err != nil {
			w.t.Fatal(err)
		}
		n++
	}
	return n
}

func (w *world) remove(id blob.ID) {
	w.t.Helper()
	if err := w.blobs.Delete(context.Background(), id); err != nil {
		w.t.Fatal(err)
	}
}

// store puts a blob that nothing names.
func (w *world) store(body []byte) blob.ID {
	w.t.Helper()
	rc := w.receive(body)
	defer w.discard(rc)
	id, err := rc.Persist(context.Background())
	if err != nil {
		w.t.Fatal(err)
	}
	rc.Keep()
	return id
}
