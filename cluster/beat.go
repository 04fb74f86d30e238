package cluster

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"granary/kv"
)

// record is a node as stored.
type record struct {
	kv.Extra `cbor:"-"`

	Version string `cbor:"1,keyasint,omitempty"`
	Started int64  `cbor:"2,keyasint"` // Unix milliseconds
	Wall    int64  `cbor:"3,keyasint"` // Unix microseconds when this beat was made
	Took    int64  `cbor:"4,keyasint"` // microseconds from making the beat before to knowing that it is stored
	Seq     uint64 `cbor:"5,keyasint"` // of beats
	Epoch   uint64 `cbor:"6,keyasint"` // of the configuration that is loaded
}

// beats keeps the node's record fresh until ctx ends.
func (n *Node) beats(ctx context.Context) {
	timer := time.NewTimer(n.interval())
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-n.dirty:
		}
		// Nothing that takes longer is worth waiting for.
		once, cancel := context.WithTimeout(ctx, n.c.Beat)
		err := n.beat(once)
		cancel()
		switch {
		case err == nil:
			timer.Reset(n.interval())
		case errors.Is(err, errLost) && ctx.Err() == nil:
			n.c.Log.WarnContext(ctx, "node has a twin or was taken for dead: it goes on under a new id", "node", n.ID())
			n.rename()
			timer.Reset(0)
		default:
			timer.Reset(n.c.Poll)
		}
		n.forgetWatched()
	}
}

// interval is the time to the next beat: varied, so that beats of different
// nodes fall into all phases of each other's polls, see offsets.
func (n *Node) interval() time.Duration {
	return n.c.Beat - rand.N(n.c.Beat/5+1)
}

// rename begins a life under a new id, without leases. It is not ready until
// the id is registered and a poll that began after that was good.
func (n *Node) rename() {
	id := n.c.NewID()
	n.own = &cell{store: n.c.KV, key: kv.Node(id)}
	n.mu.Lock()
	n.status = status{id: id, life: n.status.life + 1, ended: n.status.ended}
	held := n.held()
	clear(n.leases)
	n.mu.Unlock()
	for _, l := range held {
		l.lose()
	}
}

// beat writes the node's record. errLost means that it is no longer ours.
func (n *Node) beat(ctx context.Context) error {
	began := n.clock.at()
	n.seq++
	if n.own.pending != nil {
		n.seq++ // Took is not about the beat before: let nobody conclude anything from it
	}
	rec := record{
		Version: n.c.Version,
		Started: n.clock.start.UnixMilli(),
		Wall:    n.c.Now().UnixMicro(),
		Took:    n.took.Microseconds(),
		Seq:     n.seq,
	}
	n.mu.Lock()
	rec.Epoch = n.loaded.number
	n.mu.Unlock()
	err := n.own.write(ctx, &rec, time.Time{})
	n.took = n.clock.since(began)
	if n.spared(err) {
		err = nil
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.status.beatProblem = err
	if err != nil {
		return err
	}
	n.status.beat = began
	if !n.status.registered {
		n.status.registered = true
		n.status.life++ // polls under way don't count
		n.status.polled = false
		poke(n.kick)
	}
	return nil
}

// poke asks for something that is done once, however often it is asked for.
func poke(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
