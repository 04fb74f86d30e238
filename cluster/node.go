package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"granary/kv"
)

var (
	// ErrNotReady is returned by a node that may have missed a change of
	// configuration: clients are told to come again.
	ErrNotReady = errors.New("cluster: node is not ready")
	// ErrClock is returned by a node whose clock disagrees with its peers'.
	ErrClock = errors.New("cluster: clock differs from the other nodes'")
)

// Config is what a node is made of. Times that are zero have their defaults.
type Config struct {
	KV kv.Store
	// Load reads the whole configuration: once in Join, at each new epoch, and
	// every Reload. It is not called concurrently. Optional.
	Load    func(ctx context.Context) error
	Version string // of the binary, shown to others
	// Embedded: no other process has the store. Whatever is registered or
	// leased in it when a node joins is left over from an earlier life.
	Embedded bool

	Beat   time.Duration // between beats, 30 s
	Dead   time.Duration // silence that is death, 90 s; at least twice Beat
	Poll   time.Duration // between looks at the epoch, 1 s
	Reload time.Duration // between loads whatever the epoch, 1 min
	Stale  time.Duration // age of the last good poll at which a node is not ready, 5 s; Changed waits a tenth longer
	Skew   time.Duration // difference of clocks at which a node takes no writes, 500 ms

	Now     func() time.Time     // wall clock; optional
	Elapsed func() time.Duration // a clock that never goes back or jumps; optional
	NewID   func() string        // id of a node, random; optional
	Log     *slog.Logger         // optional
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		value    *time.Duration
		fallback time.Duration
	}{
		{&c.Beat, 30 * time.Second},
		{&c.Dead, 90 * time.Second},
		{&c.Poll, time.Second},
		{&c.Reload, time.Minute},
		{&c.Stale, 5 * time.Second},
		{&c.Skew, 500 * time.Millisecond},
	} {
		if *d.value <= 0 {
			*d.value = d.fallback
		}
	}
	if c.Load == nil {
		c.Load = func(context.Context) error { return nil }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.NewID == nil {
		c.NewID = NewID
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return c
}

// NewID returns a random id for a node.
func NewID() string {
	var b [16]byte
	rand.Read(b[:]) //nolint:errcheck // never fails
	return hex.EncodeToString(b[:])
}

// Node is this process's membership. It is used concurrently.
type Node struct {
	c     Config
	clock clock

	own   *cell  // the node's record; owned by Join, then by the goroutine that beats, then by Close
	seq   uint64 // of beats; owned as own is
	took  time.Duration
	kick  chan struct{} // asks for a poll now
	dirty chan struct{} // asks for a beat now

	reading chan struct{} // held while the nodes are read, so that what is applied is in order

	mu      sync.Mutex
	status  status            // guarded by mu, as all below
	loaded  epoch             // remembered after the load
	peers   map[string]*peer  // the other nodes by id, as last read
	read    reading           // of the nodes, the last
	leases  map[string]*Lease // held or being acquired, by name
	watched map[string]watch  // leases of others, by name

	cancel context.CancelFunc
	work   sync.WaitGroup
	close  sync.Once
	closed error
}

// status is what a node knows about itself.
type status struct {
	id         string
	registered bool   // the record under id is there
	life       uint64 // grows with each registration
	ended      bool   // Close was called
	beat       moment // begin of the last acknowledged beat
	polled     bool   // a poll of this life was successful
	fresh      moment // begin of the last one
	// What was wrong with the last poll and the last beat, nil if they were good.
	pollProblem, beatProblem error
}

// Join registers a node, loads the configuration, and begins to beat and to
// watch. ctx bounds the joining only; [Node.Close] ends the node.
func Join(ctx context.Context, c Config) (*Node, error) {
	c = c.withDefaults()
	if c.Dead < 2*c.Beat {
		return nil, fmt.Errorf("join cluster: nodes are dead after %v, which must be at least twice the %v between beats", c.Dead, c.Beat)
	}
	n := newNode(c)
	if err := n.join(ctx); err != nil {
		return nil, fmt.Errorf("join cluster: %w", err)
	}
	// The node lives until Close, however long joining was allowed to take.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	n.cancel = cancel
	n.work.Go(func() { n.beats(running) })
	n.work.Go(func() { n.watch(running) })
	return n, nil
}

func newNode(c Config) *Node {
	return &Node{
		c: c, clock: clock{now: c.Now, elapsed: c.Elapsed, start: time.Now()},
		kick: make(chan struct{}, 1), dirty: make(chan struct{}, 1), reading: make(chan struct{}, 1),
		peers: map[string]*peer{}, leases: map[string]*Lease{}, watched: map[string]watch{},
	}
}

func (n *Node) join(ctx context.Context) error {
	if n.c.Embedded {
		if err := n.endOthers(ctx); err != nil {
			return err
		}
	}
	// Registered before the first load: a change from now on waits for us, and
	// an earlier one is in what we load.
	n.rename()
	err := n.beat(ctx)
	if err == nil {
		err = n.poll(ctx)
	}
	if err == nil {
		err = n.beat(ctx) // to show what was loaded
	}
	if err == nil && !n.c.Embedded {
		err = n.observe(ctx)
	}
	if err != nil {
		return errors.Join(err, n.unregister(ctx))
	}
	return nil
}

// endOthers removes the records of earlier nodes. Their leases need no
// removal: in an embedded store no lease of another node counts.
func (n *Node) endOthers(ctx context.Context) error {
	for item, err := range n.c.KV.Query(ctx, kv.NodePartition, "", "", kv.Consistent) {
		if err != nil {
			return fmt.Errorf("read nodes: %w", err)
		}
		err := n.c.KV.DeleteIf(ctx, item.Key, item.Version)
		if err != nil && !errors.Is(err, kv.ErrConflict) && !n.spared(err) {
			return fmt.Errorf("remove node %s: %w", item.Sort, err)
		}
	}
	return nil
}

// spared tells of a write that may be missing: nobody else looks at the nodes
// of an embedded store, and where it is full reading has to go on.
func (n *Node) spared(err error) bool { return n.c.Embedded && errors.Is(err, kv.ErrNoSpace) }

// unregister removes the node's record, with time of its own: others would
// have to wait for the node's death.
func (n *Node) unregister(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), n.c.Stale)
	defer cancel()
	return n.own.remove(ctx)
}

// ID returns the node's id. It changes if the node turns out to have a twin.
func (n *Node) ID() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.status.id
}

// Close ends the node: releases its leases, removes its record, and waits for
// its goroutines, as long as ctx allows. The first call's result is every call's.
func (n *Node) Close(ctx context.Context) error {
	n.close.Do(func() { n.closed = n.end(ctx) })
	return n.closed
}

func (n *Node) end(ctx context.Context) error {
	n.mu.Lock()
	n.status.ended = true
	held := n.held()
	n.mu.Unlock()
	n.cancel()
	done := make(chan struct{})
	go func() { n.work.Wait(); close(done) }() // ends with the work it waits for
	select {
	case <-done:
	case <-ctx.Done():
		return fmt.Errorf("close node: wait for its work: %w", ctx.Err())
	}
	var errs []error
	for _, l := range held {
		errs = append(errs, l.Release(ctx))
	}
	if err := errors.Join(append(errs, n.own.remove(ctx))...); err != nil && !errors.Is(err, errLost) && !n.spared(err) {
		return fmt.Errorf("close node: %w", err)
	}
	return nil
}
