package gc

import (
	"context"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	"granary/kv"
)

// Pending is what the rounds so far say of content, and when the next may
// begin.
type Pending struct {
	Round  uint64    // number of the last closed round; 0: there was none
	Closed time.Time // its end, by the clock of the node that closed it
	// Next is when a next round's mark may begin at the earliest, as this node has
	// seen the last one end.
	Next time.Time
	// Running is the number of a round that has begun and is not closed; 0: none.
	Running uint64
	// Listed: the last closed round left the reference condemned in this very
	// version. The next sweep deletes it unless something needs it.
	Listed bool
}

// Pending says how far the collector is with the reference of some content, hash
// being its BLAKE3 in hex. Without a version only the rounds are told.
func (c *Collector) Pending(ctx context.Context, store, hash string, version kv.Version) (Pending, error) {
	r, _, err := c.current(ctx, false)
	if err != nil || r == nil {
		return Pending{}, err
	}
	last := r.closed()
	var p Pending
	if r.Closed == 0 {
		p.Running = r.Number
	}
	if last == nil {
		return p, nil
	}
	p.Round, p.Closed = last.Number, time.Unix(0, last.Closed)
	p.Next = c.Now().Add(c.graceLeft(last))
	if least := time.Unix(0, last.Started).Add(time.Duration(c.Registry.Settings().GCMinInterval) * time.Second); least.After(p.Next) {
		p.Next = least
	}
	p.Listed, err = c.listed(ctx, last, store, hash, version)
	return p, err
}

// listed tells whether a round left a reference condemned in a version.
func (c *Collector) listed(ctx context.Context, last *Summary, store, hash string, version kv.Version) (bool, error) {
	name, err := hex.DecodeString(hash)
	if version == "" || err != nil || len(name) == 0 {
		return false, nil //nolint:nilerr // what is no hash is on no list
	}
	digit := strings.IndexByte(hexDigits, hash[0])
	s, ok, err := outcome[swept](ctx, c, last.ID, sweepPart(store, max(digit, 0)))
	if err != nil || !ok {
		return false, err
	}
	rd, err := c.reader(ctx, last.ID, s.Lists[int(name[0])])
	if err != nil {
		return false, fmt.Errorf("read what round %d left condemned: %w", last.Number, err)
	}
	listed, ok, err := rd.find(ctx, name)
	return ok && listed == string(version), err
}
