package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"granary/kv"
)

// epoch is a state of the configuration. Versions tell two apart, numbers tell
// which is later.
type epoch struct {
	version kv.Version // "": there never was a change
	number  uint64
	known   bool // something was loaded
}

// epochRecord is the epoch as stored.
type epochRecord struct {
	kv.Extra `cbor:"-"`

	Number uint64 `cbor:"1,keyasint"` // max(the one before + 1, Unix milliseconds)
}

func readEpoch(item kv.Item) (epoch, error) {
	var rec epochRecord
	if err := kv.Unmarshal(item.Value, &rec); err != nil {
		return epoch{}, fmt.Errorf("read configuration epoch: %w", err)
	}
	return epoch{version: item.Version, number: rec.Number}, nil
}

// epoch reads the current epoch consistently.
func (n *Node) epoch(ctx context.Context) (epoch, error) {
	item, err := n.c.KV.Get(ctx, kv.Epoch(), kv.Consistent)
	switch {
	case errors.Is(err, kv.ErrNotFound):
		return epoch{}, nil
	case err != nil:
		return epoch{}, fmt.Errorf("read configuration epoch: %w", err)
	}
	return readEpoch(item)
}

// loadTimeout bounds one load.
const loadTimeout = 30 * time.Second

// watch polls the epoch and looks at the other nodes until ctx ends.
func (n *Node) watch(ctx context.Context) {
	ticker := time.NewTicker(n.c.Poll)
	defer ticker.Stop()
	reloaded, rounds := n.clock.mono(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-n.kick:
		}
		if n.poll(ctx) != nil {
			continue // Ready tells
		}
		if n.clock.mono()-reloaded >= n.c.Reload {
			reloaded = n.clock.mono()
			n.reload(ctx)
		}
		if rounds++; rounds >= n.round() && !n.c.Embedded {
			rounds = 0
			once, cancel := context.WithTimeout(ctx, n.c.Stale)
			if err := n.observe(once); err != nil && ctx.Err() == nil {
				n.c.Log.WarnContext(ctx, "could not look at the other nodes", "error", err)
			}
			cancel()
		}
	}
}

// round is how many polls come between two looks at the other nodes: one in a
// small cluster, more in a large one, so that what they read stays small.
func (n *Node) round() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return 1 + len(n.peers)/25
}

// poll looks at the epoch and loads if it is a new one.
func (n *Node) poll(ctx context.Context) error {
	began := n.clock.at()
	n.mu.Lock()
	life, loaded := n.status.life, n.loaded
	n.mu.Unlock()

	once, cancel := context.WithTimeout(ctx, n.c.Stale)
	now, err := n.epoch(once)
	cancel()
	if err == nil && (!loaded.known || now.version != loaded.version) {
		now.known = true
		err = n.load(ctx)
	} else if err == nil {
		now = loaded
	}

	n.mu.Lock()
	defer n.mu.Unlock()
	n.status.pollProblem = err
	if err != nil {
		return err
	}
	if now != n.loaded {
		n.loaded = now
		poke(n.dirty)
	}
	if n.status.registered && n.status.life == life {
		n.status.polled, n.status.fresh = true, began
	}
	return nil
}

func (n *Node) load(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	if err := n.c.Load(ctx); err != nil {
		return fmt.Errorf("load configuration: %w", err)
	}
	return nil
}

// reload loads although the epoch says that nothing has changed: who changed
// something may have died before it could say so.
func (n *Node) reload(ctx context.Context) {
	if err := n.load(ctx); err != nil && ctx.Err() == nil {
		n.c.Log.WarnContext(ctx, "could not reload the configuration, which has not changed as far as is known", "error", err)
	}
}

// Changed tells every node that the configuration was changed, and returns
// when it holds everywhere: each live node has loaded it, or has become unready.
func (n *Node) Changed(ctx context.Context) error {
	number, err := n.bump(ctx)
	if err != nil {
		return fmt.Errorf("announce change of configuration: %w", err)
	}
	// A node whose last good poll is older than Stale is not ready. After this
	// time such a poll began after the epoch was written, and so has met it;
	// the tenth is for clocks that run unevenly.
	begin, longest := n.clock.mono(), n.c.Stale+n.c.Stale/10
	poke(n.kick)
	for wait := n.c.Stale / 500; ; wait = min(2*wait, n.c.Stale/25) {
		if n.shown(ctx, number) {
			return nil
		}
		left := longest - (n.clock.mono() - begin)
		if left <= 0 {
			return nil
		}
		if !sleep(ctx, min(wait, left)) {
			return fmt.Errorf("wait until a change of configuration holds everywhere: %w", context.Cause(ctx))
		}
	}
}

// bump writes a new epoch and returns its number. An epoch that somebody else
// writes meanwhile is as good: whoever loads for it reads our change too.
func (n *Node) bump(ctx context.Context) (uint64, error) {
	before, err := n.epoch(ctx)
	if err != nil {
		return 0, err
	}
	number := max(before.number+1, uint64(max(0, n.c.Now().UnixMilli())))
	c := &cell{store: n.c.KV, key: kv.Epoch(), version: before.version}
	err = c.write(ctx, &epochRecord{Number: number}, time.Time{})
	if !errors.Is(err, errLost) {
		return number, err
	}
	item, err := kv.Current(ctx, n.c.KV, kv.Epoch(), err)
	if err != nil {
		return 0, fmt.Errorf("read configuration epoch: %w", err)
	}
	now, err := readEpoch(item)
	return now.number, err
}

// shown reports whether this node has loaded an epoch and all live others show
// that they have.
func (n *Node) shown(ctx context.Context, number uint64) bool {
	n.mu.Lock()
	own := n.loaded.number >= number
	n.mu.Unlock()
	if !own || n.c.Embedded {
		return own
	}
	ctx, cancel := context.WithTimeout(ctx, n.c.Stale)
	defer cancel()
	if n.observe(ctx) != nil {
		return false // not known: wait as long as it takes to be sure
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.peers {
		if p.record.Epoch < number && n.alive(p) {
			return false
		}
	}
	return true
}

// Ready returns an error (ErrNotReady) when this node may have missed a change
// of configuration that others take for done.
func (n *Node) Ready() error {
	n.mu.Lock()
	s := n.status
	n.mu.Unlock()
	// Others don't wait for a node that they take for dead.
	deadline := max(n.c.Dead-n.c.Stale, n.c.Dead/2)
	now := n.clock.at()
	switch {
	case s.ended:
		return fmt.Errorf("%w: it is closed", ErrNotReady)
	case !s.registered || !s.polled:
		return notReady("it has not loaded the configuration since it joined", errors.Join(s.pollProblem, s.beatProblem))
	case now.sub(s.fresh) > n.c.Stale:
		return notReady("it does not know whether the configuration has changed", s.pollProblem)
	case now.sub(s.beat) > deadline:
		return notReady("the other nodes may take it for dead", s.beatProblem)
	}
	return nil
}

func notReady(why string, cause error) error {
	if cause == nil {
		return fmt.Errorf("%w: %s", ErrNotReady, why)
	}
	return fmt.Errorf("%w: %s: %w", ErrNotReady, why, cause)
}
