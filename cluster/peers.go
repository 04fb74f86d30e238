package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"granary/kv"
)

// peer is another node as last read.
type peer struct {
	version kv.Version
	record  record
	since   time.Duration // monotonic time since when it is known to be silent
	offsets offsets
}

// reading is a look at all nodes: when it began and ended, by both clocks.
type reading struct {
	done             bool
	begin, end       time.Duration
	beginAt, endedAt time.Time
}

// Silence longer than this fraction of Dead between two readings is ours, not
// the others': the store was away, or this process was.
const maxGap = 4

// Records of nodes that have been dead for this many times Dead are removed.
const forgetAfter = 10

// observe reads all nodes consistently and judges what has become of them.
func (n *Node) observe(ctx context.Context) error {
	select {
	case n.reading <- struct{}{}:
		defer func() { <-n.reading }()
	case <-ctx.Done():
		return fmt.Errorf("read nodes: %w", ctx.Err())
	}
	now := reading{done: true, begin: n.clock.mono(), beginAt: n.c.Now()}
	found := map[string]*peer{}
	for item, err := range n.c.KV.Query(ctx, kv.NodePartition, "", "", kv.Consistent) {
		if err != nil {
			return fmt.Errorf("read nodes: %w", err)
		}
		p := &peer{version: item.Version}
		if err := kv.Unmarshal(item.Value, &p.record); err != nil {
			return fmt.Errorf("read node %s: %w", item.Sort, err)
		}
		found[item.Sort] = p
	}
	now.end, now.endedAt = n.clock.mono(), n.c.Now()
	n.remove(ctx, n.apply(found, now))
	return nil
}

// apply takes over a reading and returns the nodes that are long dead.
func (n *Node) apply(found map[string]*peer, now reading) map[string]kv.Version {
	n.mu.Lock()
	defer n.mu.Unlock()
	before := n.read
	n.read = now
	delete(found, n.status.id)
	away := now.begin - before.end - n.c.Dead/maxGap
	stepped := before.done && stepped(before, now)
	forgotten := map[string]kv.Version{}
	for id, p := range found {
		old := n.peers[id]
		switch {
		case old == nil:
			p.since = now.end
			p.offsets.beat(p.record, time.Time{}, now.endedAt)
		case old.version == p.version:
			*p = *old
			if before.done && away > 0 {
				p.since += away
			}
		default:
			p.since, p.offsets = now.end, old.offsets
			p.offsets.landed(old.record, p.record)
			p.offsets.beat(p.record, before.beginAt, now.endedAt)
		}
		if stepped {
			p.offsets = offsets{}
		}
		if n.silence(p) >= forgetAfter*n.c.Dead {
			forgotten[id] = p.version
		}
	}
	n.peers = found
	return forgotten
}

// remove removes the records of nodes that are long dead. One that comes back
// finds out, and goes on under a new id.
func (n *Node) remove(ctx context.Context, nodes map[string]kv.Version) {
	for id, version := range nodes {
		err := n.c.KV.DeleteIf(ctx, kv.Node(id), version)
		if err != nil && !errors.Is(err, kv.ErrConflict) {
			n.c.Log.WarnContext(ctx, "could not remove a dead node", "node", id, "error", err)
		}
	}
}

// silence is how long a node has been silent at the last reading; mu is held.
// That the version did not change between two consistent reads proves it.
func (n *Node) silence(p *peer) time.Duration { return max(0, n.read.begin-p.since) }

func (n *Node) alive(p *peer) bool { return n.silence(p) < n.c.Dead }

// Info is what is known of a node.
type Info struct {
	ID      string
	Version string        // of its binary
	Started time.Time     // by its own clock
	Uptime  time.Duration // by the clock of its last beat
	Epoch   uint64        // of the configuration that it has loaded
	Silent  time.Duration
	Alive   bool
	Self    bool
}

// Nodes reads all nodes, in order of their ids.
func (n *Node) Nodes(ctx context.Context) ([]Info, error) {
	if err := n.observe(ctx); err != nil {
		return nil, err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	all := []Info{{
		ID: n.status.id, Version: n.c.Version, Started: n.clock.start.UTC(), Epoch: n.loaded.number, Uptime: n.c.Now().Sub(n.clock.start),
		Silent: n.clock.since(n.status.beat), Alive: true, Self: true,
	}}
	for id, p := range n.peers {
		all = append(all, Info{
			ID: id, Version: p.record.Version, Started: time.UnixMilli(p.record.Started).UTC(), Epoch: p.record.Epoch,
			Uptime: time.UnixMicro(p.record.Wall).Sub(time.UnixMilli(p.record.Started)) + n.silence(p), Silent: n.silence(p), Alive: n.alive(p),
		})
	}
	slices.SortFunc(all, func(a, b Info) int { return cmp.Compare(a.ID, b.ID) })
	return all, nil
}
