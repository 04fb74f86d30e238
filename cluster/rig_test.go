package cluster

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"granary/kv"
	"granary/kv/mem"
)

// line is a node's own way to the store: it can be cut, held up and slow.
type line struct {
	inner kv.Store

	mu    sync.Mutex
	err   error         // guarded by mu: every call fails
	held  chan struct{} // guarded by mu: every call waits until it is closed
	delay time.Duration // guarded by mu: before and after every call
}

var errCut = errors.New("line is cut")

func (l *line) set(f func()) { l.mu.Lock(); defer l.mu.Unlock(); f() }
func (l *line) cut()         { l.set(func() { l.err = errCut }) }
func (l *line) mend()        { l.set(func() { l.err = nil }) }

// hold stops the node as SIGSTOP would, as far as it can be seen from outside.
func (l *line) hold() (resume func()) {
	held := make(chan struct{})
	l.set(func() { l.held = held })
	return func() { l.set(func() { l.held = nil }); close(held) }
}

func (l *line) store() kv.Store { l.mu.Lock(); defer l.mu.Unlock(); return l.inner }

func (l *line) pass() error {
	l.mu.Lock()
	err, held, delay := l.err, l.held, l.delay
	l.mu.Unlock()
	if held != nil {
		<-held
	}
	time.Sleep(delay)
	return err
}

func (l *line) Get(ctx context.Context, key kv.Key, opts ...kv.ReadOption) (kv.Item, error) {
	if err := l.pass(); err != nil {
		return kv.Item{}, err
	}
	item, err := l.store().Get(ctx, key, opts...)
	return item, errors.Join(err, l.back())
}

func (l *line) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	if err := l.pass(); err != nil {
		return err
	}
	if err := l.store().PutIf(ctx, item, old); err != nil {
		return err
	}
	return l.back()
}

func (l *line) DeleteIf(ctx context.Context, key kv.Key, old kv.Version) error {
	if err := l.pass(); err != nil {
		return err
	}
	return l.store().DeleteIf(ctx, key, old)
}

func (l *line) Query(ctx context.Context, partition, from, to string, opts ...kv.ReadOption) iter.Seq2[kv.Item, error] {
	return func(yield func(kv.Item, error) bool) {
		if err := l.pass(); err != nil {
			yield(kv.Item{}, err)
			return
		}
		l.store().Query(ctx, partition, from, to, opts...)(yield)
		l.back() //nolint:errcheck // only its delay
	}
}

func (l *line) back() error {
	l.mu.Lock()
	delay := l.delay
	l.mu.Unlock()
	time.Sleep(delay)
	return nil
}

func (l *line) Put(context.Context, kv.Item) error        { return errors.New("a blind write") }
func (l *line) Delete(context.Context, kv.Key) error      { return errors.New("a blind delete") }
func (l *line) BatchPut(context.Context, []kv.Item) error { return errors.New("a blind write") }

// member is a node under test with the configuration that it has loaded.
type member struct {
	*Node
	line   *line
	loads  atomic.Int64
	loaded atomic.Int64
}

// world is what the nodes share; value stands for the whole configuration.
type world struct {
	t     *testing.T
	store *mem.Store
	value atomic.Int64
}

func newWorld(t *testing.T) *world {
	return &world{t: t, store: mem.New(mem.Options{Misuse: func(err error) { t.Error(err) }})}
}

func (w *world) join(change ...func(*Config, *member)) *member {
	w.t.Helper()
	m := &member{line: &line{inner: w.store}}
	c := Config{KV: m.line, Version: "1.0"}
	c.Load = func(context.Context) error {
		m.loaded.Store(w.value.Load())
		m.loads.Add(1)
		return nil
	}
	for _, f := range change {
		f(&c, m)
	}
	node, err := Join(w.t.Context(), c)
	if err != nil {
		w.t.Fatalf("Join: %v", err)
	}
	m.Node = node
	return m
}

func (w *world) close(members ...*member) {
	w.t.Helper()
	for _, m := range members {
		if err := m.Close(context.WithoutCancel(w.t.Context())); err != nil {
			w.t.Errorf("Close: %v", err)
		}
	}
}

// records returns the number of registered nodes.
func (w *world) records() (n int) {
	for _, err := range w.store.Query(w.t.Context(), kv.NodePartition, "", "") {
		if err != nil {
			w.t.Fatal(err)
		}
		n++
	}
	return n
}

func wantReady(t *testing.T, m *member) {
	t.Helper()
	if err := m.Ready(); err != nil {
		t.Errorf("Ready = %v, want nil", err)
	}
}

func wantUnready(t *testing.T, m *member) {
	t.Helper()
	if err := m.Ready(); !errors.Is(err, ErrNotReady) {
		t.Errorf("Ready = %v, want ErrNotReady", err)
	}
}

// took runs f and returns how long it took in the bubble's time.
func took(f func()) time.Duration {
	begin := time.Now()
	f()
	return time.Since(begin)
}

func (w *world) changed(m *member) time.Duration {
	w.t.Helper()
	return took(func() {
		if err := m.Changed(w.t.Context()); err != nil {
			w.t.Errorf("Changed: %v", err)
		}
	})
}

func infoOf(t *testing.T, by, of *member) (Info, bool) {
	t.Helper()
	all, err := by.Nodes(t.Context())
	if err != nil {
		t.Fatalf("Nodes: %v", err)
	}
	for _, i := range all {
		if i.ID == of.ID() {
			return i, true
		}
	}
	return Info{}, false
}
