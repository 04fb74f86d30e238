// Package model is a small model of the collector and of those who write
// meanwhile, searched exhaustively: one content, one reference, two partitions of
// records with their history, some uploads, deletes and moves, and four rounds.
// Every step of everybody may come between any two of everybody else's, and a
// worker of a sweep may wake up at any later time and carry out what it had
// decided.
//
// The search holds each state against what must be true always: an acknowledged
// record can be read until it is deleted; so can the history of one; and what
// nothing names any more is gone after two rounds. Variants of the rules, each
// with one sentence of them left out, must be found wrong: they are the model's
// own test.
package model

import "fmt"

// Limits bound a search.
type Limits struct {
	Uploads, Deletes, Moves, Rounds int  // at most 3, 2, 2, 4
	OneScope                        bool // all uploads are to the same partition
	Sleeper                         bool // a worker of a sweep may fall asleep and wake up at any later time
	States                          int  // give up beyond
}

// Fault is a sentence of the rules that is left out.
type Fault uint8

// The faults.
const (
	None         Fault = iota
	EarlyGrace         // the grace runs from the condemning to the deletion, not from the end of the sweep to the next mark
	ByState            // a reference is deleted because it is condemned, not because it still has the listed version
	IdleMove           // a move copies the record and does not use the reference
	HistoryFirst       // a mark reads history before records
	Restart            // versions count from one again when a reference is made anew
	NoConfirm          // a slow writer does not look at the reference again
	HastySame          // who finds its record there is acknowledged without a look at the reference
)

// The states of the reference.
const (
	absent uint8 = iota
	live
	condemned
	deleting
)

// What a writer does next.
const (
	idle uint8 = iota
	look
	swap
	write
	confirm
	undo
	same    // the record is there already, and names another blob than we hold
	restate // it is to name the blob that the reference names
	leave   // of a move: keep the history of the source
	remove  // of a move: remove the source
	over
)

// What the collector does next.
const (
	resting uint8 = iota
	scanA0
	scanB0
	scanA1
	scanB1
	judge
	carry
	drop   // the blob of the reference that it dooms
	forget // the reference
	closing
)

// Decisions of a sweep.
const (
	nothing uint8 = iota
	condemn
	acquit
	doom
	dropDoomed
	forgetDoomed
)

// writer is an upload, or a move from the other partition. Blobs are 1 to 5.
type writer struct {
	pc    uint8
	to    uint8 // partition
	seen  uint8 // version of the reference
	state uint8 // as seen
	held  uint8 // blob
	rec   uint8 // version of the record that it wrote or saw
	late  bool  // a grace has passed since it looked
	gone  bool  // its record was deleted since it was written
}

// pending is a decision of a worker that may be carried out late.
type pending struct{ op, version, blob uint8 }

// state is everything. Versions are renumbered in the order of their fields, so
// that equal situations are equal.
type state struct {
	ref, version, blob uint8
	young              bool  // written since the mark began
	blobs              uint8 // those that are there, a bit each
	rec                [2]uint8
	recVersion         [2]uint8
	acked              [2]bool
	history            [2]uint8
	historyAcked       [2]bool
	up                 [3]writer
	mv                 [2]writer
	deletes            uint8    // done
	half               [2]uint8 // deletes that have written history: of which version
	round              uint8
	pc                 uint8
	marked             bool
	listed             uint8 // version, by the last round
	listing            uint8 // by this one
	work               pending
	late               pending
	graced             bool  // a grace has passed since the round was closed
	quiet              uint8 // rounds since nothing named the content and nobody was about, the sleeper included
}

// Search goes through all states and returns how many there are, or an error that
// tells a way into a wrong one.
func Search(l Limits, f Fault) (int, error) {
	s := search{limits: l, fault: f, seen: map[state]struct{}{}}
	return s.run()
}

type search struct {
	limits Limits
	fault  Fault
	seen   map[state]struct{}
	todo   []node
	bad    error
}

// node is a state with the way into it.
type node struct {
	state state
	way   *step
}

type step struct {
	what string
	from *step
}

func (s *search) run() (int, error) {
	var first state
	first.graced = true
	s.push(first, nil, "begin")
	for len(s.todo) > 0 && s.bad == nil {
		n := s.todo[len(s.todo)-1]
		s.todo = s.todo[:len(s.todo)-1]
		s.expand(n)
		if s.limits.States > 0 && len(s.seen) > s.limits.States {
			return len(s.seen), fmt.Errorf("more than %d states", s.limits.States)
		}
	}
	return len(s.seen), s.bad
}

// push adds a state that was not seen before.
func (s *search) push(next state, way *step, what string) {
	if s.bad != nil {
		return
	}
	next.writers(func(w *writer) {
		if w.pc == over {
			*w = writer{pc: over} // what it knew does not matter any more
		}
	})
	next.discard()
	next.renumber(s.fault == Restart)
	if _, ok := s.seen[next]; ok {
		return
	}
	s.seen[next] = struct{}{}
	at := &step{what, way}
	if wrong := next.wrong(); wrong != "" {
		s.fail(at, wrong)
		return
	}
	s.todo = append(s.todo, node{next, at})
}

func (s *search) fail(at *step, wrong string) {
	var way string
	for ; at != nil; at = at.from {
		way = at.what + "; " + way
	}
	s.bad = fmt.Errorf("%s after: %s", wrong, way)
}

// discard drops the bytes of an upload that is over and that nothing came to
// name.
func (s *state) discard() {
	for i, w := range s.up {
		own := uint8(1 + i)
		if w.pc != over || s.blob == own || s.work.blob == own || s.late.blob == own {
			continue
		}
		if s.rec[0] != own && s.rec[1] != own && s.history[0] != own && s.history[1] != own {
			s.blobs &^= 1 << own
		}
	}
}

// wrong tells what is not as it must be.
func (s *state) wrong() string {
	for p := range 2 {
		if s.acked[p] && s.rec[p] != 0 && !s.readable(s.rec[p]) {
			return fmt.Sprintf("the record in %d can't be read", p)
		}
		if s.acked[p] && s.rec[p] == 0 {
			return fmt.Sprintf("the record in %d was acknowledged and is not there", p)
		}
		if s.historyAcked[p] && s.history[p] != 0 && !s.readable(s.history[p]) {
			return fmt.Sprintf("the history in %d can't be read", p)
		}
	}
	if s.quiet >= 3 && (s.ref != absent || s.blobs != 0) {
		return "what nothing names is still there"
	}
	return ""
}

// readable: a reader goes to the blob that the record names, and if it is not
// there to that of the reference.
func (s *state) readable(blob uint8) bool {
	return s.has(blob) || s.ref != absent && s.ref != deleting && s.has(s.blob)
}

func (s *state) has(blob uint8) bool { return blob != 0 && s.blobs&(1<<blob) != 0 }

// named tells whether anything names the content, or is about to.
func (s *state) named() bool {
	if s.rec[0]|s.rec[1]|s.history[0]|s.history[1] != 0 {
		return true
	}
	for _, w := range s.up {
		if w.pc != idle && w.pc != over {
			return true
		}
	}
	for _, w := range s.mv {
		if w.pc != idle && w.pc != over {
			return true
		}
	}
	return false
}

// renumber gives versions the smallest numbers that keep them apart; 0 is none.
func (s *state) renumber(restarting bool) {
	if !restarting {
		names, next := [64]uint8{}, uint8(1)
		s.versions(func(v *uint8) {
			if *v == 0 {
				return
			}
			if names[*v] == 0 {
				names[*v] = next
				next++
			}
			*v = names[*v]
		})
	}
	for p := range 2 {
		names, next := [64]uint8{}, uint8(1)
		s.recordVersions(uint8(p), func(v *uint8) {
			if *v == 0 {
				return
			}
			if names[*v] == 0 {
				names[*v] = next
				next++
			}
			*v = names[*v]
		})
	}
}

// versions calls f for each version of the reference that anybody remembers.
func (s *state) versions(f func(*uint8)) {
	f(&s.version)
	f(&s.listed)
	f(&s.listing)
	f(&s.work.version)
	f(&s.late.version)
	for i := range s.up {
		f(&s.up[i].seen)
	}
	for i := range s.mv {
		f(&s.mv[i].seen)
	}
}

// recordVersions does so for those of the record in a partition.
func (s *state) recordVersions(p uint8, f func(*uint8)) {
	f(&s.recVersion[p])
	f(&s.half[p])
	for i := range s.up {
		if s.up[i].to == p {
			f(&s.up[i].rec)
		}
	}
	for i := range s.mv {
		w := &s.mv[i]
		if w.pc == remove || w.pc == leave {
			if 1-w.to == p {
				f(&w.rec)
			}
		} else if w.to == p {
			f(&w.rec)
		}
	}
}

// put writes the reference, with a version of its own.
func (s *state) put(ref, blob uint8, f Fault) {
	version := uint8(0)
	if f == Restart {
		version = s.version + 1
		if s.ref == absent {
			version = 1
		}
	} else {
		s.versions(func(v *uint8) { version = max(version, *v) })
		version++
	}
	s.ref, s.blob, s.version, s.young = ref, blob, version, true
}

// setRecord writes a record, with a version of its own.
func (s *state) setRecord(p, blob uint8) {
	version := uint8(0)
	s.recordVersions(p, func(v *uint8) { version = max(version, *v) })
	s.rec[p], s.recVersion[p] = blob, version+1
}
