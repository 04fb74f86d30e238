package gc_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"granary/blob"
	"granary/kv/chaos"
)

// swarm is what kind of world a seed makes: some do little of one thing and much
// of another, some are slow where others lose replies. What all worlds did alike
// would be found by none.
type swarm struct {
	work []int // operations, each as often as it weighs

	blobs   float64       // calls to the blob store that fail
	late    float64       // writes that land late
	pause   float64       // calls that pause
	lag     time.Duration // of stale reads
	stale   float64       // reads that are stale, of those that may be
	broken  int           // of 100 scans of records and the like, those that end in an error for good
	filters bool          // of the collector vanish

	slowReads  int // of 10 reads of records and the like, those that take seconds
	slowWrites int // of 10 writes of records
	slowParts  int // of 10 parts of a mark, and of 100 others
	giveUp     int // one in so many looks at a round gives it up
}

// The operations of a client.
const (
	doPut = iota
	doDelete
	doShared
	doPromote
	doPublish
	doPrune
	doCheck
	doMirror
	doSnapshot
	doPast
	doClone
	doBulk
	doMoveStore
	doConfigure
	doAudit
	doUpstream
	simOps
)

// usual is how often each is done, where it is.
var usual = [simOps]int{
	doPut: 12, doDelete: 8, doShared: 4, doPromote: 6, doPublish: 5, doPrune: 3, doCheck: 3, doMirror: 2,
	doSnapshot: 2, doPast: 2, doClone: 1, doBulk: 1, doMoveStore: 1, doConfigure: 1, doAudit: 1, doUpstream: 1,
}

func newSwarm(seed uint64) swarm {
	r := rand.New(rand.NewPCG(seed, 2))
	some := func(often, seldom int) int {
		if r.IntN(2) == 0 {
			return seldom
		}
		return often
	}
	s := swarm{
		blobs: 0.01, late: 0.01, pause: 0.0003, lag: 2 * time.Second, stale: 0.3,
		slowReads: some(0, 3), slowWrites: some(0, 3), slowParts: some(0, 2), giveUp: some(60, 15),
	}
	switch r.IntN(8) {
	case 0:
		s.blobs, s.giveUp = 0.02, 1000
	case 1, 2:
		s.late = 0.05
	case 3:
		s.pause = 0.001
	case 4:
		s.lag, s.stale = 3*simGrace, 0.8
	case 5:
		s.broken = 12
	case 6:
		s.filters, s.giveUp = true, 10
	}
	for op, n := range usual {
		switch {
		case op < doShared || op == doPrune || op == doCheck: // there is no life without
		case r.IntN(2) == 0:
			n = 0
		case r.IntN(3) == 0:
			n *= 3
		}
		for range n {
			s.work = append(s.work, op)
		}
	}
	return s
}

// chaos are the faults of the key-value store.
func (s swarm) chaos(seed uint64) chaos.Options {
	return chaos.Options{
		Seed: seed, Stale: s.stale, Lag: s.lag, Throttle: 0.01, Lost: 0.02, Late: s.late, Delay: 3 * simGrace,
		Pause: s.pause, MaxPause: 5 * simGrace, Now: time.Now, Prompt: prompt, Sleep: pauseOf,
	}
}

// errBroken is an error that no retry is made of.
var errBroken = errors.New("the connection broke")

// dwell is how much longer than others a call takes.
func (n *node) dwell(partition string, write bool) time.Duration {
	often, most := n.swarm.slowReads, 8*time.Second
	if write {
		often, most = n.swarm.slowWrites, simGrace/4
	}
	if often == 0 || !strings.ContainsRune("ahi", rune(partition[0])) || write && partition[0] != 'a' {
		return 0
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.calm || n.rng.IntN(10) >= often {
		return 0
	}
	return time.Duration(n.rng.Int64N(int64(most)))
}

// breaks tells whether a scan ends for good.
func (n *node) breaks(partition string) bool {
	if n.swarm.broken == 0 || !strings.ContainsRune("ahi", rune(partition[0])) {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.calm && n.rng.IntN(100) < n.swarm.broken
}

// loseFilters makes the filters of a mark vanish.
func (n *node) loseFilters(ctx context.Context) {
	for _, name := range []string{"default", "other"} {
		s := n.stores[name]
		for info := range s.memory.List(ctx, blob.WorkFolder) {
			if n.roll(2) == 0 {
				s.memory.Delete(ctx, info.ID) //nolint:errcheck // may be gone already
			}
		}
	}
	n.count("filters lost")
}
