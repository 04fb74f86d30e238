package model

import "fmt"

// expand makes every step that can come next.
func (s *search) expand(n node) {
	for i := range s.limits.Uploads {
		s.upload(n, i)
	}
	for i := range s.limits.Moves {
		s.move(n, i)
	}
	s.remove(n)
	s.prune(n)
	s.tick(n)
	s.collect(n)
	s.wake(n)
}

// writers are all that are under way.
func (s *state) writers(f func(*writer)) {
	for i := range s.up {
		f(&s.up[i])
	}
	for i := range s.mv {
		f(&s.mv[i])
	}
}

// upload makes the next step of an upload. They are begun in order.
func (s *search) upload(n node, i int) {
	w := n.state.up[i]
	say := func(what string) string { return fmt.Sprintf("upload %d %s", i, what) }
	if w.pc == idle {
		if i > 0 && n.state.up[i-1].pc == idle {
			return
		}
		for p := range uint8(2) {
			if p > 0 && s.limits.OneScope {
				return
			}
			next := n
			next.state.up[i] = writer{pc: look, to: p}
			next.state.quiet = 0
			s.write(next, func(st *state) *writer { return &st.up[i] }, uint8(1+i), func(what string) string {
				return say(fmt.Sprintf("begins in %d and %s", p, what))
			})
		}
		return
	}
	s.write(n, func(st *state) *writer { return &st.up[i] }, uint8(1+i), say)
}

// write makes a step that uploads and moves have in common. own is the blob that
// an upload brings, 0 for a move.
func (s *search) write(n node, of func(*state) *writer, own uint8, say func(string) string) {
	next := n.state
	w := of(&next)
	switch w.pc {
	case look:
		w.late = false
		w.seen, w.state, w.held = next.version, next.ref, next.blob
		switch {
		case next.ref == live:
			w.pc = write
		case next.ref == condemned:
			w.pc = swap
		case own == 0:
			w.pc = over
		default:
			next.blobs |= 1 << own
			w.held, w.pc = own, swap
		}
		if next.ref == live && own != 0 {
			w.seen = 0
		}
		s.push(next, n.way, say("looks"))
	case swap:
		if next.version != w.seen || next.ref != w.state {
			w.pc = look
			s.push(next, n.way, say("is overtaken"))
			return
		}
		held := w.held
		w.seen, w.pc = 0, write
		next.put(live, held, s.fault)
		s.push(next, n.way, say("takes the reference"))
	case write:
		s.record(n, of, say)
	case confirm:
		s.confirm(n, of, say)
	case undo:
		// A record that it found there is another writer's.
		if w.rec != 0 && next.rec[w.to] != 0 && next.recVersion[w.to] == w.rec {
			if next.acked[w.to] {
				s.fail(&step{say("undoes"), n.way}, "an acknowledged record is undone")
				return
			}
			next.rec[w.to], next.recVersion[w.to] = 0, 0
		}
		w.pc, w.rec = over, 0
		s.push(next, n.way, say("undoes"))
	case same:
		s.same(n, of, say)
	case restate:
		if next.rec[w.to] == 0 || next.recVersion[w.to] != w.rec {
			w.pc, w.rec = write, 0
			s.push(next, n.way, say("finds the record changed"))
			return
		}
		to, held := w.to, w.held
		next.setRecord(to, held)
		w = of(&next)
		w.rec = next.recVersion[to]
		w.pc = over
		w.rec = 0
		next.acked[to] = true
		s.push(next, n.way, say("names the blob that is there, and is acknowledged"))
	}
}

// record writes the record, unless it is there.
func (s *search) record(n node, of func(*state) *writer, say func(string) string) {
	next := n.state
	w := of(&next)
	to, held := w.to, w.held
	switch {
	case next.rec[to] == 0:
		next.setRecord(to, held)
		w.rec, w.gone, w.pc = next.recVersion[to], false, confirm
		if s.fault == IdleMove && say("") == "" {
			w.pc = leave
		}
		next.acked[to] = false
		s.push(next, n.way, say("writes its record"))
	case s.fault == HastySame:
		w.pc = over
		next.acked[to] = true
		s.push(next, n.way, say("finds its record there and is acknowledged"))
	case next.rec[to] == held:
		w.rec, w.gone, w.pc = 0, false, confirm
		s.push(next, n.way, say("finds its record there"))
	default:
		w.pc = same
		s.push(next, n.way, say("finds its record there with another blob"))
	}
}

// confirm looks at the reference again if much time has passed.
func (s *search) confirm(n node, of func(*state) *writer, say func(string) string) {
	next := n.state
	w := of(&next)
	if !w.late || s.fault == NoConfirm {
		s.acknowledge(next, n.way, of, say("is acknowledged"))
	}
	if s.fault == NoConfirm {
		return
	}
	switch {
	case (next.ref == live || next.ref == condemned) && next.blob != w.held && w.rec == 0:
		w.pc = same
		s.push(next, n.way, say("finds its content in another blob"))
	case next.ref == live:
		// Also if it names another blob: whoever reads the record gets there.
		s.acknowledge(next, n.way, of, say("confirms and is acknowledged"))
	case next.ref == condemned:
		next.put(live, next.blob, s.fault)
		s.acknowledge(next, n.way, of, say("confirms what was condemned and is acknowledged"))
	default:
		w.pc = undo
		s.push(next, n.way, say("hears that its content is gone"))
	}
}

func (s *search) acknowledge(next state, way *step, of func(*state) *writer, what string) {
	w := of(&next)
	if next.rec[w.to] == 0 && !w.gone {
		s.fail(&step{what, way}, "a record is acknowledged that is not there")
		return
	}
	if !w.gone {
		next.acked[w.to] = true
	}
	w.pc, w.rec = over, 0
	if isMove(&next, w) {
		w.pc = leave
	}
	s.push(next, way, what)
}

func isMove(s *state, w *writer) bool { return w == &s.mv[0] || w == &s.mv[1] }

// same looks which blob the content has now.
func (s *search) same(n node, of func(*state) *writer, say func(string) string) {
	next := n.state
	w := of(&next)
	switch next.ref {
	case live:
	case condemned:
		next.put(live, next.blob, s.fault)
	default:
		w.pc = over
		s.push(next, n.way, say("fails: its content is gone"))
		return
	}
	if next.rec[w.to] == 0 {
		w.pc, w.held = write, next.blob
		s.push(next, n.way, say("finds the record gone"))
		return
	}
	w.held, w.rec = next.blob, next.recVersion[w.to]
	w.pc = restate
	s.push(next, n.way, say("uses the content"))
}

// move makes the next step of a move to the other partition.
func (s *search) move(n node, i int) {
	w := n.state.mv[i]
	say := func(what string) string { return fmt.Sprintf("move %d %s", i, what) }
	of := func(st *state) *writer { return &st.mv[i] }
	next := n.state
	switch w.pc {
	case idle:
		if i > 0 && n.state.mv[i-1].pc == idle {
			return
		}
		for p := range uint8(2) {
			next := n.state
			if next.rec[p] == 0 || !next.acked[p] {
				continue
			}
			next.mv[i] = writer{pc: look, to: 1 - p}
			if s.fault == IdleMove {
				next.mv[i] = writer{pc: write, to: 1 - p, held: next.rec[p]}
			}
			s.push(next, n.way, say(fmt.Sprintf("begins from %d", p)))
		}
	case write:
		if next.rec[w.to] != 0 {
			next.mv[i].pc = over
			s.push(next, n.way, say("finds the place taken"))
			return
		}
		next.setRecord(w.to, w.held)
		next.mv[i].rec, next.mv[i].pc, next.mv[i].gone = next.recVersion[w.to], confirm, false
		next.acked[w.to] = false
		s.push(next, n.way, say("writes its record"))
	case confirm:
		if s.fault == IdleMove {
			s.acknowledge(next, n.way, of, say("is acknowledged"))
			return
		}
		s.confirm(n, of, say)
	case leave:
		from := 1 - w.to
		if next.rec[from] == 0 {
			next.mv[i].pc = over
			s.push(next, n.way, say("finds the source gone"))
			return
		}
		next.history[from], next.historyAcked[from] = next.rec[from], next.acked[from]
		next.mv[i].pc, next.mv[i].rec = remove, next.recVersion[from]
		s.push(next, n.way, say("keeps the history of the source"))
	case remove:
		from := 1 - w.to
		if next.rec[from] != 0 && next.recVersion[from] == w.rec {
			next.take(from)
		}
		next.mv[i].pc, next.mv[i].rec = over, 0
		s.push(next, n.way, say("removes the source"))
	default:
		s.write(n, of, 0, say)
	}
}

// take removes a record that was deleted.
func (s *state) take(p uint8) {
	s.rec[p], s.recVersion[p], s.acked[p] = 0, 0, false
	s.writers(func(w *writer) {
		if w.to == p && w.pc == confirm {
			w.gone = true
		}
	})
}

// remove makes the next step of a delete: history first, then the record.
func (s *search) remove(n node) {
	for p := range uint8(2) {
		next := n.state
		switch {
		case next.half[p] != 0:
			if next.rec[p] != 0 && next.recVersion[p] == next.half[p] {
				next.take(p)
			}
			next.half[p] = 0
			s.push(next, n.way, fmt.Sprintf("delete in %d removes the record", p))
		case int(next.deletes) < s.limits.Deletes && next.rec[p] != 0:
			next.deletes++
			next.history[p], next.historyAcked[p] = next.rec[p], next.acked[p]
			next.half[p] = next.recVersion[p]
			s.push(next, n.way, fmt.Sprintf("delete in %d keeps history", p))
		}
	}
}

// prune removes history, but not that of a record which is just being removed.
func (s *search) prune(n node) {
	for p := range 2 {
		if n.state.history[p] == 0 || n.state.half[p] != 0 {
			continue
		}
		next := n.state
		next.history[p], next.historyAcked[p] = 0, false
		s.push(next, n.way, fmt.Sprintf("history in %d is pruned", p))
	}
}

// tick lets a grace pass: whoever has looked before is late from now on.
func (s *search) tick(n node) {
	next := n.state
	counts := next.pc == resting || s.fault == EarlyGrace
	if next.graced || !counts {
		// In the midst of a round time passes as well; what matters is who is late.
		counts = false
	}
	changed := counts
	next.writers(func(w *writer) {
		if w.pc != idle && w.pc != look && w.pc != over && w.pc != leave && w.pc != remove && !w.late {
			w.late, changed = true, true
		}
	})
	if !changed {
		return
	}
	next.graced = next.graced || counts
	s.push(next, n.way, "a grace passes")
}
