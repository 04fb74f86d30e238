package refs

import "sync/atomic"

// Stats count what uses came to since the start.
type Stats struct {
	Stored  int64 // new content
	Dedup   int64 // known content
	Lost    int64 // references whose blob was found missing or wrong
	Healed  int64 // contents stored again in the place of lost or deleted ones
	Revived int64 // condemned references made live again
	Raced   int64 // own bytes given up because another upload of the same content was first
}

type counters struct{ stored, dedup, lost, healed, revived, raced atomic.Int64 }

// Stats returns the numbers so far.
func (k *Keeper) Stats() Stats {
	c := &k.stats
	return Stats{
		Stored: c.stored.Load(), Dedup: c.dedup.Load(), Lost: c.lost.Load(),
		Healed: c.healed.Load(), Revived: c.revived.Load(), Raced: c.raced.Load(),
	}
}
