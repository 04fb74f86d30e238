package gc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"granary/blob"
	blobchaos "granary/blob/chaos"
	blobmem "granary/blob/mem"
	"granary/formats"
	"granary/formats/raw"
	"granary/gc"
	"granary/kv"
	"granary/kv/chaos"
	"granary/kv/mem"
	"granary/kv/retry"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/record"
	"granary/repo/refs"
	"granary/repo/upstream"
)

// world is what the nodes of a simulation share. Its time is that of a synctest
// bubble: every call to a store waits a little, a random number of nanoseconds,
// so that at any time one call is carried out, and which one follows from the seed.
type world struct {
	t     *testing.T
	seed  uint64
	plant gc.Plant
	begin time.Time

	mem    *mem.Store
	kv     *chaos.Store
	memory *blobmem.Store
	blobs  *blobchaos.Store
	repos  []*config.Repository
	store  string // id

	mu    sync.Mutex
	rng   *rand.Rand // guarded by mu
	calm  bool       // guarded by mu
	truth map[string]*truth
	wrong []string // guarded by mu
	did   map[string]int
}

const (
	simGrace   = time.Minute
	simHistory = 20 * time.Second // how long history is kept
)

func newWorld(t *testing.T, seed uint64, plant gc.Plant) *world {
	w := &world{t: t, seed: seed, plant: plant, begin: time.Now(), rng: rand.New(rand.NewPCG(seed, 1)), truth: map[string]*truth{}, did: map[string]int{}}
	w.mem = mem.New(mem.Options{Now: time.Now, Misuse: func(err error) { w.fail("%v", err) }})
	w.memory = blobmem.New(blobmem.Config{Now: time.Now, Report: w.fail})
	w.kv = chaos.New(w.mem, chaos.Options{
		Seed: seed, Stale: 0.3, Lag: 2 * time.Second, Throttle: 0.01, Lost: 0.02, Late: 0.01, Delay: 3 * simGrace,
		Pause: 0.0003, MaxPause: 5 * simGrace, Now: time.Now,
	})
	w.blobs = blobchaos.Wrap(w.memory, blobchaos.Config{Seed: seed, Before: 0.01, After: 0.005, Cut: 0.002})
	reg := w.registry()
	_, err := reg.CreateStore(t.Context(), "default", func(s *config.Store) error {
		s.Type, s.Root, s.IOSize = config.File, "/nowhere", 1024
		return nil
	})
	if err == nil {
		w.store, err = reg.StoreID(t.Context(), "store", "default")
	}
	if err == nil {
		_, err = reg.UpdateSettings(t.Context(), func(s *config.Settings) error {
			s.GCMinInterval, s.GCGrace, s.GCInterval = 0, int64(simGrace/time.Second), 0
			return nil
		})
	}
	for i := range 2 {
		var c *config.Repository
		if err == nil {
			c, err = reg.CreateRepository(t.Context(), fmt.Sprint("r", i), func(c *config.Repository) error {
				c.Type, c.Format, c.Store = config.Hosted, "raw", w.store
				return nil
			})
			w.repos = append(w.repos, c)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// registry is one on the store without its faults: configuration has tests of
// its own.
func (w *world) registry() *config.Registry {
	reg := config.Open(config.Options{KV: few{w.mem}, Formats: []string{"raw"}, Now: time.Now})
	if err := reg.Load(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	return reg
}

// few gives repositories few shards, so that much happens in each.
type few struct{ kv.Store }

func (few) Traits() kv.Traits { return kv.Traits{Inline: 8, Shards: 2} }

func (w *world) fail(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.wrong) < 5 {
		w.wrong = append(w.wrong, fmt.Sprintf("%8v ", time.Since(w.begin).Round(time.Millisecond))+fmt.Sprintf(format, args...))
	}
}

func (w *world) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.did[what]++
}

func (w *world) roll(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rng.IntN(n)
}

// wait is the time that a call takes.
func (w *world) wait() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.calm {
		return time.Duration(1 + w.rng.IntN(1000))
	}
	return time.Duration(1 + w.rng.IntN(int(8*time.Millisecond)))
}

// node is one life of a process.
type node struct {
	*world
	skew    time.Duration
	records *record.Store
	refs    *refs.Keeper
	service *repo.Service
	gc      *gc.Collector
	client  *upstream.Client

	dmu  sync.Mutex
	dead bool // guarded by dmu: the process has died
}

var errDead = errors.New("the process has died")

func (w *world) node(name string, skew time.Duration) *node {
	n := &node{world: w, skew: skew}
	now := func() time.Time { return time.Now().Add(skew) }
	store := retry.New(gate{w.kv, n}, retry.Options{Tries: 6, First: time.Millisecond, Last: 200 * time.Millisecond, Random: func(m int64) int64 {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.rng.Int64N(m)
	}})
	reg := w.registry()
	n.records = record.New(record.Config{KV: store, Now: now, Node: name})
	grace := func() time.Duration { return simGrace }
	n.refs = refs.New(refs.Config{KV: store, Now: now, Grace: grace, Monotonic: func() time.Duration { return time.Since(w.begin) }})
	n.client = upstream.New(upstream.Config{})
	var err error
	n.service, err = repo.New(repo.Config{
		KV: store, Registry: reg, Formats: []formats.Format{raw.New()}, Records: n.records, Refs: n.refs, Upstream: n.client, Now: now,
		OpenStore: func(context.Context, *config.Store) (blob.Store, error) { return blobGate{w.blobs, n}, nil },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	n.gc = gc.New(gc.Config{KV: store, Registry: reg, Store: n.service.Store, Records: n.records, Refs: n.refs, Now: now})
	n.gc.SetPlant(w.plant)
	return n
}

// die ends the process in the midst of whatever it does.
func (n *node) die() {
	n.dmu.Lock()
	n.dead = true
	n.dmu.Unlock()
}

func (n *node) close() {
	n.service.Close(context.Background())
	n.client.Close()
}

func (n *node) pass(ctx context.Context) error {
	time.Sleep(n.wait())
	n.dmu.Lock()
	defer n.dmu.Unlock()
	if n.dead {
		return errDead
	}
	return ctx.Err()
}

// gate is a node's way to the key-value store.
type gate struct {
	*chaos.Store
	n *node
}

func (g gate) Traits() kv.Traits { return kv.Traits{Inline: 8, Shards: 2} }

func (g gate) Get(ctx context.Context, key kv.Key, opts ...kv.ReadOption) (kv.Item, error) {
	if err := g.n.pass(ctx); err != nil {
		return kv.Item{}, err
	}
	item, err := g.Store.Get(ctx, key, opts...)
	return item, errors.Join(err, g.n.alive())
}

func (g gate) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	if err := g.n.pass(ctx); err != nil {
		return err
	}
	if err := g.Store.PutIf(ctx, item, old); err != nil {
		return err
	}
	return g.n.pass(ctx) // the answer may come to nobody
}

func (g gate) PutIfLazy(ctx context.Context, item kv.Item, old kv.Version) error {
	return g.PutIf(ctx, item, old)
}

func (g gate) DeleteIf(ctx context.Context, key kv.Key, old kv.Version) error {
	if err := g.n.pass(ctx); err != nil {
		return err
	}
	return g.Store.DeleteIf(ctx, key, old)
}

func (g gate) Query(ctx context.Context, partition, from, to string, opts ...kv.ReadOption) iter.Seq2[kv.Item, error] {
	return func(yield func(kv.Item, error) bool) {
		if err := g.n.pass(ctx); err != nil {
			yield(kv.Item{}, err)
			return
		}
		g.Store.Query(ctx, partition, from, to, opts...)(yield)
	}
}

func (n *node) alive() error {
	n.dmu.Lock()
	defer n.dmu.Unlock()
	if n.dead {
		return errDead
	}
	return nil
}

// blobGate is a node's way to the blobs.
type blobGate struct {
	*blobchaos.Store
	n *node
}

func (g blobGate) Create(ctx context.Context, id blob.ID, size int64) (blob.Writer, error) {
	if err := g.n.pass(ctx); err != nil {
		return nil, err
	}
	return g.Store.Create(ctx, id, size)
}

func (g blobGate) Open(ctx context.Context, id blob.ID, offset, length int64) (io.ReadCloser, error) {
	if err := g.n.pass(ctx); err != nil {
		return nil, err
	}
	return g.Store.Open(ctx, id, offset, length)
}

func (g blobGate) Stat(ctx context.Context, id blob.ID) (blob.Info, error) {
	if err := g.n.pass(ctx); err != nil {
		return blob.Info{}, err
	}
	return g.Store.Stat(ctx, id)
}

func (g blobGate) Delete(ctx context.Context, id blob.ID) error {
	if err := g.n.pass(ctx); err != nil {
		return err
	}
	return g.Store.Delete(ctx, id)
}
