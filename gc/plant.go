package gc

// plant is a fault that a test plants in order to see that it is caught.
type plant uint8

const (
	plantNone         plant = iota
	plantGrace              // the grace runs from condemning, not from the end of the sweep
	plantState              // deletion goes by state, not by the listed version
	plantCursor             // a mark that is taken over goes on where it was left
	plantHistoryFirst       // history is read before records
	plantNoFilter           // a filter that is missing is passed over
	plantStaleMark          // the mark takes stale reads
	plantBucket             // the bucket pass goes by references alone
	plantLate               // a late worker closes its part in the round that is on by then
)

// skipped is how much of a part of a mark is left out when it is done again:
// nothing.
func (w *worker) skipped(part string) int {
	if w.plant != plantCursor {
		return 0
	}
	n, _ := w.left.Load(string(w.round.ID) + part)
	at, _ := n.(int)
	return at
}

// interrupted is told where a mark ended before its end.
func (w *worker) interrupted(part string, at int) {
	if w.plant == plantCursor {
		w.left.Store(string(w.round.ID)+part, at)
	}
}
