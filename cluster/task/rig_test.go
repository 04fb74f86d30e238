package task_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"granary/cluster"
	"granary/cluster/task"
	"granary/kv"
	"granary/kv/mem"
)

// line is a node's way to the store; once it is cut nothing comes through, as
// if the process were dead, or paused for those who hold on to it.
type line struct {
	inner kv.Store

	mu  sync.Mutex
	cut bool                // guarded by mu
	bad func(kv.Key) error  // guarded by mu: fails deletes
	put func(kv.Item) error // guarded by mu: fails writes
}

var errCut = errors.New("line is cut")

func (l *line) set(f func()) { l.mu.Lock(); defer l.mu.Unlock(); f() }

func (l *line) store() kv.Store { l.mu.Lock(); defer l.mu.Unlock(); return l.inner }

func (l *line) pass() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cut {
		return errCut
	}
	return nil
}

func (l *line) Get(ctx context.Context, key kv.Key, opts ...kv.ReadOption) (kv.Item, error) {
	if err := l.pass(); err != nil {
		return kv.Item{}, err
	}
	return l.store().Get(ctx, key, opts...)
}

func (l *line) Put(ctx context.Context, item kv.Item) error { return errors.New("blind write") }

func (l *line) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	if err := l.pass(); err != nil {
		return err
	}
	l.mu.Lock()
	put := l.put
	l.mu.Unlock()
	if put != nil {
		if err := put(item); err != nil {
			return err
		}
	}
	return l.store().PutIf(ctx, item, old)
}

func (l *line) Delete(context.Context, kv.Key) error { return errors.New("blind delete") }

func (l *line) DeleteIf(ctx context.Context, key kv.Key, old kv.Version) error {
	if err := l.pass(); err != nil {
		return err
	}
	l.mu.Lock()
	bad := l.bad
	l.mu.Unlock()
	if bad != nil {
		if err := bad(key); err != nil {
			return err
		}
	}
	return l.store().DeleteIf(ctx, key, old)
}

func (l *line) Query(ctx context.Context, partition, from, to string, opts ...kv.ReadOption) iter.Seq2[kv.Item, error] {
	if err := l.pass(); err != nil {
		return func(yield func(kv.Item, error) bool) { yield(kv.Item{}, err) }
	}
	return l.store().Query(ctx, partition, from, to, opts...)
}

func (l *line) BatchPut(context.Context, []kv.Item) error { return errors.New("blind writes") }

// node is a process with a service.
type node struct {
	*task.Service
	line   *line
	member *cluster.Node
	stop   context.CancelFunc
	ended  chan struct{}
}

// world is a store and the nodes on it.
type world struct {
	t     *testing.T
	store kv.Store
	kind  *kind
	nodes []*node
}

func newWorld(t *testing.T) *world {
	return &world{t: t, store: mem.New(mem.Options{Misuse: func(err error) { t.Error(err) }}), kind: newKind()}
}

// inBubble runs f with virtual time and stops the nodes at its end.
func inBubble(t *testing.T, f func(w *world)) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		f(w)
		for _, n := range w.nodes {
			w.end(n)
		}
	})
}

func (w *world) join(change ...func(*task.Config)) *node {
	w.t.Helper()
	n := &node{line: &line{inner: w.store}, ended: make(chan struct{})}
	var err error
	n.member, err = cluster.Join(w.t.Context(), cluster.Config{KV: n.line, Version: "1.0"})
	if err != nil {
		w.t.Fatalf("Join: %v", err)
	}
	c := task.Config{KV: n.line, Members: n.member, Kinds: []task.Kind{w.kind}, Now: time.Now}
	for _, f := range change {
		f(&c)
	}
	if n.Service, err = task.New(c); err != nil {
		w.t.Fatalf("New: %v", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	n.stop = stop
	go func() { defer close(n.ended); n.Run(ctx) }()
	w.nodes = append(w.nodes, n)
	return n
}

// end stops a node in good order.
func (w *world) end(n *node) {
	n.stop()
	<-n.ended
	if err := n.member.Close(context.Background()); err != nil && !errors.Is(err, errCut) {
		w.t.Errorf("Close: %v", err)
	}
}

// kill cuts a node off, as kill -9 would, as far as others can see.
func (n *node) kill() { n.line.set(func() { n.line.cut = true }) }

func (w *world) start(n *node) task.Task {
	w.t.Helper()
	t, err := n.Start(w.t.Context(), w.kind.Name(), map[string]int{"n": 1}, "ann")
	if err != nil {
		w.t.Fatalf("Start: %v", err)
	}
	return t
}

// over waits until a task is over, as n sees it.
func (w *world) over(n *node, id string) task.Task {
	w.t.Helper()
	for range 3000 {
		t, err := n.Get(w.t.Context(), id)
		if err != nil {
			w.t.Fatalf("Get: %v", err)
		}
		if t.Status.Over() {
			return t
		}
		time.Sleep(time.Second)
	}
	w.t.Fatal("the task does not end")
	return task.Task{}
}

// watcher is an Observer that keeps what it was told.
type watcher struct {
	mu   sync.Mutex
	told map[string]int // guarded by mu
}

func (o *watcher) tell(what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.told == nil {
		o.told = map[string]int{}
	}
	o.told[what]++
}

func (o *watcher) times(what string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.told[what]
}

func (o *watcher) Began(kind string, overtaken bool) {
	o.tell("began " + kind)
	if overtaken {
		o.tell("overtook " + kind)
	}
}

func (o *watcher) Ended(kind, outcome string, _ time.Duration) { o.tell(outcome + " " + kind) }

func (o *watcher) Over(kind string, status task.Status, _ time.Duration) {
	o.tell(string(status) + " " + kind)
}

// count returns the number of items of a partition.
func (w *world) count(partition string) (n int) {
	w.t.Helper()
	for _, err := range w.store.Query(w.t.Context(), partition, "", "", kv.Consistent) {
		if err != nil {
			w.t.Fatal(err)
		}
		n++
	}
	return n
}

// kind is work that counts: each shard takes steps, one a second, and saves
// after each.
type kind struct {
	name  string
	plan  func(ctx context.Context) ([]string, error)
	step  func(ctx context.Context, w *task.Work, i int) error
	steps int
	// finish is asked before the result is made; optional.
	finish func(ctx context.Context) error

	mu     sync.Mutex
	done   map[string][]int // guarded by mu: saved steps by shard, in order
	epochs map[string][]uint64
	aborts int
}

func newKind() *kind {
	k := &kind{name: "count", steps: 3, done: map[string][]int{}, epochs: map[string][]uint64{}}
	k.plan = func(context.Context) ([]string, error) { return names(8), nil }
	k.step = func(ctx context.Context, _ *task.Work, _ int) error { return wait(ctx, time.Second) }
	return k
}

func names(n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprintf("shard-%02d", i))
	}
	return out
}

func wait(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

func (k *kind) Name() string { return k.name }

func (k *kind) Plan(ctx context.Context, _ *task.Task) ([]string, error) { return k.plan(ctx) }

func (k *kind) Run(ctx context.Context, w *task.Work) error {
	k.mu.Lock()
	k.epochs[w.Shard] = append(k.epochs[w.Shard], w.Epoch)
	k.mu.Unlock()
	from := 0
	if w.Cursor != nil {
		if err := json.Unmarshal(w.Cursor, &from); err != nil {
			return err
		}
	}
	for i := from; i < k.steps; i++ {
		if err := k.step(ctx, w, i); err != nil {
			return err
		}
		p := w.Progress
		p.CheckedBlobs++
		w.Result = fmt.Append(nil, i+1)
		err := w.Save(ctx, fmt.Append(nil, i+1), p)
		// A node that is stopped in a Save writes the cursor when it gives the
		// shard back.
		if err == nil || errors.Is(err, context.Canceled) && string(w.Cursor) == fmt.Sprint(i+1) {
			k.mu.Lock()
			k.done[w.Shard] = append(k.done[w.Shard], i)
			k.mu.Unlock()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// begun is how often a shard was begun.
func (k *kind) begun() (n int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, e := range k.epochs {
		n += len(e)
	}
	return n
}

type result struct {
	Steps int `json:"steps"`
}

func total(shards []task.ShardState) (n int, err error) {
	for _, s := range shards {
		if s.Result == nil {
			continue
		}
		var steps int
		if err := json.Unmarshal(s.Result, &steps); err != nil {
			return 0, err
		}
		n += steps
	}
	return n, nil
}

func (k *kind) Finish(ctx context.Context, _ *task.Task, shards []task.ShardState) (any, string, error) {
	if k.finish != nil {
		if err := k.finish(ctx); err != nil {
			return nil, "", err
		}
	}
	n, err := total(shards)
	return result{n}, fmt.Sprintf("%d steps", n), err
}

func (k *kind) Abort(_ context.Context, _ *task.Task, shards []task.ShardState) (any, string, error) {
	k.mu.Lock()
	k.aborts++
	k.mu.Unlock()
	n, err := total(shards)
	return result{n}, fmt.Sprintf("stopped after %d steps", n), err
}

// wantEach checks that each step of each shard was saved exactly once, in order.
func (k *kind) wantEach(t *testing.T, shards int) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.done) != shards {
		t.Errorf("%d shards were done, want %d", len(k.done), shards)
	}
	for shard, steps := range k.done {
		if len(steps) != k.steps {
			t.Errorf("%s: steps %v, want %d, each once", shard, steps, k.steps)
			continue
		}
		for i, n := range steps {
			if i != n {
				t.Errorf("%s: steps %v are not in order", shard, steps)
			}
		}
	}
}
