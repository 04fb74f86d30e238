package gc_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"granary/blob"
	blobmem "granary/blob/mem"
	"granary/formats"
	"granary/formats/golang"
	"granary/formats/raw"
	"granary/gc"
	"granary/kv"
	"granary/repo/config"
	"granary/repo/record"
	"granary/repo/refs"
	"granary/repo/repotest"
)

// rig is a service with a collector.
type rig struct {
	*repotest.Rig
	t     testing.TB
	gc    *gc.Collector
	blobs *blobmem.Store
	store string // id
}

func newRig(t testing.TB) *rig { return newRigOn(t, nil) }

// newRigOn puts something between the service and its key-value store.
func newRigOn(t testing.TB, wrap func(kv.Store) kv.Store) *rig {
	t.Helper()
	return newRigWith(t, nil, wrap)
}

// newRigWith is newRigOn on a store of one's own.
func newRigWith(t testing.TB, store kv.Store, wrap func(kv.Store) kv.Store) *rig {
	t.Helper()
	r := &rig{t: t}
	var clock *repotest.Clock
	now := func() time.Time {
		if clock == nil {
			return time.Now()
		}
		return clock.Now()
	}
	r.blobs = blobmem.New(blobmem.Config{Now: now, Report: t.Errorf})
	r.Rig = repotest.New(t, repotest.Options{
		KV: store, Blobs: r.blobs, Wrap: wrap,
		Formats: func(now func() time.Time) []formats.Format {
			return []formats.Format{raw.New(), golang.New(now), ledger{}}
		},
	})
	clock = r.Clock
	var err error
	if r.store, err = r.Registry.StoreID(t.Context(), "store", "default"); err != nil {
		t.Fatal(err)
	}
	r.settings(func(s *config.Settings) { s.GCMinInterval = 0 })
	r.gc = r.collector()
	return r
}

func (r *rig) settings(change func(*config.Settings)) {
	r.t.Helper()
	_, err := r.Registry.UpdateSettings(r.t.Context(), func(s *config.Settings) error { change(s); return nil })
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.Registry.Load(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// collector is that of another node.
func (r *rig) collector() *gc.Collector {
	return gc.New(gc.Config{
		KV: r.KV, Registry: r.Registry, Store: r.Service.Store, Records: r.Records, Refs: r.Refs, Now: r.Clock.Now,
	})
}

// round does a whole round.
func (r *rig) round(o gc.Options) gc.Result {
	r.t.Helper()
	res, err := runRound(r.t.Context(), r.gc, o)
	if err != nil {
		r.t.Fatal(err)
	}
	return res
}

func runRound(ctx context.Context, c *gc.Collector, o gc.Options) (gc.Result, error) {
	round, err := c.Begin(ctx, o)
	if err != nil {
		return gc.Result{}, err
	}
	for _, part := range round.Parts() {
		if err := c.Part(ctx, o.Dry, round.ID, part, nil); err != nil {
			return gc.Result{}, err
		}
	}
	return c.Finish(ctx, o.Dry, round.ID)
}

// later lets the grace pass.
func (r *rig) later() { r.Clock.Advance(62 * time.Minute) }

// body is content too long to be kept in a record.
func body(n int) []byte {
	b := make([]byte, 20<<10)
	rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(b) //nolint:errcheck // never fails
	return b
}

// objects is how many blobs there are.
func (r *rig) objects() int {
	r.t.Helper()
	n := 0
	for _, err := range r.blobs.List(r.t.Context(), "") {
		if err != nil {
			r.t.Fatal(err)
		}
		n++
	}
	return n
}

// states counts references by their state.
func (r *rig) states() map[refs.State]int {
	r.t.Helper()
	out := map[refs.State]int{}
	for p := range 256 {
		for item, err := range r.KV.Query(r.t.Context(), kv.ReferencePartition(r.store, fmt.Sprintf("%02x", p)), "", "") {
			if err != nil {
				r.t.Fatal(err)
			}
			ref, err := refs.Decode(item)
			if err != nil {
				r.t.Fatal(err)
			}
			out[ref.State]++
		}
	}
	return out
}

// forgetHistory removes the history of a repository, as its pruner does.
func (r *rig) forgetHistory(c *config.Repository) {
	r.t.Helper()
	sp := kv.Space{Repo: c.ID, Shards: c.Shards}
	for s := range c.Shards {
		r.clear(sp.History(s))
	}
}

func (r *rig) clear(partition string) {
	r.t.Helper()
	for item, err := range r.KV.Query(r.t.Context(), partition, "", "") {
		if err == nil {
			err = r.KV.DeleteIf(r.t.Context(), item.Key, item.Version)
		}
		if err != nil {
			r.t.Fatal(err)
		}
	}
}

func (r *rig) delete(repository, path string) {
	r.t.Helper()
	if _, _, err := r.Send(r.t.Context(), repository, "DELETE", path, nil); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) wantStates(when string, want map[refs.State]int) {
	r.t.Helper()
	if got := r.states(); fmt.Sprint(got) != fmt.Sprint(want) {
		r.t.Errorf("%s: references are %v, want %v", when, got, want)
	}
}

// hashOf is the BLAKE3 of a record's content.
func (r *rig) recordOf(c *config.Repository, scope, name string) record.Record {
	r.t.Helper()
	rec, _, err := r.Records.Get(r.t.Context(), kv.Space{Repo: c.ID, Shards: c.Shards}, scope, name, record.Latest)
	if err != nil {
		r.t.Fatal(err)
	}
	return rec
}

func (r *rig) reference(hash []byte) (refs.Ref, kv.Item, error) {
	item, err := r.KV.Get(r.t.Context(), kv.Reference(r.store, hex.EncodeToString(hash)), kv.Consistent)
	if err != nil {
		return refs.Ref{}, item, err
	}
	ref, err := refs.Decode(item)
	return ref, item, err
}

func (r *rig) same(repository, path string, want []byte) {
	r.t.Helper()
	if got := r.Get(repository, path); !bytes.Equal(got, want) {
		r.t.Errorf("%s/%s has other bytes", repository, path)
	}
}

// putObject stores an object that nothing names.
func (r *rig) putObject() blob.ID {
	r.t.Helper()
	id, err := blob.NewID(r.Clock.Now(), strings.NewReader("0123456789"))
	if err != nil {
		r.t.Fatal(err)
	}
	w, err := r.blobs.Create(r.t.Context(), id, 3)
	if err == nil {
		_, err = w.Write([]byte("abc"))
	}
	if err == nil {
		err = w.Commit(r.t.Context())
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

func (r *rig) there(id blob.ID) bool {
	r.t.Helper()
	_, err := r.blobs.Stat(r.t.Context(), id)
	if err != nil && !errors.Is(err, blob.ErrNotFound) {
		r.t.Fatal(err)
	}
	return err == nil
}

// hook is a store that does something before a record is written.
type hook struct {
	kv.Store
	before func(kv.Key)       // a write
	remove func(kv.Key)       // a removal
	query  func(string) error // a read of a partition
}

func (h *hook) DeleteIf(ctx context.Context, key kv.Key, old kv.Version) error {
	if h.remove != nil {
		h.remove(key)
	}
	return h.Store.DeleteIf(ctx, key, old)
}

func (h *hook) Traits() kv.Traits { return kv.TraitsOf(h.Store) }

func (h *hook) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	if h.before != nil {
		h.before(item.Key)
	}
	return h.Store.PutIf(ctx, item, old)
}
