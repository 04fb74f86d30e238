package model

import "fmt"

// collect makes the collector's next step.
func (s *search) collect(n node) {
	next := n.state
	say := func(what string) string { return fmt.Sprintf("round %d %s", next.round, what) }
	switch next.pc {
	case resting:
		if int(next.round) == s.limits.Rounds || !next.graced && s.fault != EarlyGrace {
			return
		}
		next.round++
		next.pc, next.marked, next.young, next.listing = scanA0, false, false, 0
		if next.named() {
			next.quiet = 0
		} else {
			next.quiet++
		}
		s.push(next, n.way, say("begins its mark"))
	case scanA0, scanB0, scanA1, scanB1:
		s.scan(next, n.way, say)
	case judge:
		s.judge(next, n.way, say)
	case carry, drop, forget:
		s.carry(next, n.way, say)
	case closing:
		next.pc, next.work = resting, pending{}
		given := next
		next.listed, next.listing = next.listing, 0
		if s.fault != EarlyGrace {
			next.graced = false
		}
		s.push(next, n.way, say("is closed"))
		// Cancelled before it was closed: its lists count for nothing, those of the
		// round before still do, and no grace is needed.
		given.listing, given.quiet = 0, 0
		s.push(given, n.way, say("is given up"))
	}
}

// scan reads the records or the history of a partition.
func (s *search) scan(next state, way *step, say func(string) string) {
	p := 0
	if next.pc == scanA1 || next.pc == scanB1 {
		p = 1
	}
	records := next.pc == scanA0 || next.pc == scanA1
	if s.fault == HistoryFirst {
		records = !records
	}
	what, found := "history", next.history[p] != 0
	if records {
		what, found = "records", next.rec[p] != 0
	}
	next.marked = next.marked || found
	next.pc++
	s.push(next, way, say(fmt.Sprintf("reads the %s in %d", what, p)))
}

// judge decides on the reference. The decision may be carried out by a worker
// that wakes up late, besides by this one.
func (s *search) judge(next state, way *step, say func(string) string) {
	op := nothing
	listed := next.listed != 0 && next.version == next.listed || s.fault == ByState && next.round > 1
	switch {
	case next.ref == absent:
	case next.ref == deleting:
		op = dropDoomed
	case next.marked && next.ref == condemned:
		op = acquit
	case next.marked:
	case next.ref == condemned && listed && s.fault == EarlyGrace && !next.graced:
		next.listing = next.version
	case next.ref == condemned && listed:
		op = doom
	case next.ref == condemned:
		next.listing = next.version
	case !next.young:
		op = condemn
	}
	if op == nothing {
		next.pc = closing
		s.push(next, way, say("has nothing to do"))
		return
	}
	next.work = pending{op, next.version, next.blob}
	next.pc = carry
	s.push(next, way, say("decides"))
	if s.limits.Sleeper && next.late.op == nothing {
		next.late = next.work
		s.push(next, way, say("decides, and so does a worker that falls asleep"))
	}
}

// carry carries the decision out, a write at a time.
func (s *search) carry(next state, way *step, say func(string) string) {
	w := next.work
	next.work = s.apply(&next, w)
	switch {
	case next.work.op != nothing:
		next.pc = carry
	default:
		next.pc = closing
	}
	if w.op == condemn && next.ref == condemned && next.work.op == nothing && next.young {
		next.listing = next.version
		if s.fault == EarlyGrace {
			next.graced = false
		}
	}
	s.push(next, way, say("carries out its decision"))
}

// wake lets the worker that fell asleep make a step.
func (s *search) wake(n node) {
	if n.state.late.op == nothing {
		return
	}
	next := n.state
	next.quiet = 0
	next.late = s.apply(&next, next.late)
	s.push(next, n.way, "the late worker carries out its decision")
}

// apply makes one write of a decision and returns what is left of it.
func (s *search) apply(st *state, w pending) pending {
	switch w.op {
	case condemn, acquit, doom:
		if st.ref == absent || st.version != w.version {
			return pending{}
		}
		to := map[uint8]uint8{condemn: condemned, acquit: live, doom: deleting}[w.op]
		if s.fault == Restart && (w.op == condemn && st.ref != live || w.op != condemn && st.ref != condemned) {
			return pending{} // the state is looked at, the version is what is doubtful
		}
		st.put(to, st.blob, s.fault)
		if w.op == doom {
			return pending{dropDoomed, st.version, st.blob}
		}
		return pending{}
	case dropDoomed:
		st.blobs &^= 1 << w.blob
		return pending{forgetDoomed, w.version, w.blob}
	case forgetDoomed:
		if st.ref != absent && st.version == w.version {
			st.ref, st.version, st.blob, st.young = absent, 0, 0, false
		}
	}
	return pending{}
}
