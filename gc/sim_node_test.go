package gc_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"
	"time"

	"granary/blob"
	"granary/cluster"
	"granary/cluster/task"
	"granary/formats"
	"granary/formats/raw"
	"granary/gc"
	"granary/gc/audit"
	"granary/kv"
	"granary/kv/retry"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/jobs"
	"granary/repo/record"
	"granary/repo/refs"
	"granary/repo/upstream"
)

// node is one life of a process.
type node struct {
	*world
	client  int
	now     func() time.Time
	kv      kv.Store
	reg     *config.Registry
	member  *cluster.Node
	records *record.Store
	refs    *refs.Keeper
	service *repo.Service
	pruner  *repo.Service // service with the history that a simulation keeps
	gc      *gc.Collector
	tasks   *task.Service
	remote  *upstream.Client

	ctx    context.Context //nolint:containedctx // the process's life
	cancel context.CancelFunc
	work   sync.WaitGroup

	dmu  sync.Mutex
	dead bool // guarded by dmu: the process has died
}

var errDead = errors.New("the process has died")

// simFormats are those that a simulation's nodes know.
var simFormats = []string{raw.Format{}.Name(), ledger{}.Name()}

// node starts a process; an error is that of a start which failed. One that is
// alone is no member of a cluster and takes part in no tasks.
func (w *world) node(client int, name string, skew time.Duration, alone bool) (*node, error) {
	n := &node{world: w, client: client, now: func() time.Time { return time.Now().Add(skew) }}
	n.ctx, n.cancel = context.WithCancel(context.WithValue(w.t.Context(), nodeKey{}, n))
	n.kv = retry.New(gate{w.planted, n}, retry.Options{Tries: 6, First: time.Millisecond, Last: 200 * time.Millisecond, Random: func(m int64) int64 {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.rng.Int64N(m)
	}})
	n.reg = config.Open(config.Options{KV: n.kv, Formats: simFormats, Now: n.now, NewID: w.newID})
	elapsed := func() time.Duration { return time.Since(w.begin) }
	n.records = record.New(record.Config{KV: n.kv, Now: n.now, Node: name})
	grace := func() time.Duration { return simGrace }
	n.refs = refs.New(refs.Config{KV: w.plant.keeper(n.kv), Now: n.now, Grace: grace, Monotonic: elapsed})
	n.remote = w.upstream.client()
	if alone {
		if err := n.reg.Load(n.ctx); err != nil {
			return nil, err
		}
		n.furnish()
		return n, nil
	}
	var err error
	n.member, err = cluster.Join(n.ctx, cluster.Config{
		KV: n.kv, Load: n.reg.Load, NewID: w.newID, Now: n.now, Elapsed: elapsed,
		Beat: 5 * time.Second, Dead: 20 * time.Second, Poll: 2 * time.Second, Stale: 8 * time.Second,
	})
	if err != nil {
		n.cancel()
		return nil, err
	}
	n.reg.SetNotifier(func(ctx context.Context) error { return n.member.Changed(ctx) })
	n.furnish()
	kinds := append(jobs.Kinds(n.service, n.reg), audit.New(audit.Config{
		KV: n.kv, Registry: n.reg, Store: n.service.Store, Records: n.records, Refs: n.refs, Remove: n.service.RemoveRecord, Now: n.now,
	}))
	n.tasks, err = task.New(task.Config{KV: n.kv, Members: n.member, Kinds: w.plant.kinds(kinds), Now: n.now, Poll: 4 * time.Second})
	if err != nil {
		w.t.Fatal(err)
	}
	n.work.Go(func() { n.tasks.Run(n.ctx) })
	w.locked(func() { w.lives[client] = n })
	w.count("life")
	return n, nil
}

// furnish makes what a process stands on.
func (n *node) furnish() {
	n.service = n.serve(n.now)
	// History is kept for an hour and ten minutes at the least. A simulation is
	// shorter: its pruner is ahead of its time.
	n.pruner = n.serve(func() time.Time { return n.now().Add(70*time.Minute - simHistory) })
	c := gc.Config{KV: n.kv, Registry: n.reg, Store: n.service.Store, Records: n.records, Refs: n.refs, Now: n.now, Random: n.world}
	if n.member != nil {
		c.Ready = n.member.WriteReady
	}
	n.gc = gc.New(c)
	n.gc.SetPlant(n.plant.gc)
}

func (n *node) serve(now func() time.Time) *repo.Service {
	c := repo.Config{
		KV: n.kv, Registry: n.reg, Formats: []formats.Format{raw.New(), ledger{}}, Records: n.records, Refs: n.refs,
		Upstream: n.remote, Now: now, Random: n.world, CacheBytes: 64 << 10,
		OpenStore: func(_ context.Context, c *config.Store) (blob.Store, error) {
			return blobGate{n.stores[c.Name].blobs, n}, nil
		},
	}
	if n.member != nil {
		c.Leases, c.Writable = n.member, n.member.WriteReady
	}
	s, err := repo.New(c)
	if err != nil {
		n.t.Fatal(err)
	}
	return s
}

// die ends the process in the midst of whatever it does.
func (n *node) die() {
	n.dmu.Lock()
	n.dead = true
	n.dmu.Unlock()
	n.cancel()
}

// close waits for what the process has begun.
func (n *node) close() {
	n.locked(func() {
		if n.lives[n.client] == n {
			delete(n.lives, n.client)
		}
	})
	n.cancel()
	n.work.Wait()
	ctx := context.WithoutCancel(n.ctx)
	if n.member != nil {
		n.member.Close(ctx) //nolint:errcheck // it may be dead
	}
	n.service.Close(ctx) //nolint:errcheck // never fails without an end of ctx
	n.pruner.Close(ctx)  //nolint:errcheck // as above
	n.remote.Close()
}

func (n *node) alive() error {
	n.dmu.Lock()
	defer n.dmu.Unlock()
	if n.dead {
		return errDead
	}
	return nil
}

func (n *node) pass(ctx context.Context) error {
	time.Sleep(n.wait())
	if err := n.alive(); err != nil {
		return err
	}
	return ctx.Err()
}

// nodeKey is under what a context has its node.
type nodeKey struct{}

// promptKey is under what a context says that its write is a prompt one.
type promptKey struct{}

// pauseOf is how a call pauses: that of a process which has died meanwhile is
// never carried out. A prompt one lands before its history would be pruned.
func pauseOf(ctx context.Context, d time.Duration) error {
	if ctx.Value(promptKey{}) != nil {
		d = min(d, simHistory/2)
	}
	time.Sleep(d)
	if n, ok := ctx.Value(nodeKey{}).(*node); ok && n.alive() != nil {
		return errDead
	}
	return ctx.Err()
}

// gate is a node's way to the key-value store.
type gate struct {
	kv.Store
	n *node
}

func (g gate) Traits() kv.Traits { return kv.Traits{Inline: 8, Shards: 2} }

// as says whose call it is.
func (g gate) as(ctx context.Context) context.Context { return context.WithValue(ctx, nodeKey{}, g.n) }

func (g gate) Get(ctx context.Context, key kv.Key, opts ...kv.ReadOption) (kv.Item, error) {
	if err := g.n.pass(ctx); err != nil {
		return kv.Item{}, err
	}
	item, err := g.Store.Get(g.as(ctx), key, opts...)
	return item, errors.Join(err, g.n.alive())
}

func (g gate) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	time.Sleep(g.n.dwell(item.Partition, true))
	if err := g.n.pass(ctx); err != nil {
		return err
	}
	as := g.as(ctx)
	if prompt(item.Key, old) {
		as = context.WithValue(as, promptKey{}, true)
	}
	if err := g.Store.PutIf(as, item, old); err != nil {
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
	return g.Store.DeleteIf(g.as(ctx), key, old)
}

func (g gate) Query(ctx context.Context, partition, from, to string, opts ...kv.ReadOption) iter.Seq2[kv.Item, error] {
	return func(yield func(kv.Item, error) bool) {
		time.Sleep(g.n.dwell(partition, false))
		err := g.n.pass(ctx)
		if err == nil && g.n.breaks(partition) {
			err = errBroken
		}
		if err != nil {
			yield(kv.Item{}, err)
			return
		}
		g.Store.Query(g.as(ctx), partition, from, to, opts...)(yield)
	}
}

// blobGate is a node's way to the blobs.
type blobGate struct {
	blob.Store
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
