package cluster

import (
	"fmt"
	"math"
	"time"
)

// offsets bounds how far a peer's wall clock is ahead of ours. A beat says
// what its clock showed when it was made. That was before we read it, which
// bounds the offset from below; and it was stored after our reading before,
// and made not longer before that than it took, which the next beat tells:
// that bounds it from above. Nothing is assumed about how fast the store is.
//
// The bounds of the last few beats together are tighter than each. They are
// sound as long as no clock is set in between; when they contradict each other
// one was, and the last beat alone counts.
type offsets struct {
	bounds [4]bound
	n      int // of bounds that are set; the latest is first
	// The latest beat: when our last reading without it began. Zero: not known.
	before time.Time
}

// bound is what one beat says, in microseconds.
type bound struct{ least, most int64 }

// beat takes in a new beat, which a reading that began at before did not show
// and one that ended at after did.
func (o *offsets) beat(r record, before, after time.Time) {
	copy(o.bounds[1:], o.bounds[:])
	o.bounds[0] = bound{least: r.Wall - after.UnixMicro(), most: math.MaxInt64}
	o.n = min(o.n+1, len(o.bounds))
	o.before = before
	o.reconcile()
}

// landed takes in what next says about the beat before it.
func (o *offsets) landed(last, next record) {
	if o.n == 0 || o.before.IsZero() || next.Seq != last.Seq+1 {
		return
	}
	o.bounds[0].most = last.Wall - o.before.UnixMicro() + next.Took
	o.reconcile()
}

func (o *offsets) reconcile() {
	if b := o.all(); b.least > b.most {
		o.n = 1
	}
}

func (o *offsets) all() bound {
	all := bound{math.MinInt64, math.MaxInt64}
	for _, b := range o.bounds[:o.n] {
		all.least, all.most = max(all.least, b.least), min(all.most, b.most)
	}
	return all
}

// apart reports whether the clocks certainly differ by more than limit.
func (o *offsets) apart(limit time.Duration) bool {
	b := o.all()
	return o.n > 0 && (b.least > limit.Microseconds() || b.most < -limit.Microseconds())
}

// stepped reports whether our own wall clock was set between two readings.
func stepped(before, now reading) bool {
	const tolerance = 50 * time.Millisecond
	wall := now.endedAt.Round(0).Sub(before.endedAt.Round(0))
	return (wall - (now.end - before.end)).Abs() > tolerance
}

// WriteReady returns an error when this node must not write: when it is not
// ready, or its clock certainly differs by more than Skew (ErrClock) from
// those of most of its live peers.
func (n *Node) WriteReady() error {
	if err := n.Ready(); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	judged, apart := 0, 0
	for _, p := range n.peers {
		if p.offsets.n == 0 || !n.alive(p) {
			continue
		}
		judged++
		if p.offsets.apart(n.c.Skew) {
			apart++
		}
	}
	if 2*apart > judged {
		return fmt.Errorf("%w: by more than %v from %d of %d", ErrClock, n.c.Skew, apart, judged)
	}
	return nil
}

// Health is what a node says about itself.
type Health struct {
	Node     string
	Problems []string // empty: all is well
}

// Health returns what is wrong with the node.
func (n *Node) Health() Health {
	h := Health{Node: n.ID()}
	if err := n.WriteReady(); err != nil {
		h.Problems = append(h.Problems, err.Error())
	}
	return h
}
