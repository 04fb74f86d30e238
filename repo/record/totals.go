package record

import (
	"strings"
	"sync"
	"time"
)

// totals remembers how many lines directories have, so that a page of a large
// one costs no more than a page of a small one.
//
// A total is exact when it is counted while none of our own writes overlaps. On
// an embedded store, where there are no others, it stays exact because those
// writes adjust it; else it is counted anew after a while that grows with what
// counting costs.
type totals struct {
	now      func() time.Time
	embedded bool

	mu      sync.Mutex
	entries *recent[place, *total] // guarded by mu
	busy    map[place]*activity    // guarded by mu; as many as writes and counts are under way
	states  uint64                 // guarded by mu
}

// total is what is known of a directory. Files and directories have their own
// numbers, since they change for different reasons.
type total struct {
	files, dirs lines
	hidden      bool // an empty directory was not counted
	// marks are cursors at offsets; they hold as long as the state does.
	marks map[int]Cursor
	state uint64 // changes with every change; no two directories have the same
}

type lines struct {
	n     int
	known bool
	until time.Time // zero: until it changes
}

// activity is what is going on in a directory: our own writes at or below it,
// and counts of it.
type activity struct {
	writes int
	counts []*count
}

// count is one counting of a directory under way.
type count struct {
	place   place
	overlap bool // with a write of ours
	began   time.Time
}

const (
	maxTotals = 1 << 11
	maxMarks  = 256
	// A total that others may change is trusted for a second, or for so many
	// times as long as it took to count.
	leastTrust  = time.Second
	trustFactor = 20
)

func newTotals(now func() time.Time, embedded bool) *totals {
	return &totals{now: now, embedded: embedded, entries: newRecent[place, *total](maxTotals), busy: map[place]*activity{}}
}

// overlap is the time from before a write until after it.
type overlap struct {
	t     *totals
	repo  string
	scope string
}

// chain calls f for a directory and those above it.
func chain(dir string, f func(dir string)) {
	f(dir)
	levels(dir, func(parent, _ string) { f(parent) })
}

// begin is told before a write to a scope.
func (t *totals) begin(repo, scope string) *overlap {
	t.mu.Lock()
	defer t.mu.Unlock()
	chain(scope, func(dir string) {
		a := t.activity(place{repo, dir})
		a.writes++
		for _, c := range a.counts {
			c.overlap = true
		}
	})
	return &overlap{t, repo, scope}
}

func (t *totals) activity(p place) *activity {
	a := t.busy[p]
	if a == nil {
		a = &activity{}
		t.busy[p] = a
	}
	return a
}

func (t *totals) idle(p place) {
	if a := t.busy[p]; a != nil && a.writes == 0 && len(a.counts) == 0 {
		delete(t.busy, p)
	}
}

// end is told after the write of name: whether there is one more record (1),
// one less (-1) or as many (0), or that it is not known.
func (o *overlap) end(name string, more int, unknown bool) {
	t := o.t
	t.mu.Lock()
	defer t.mu.Unlock()
	chain(o.scope, func(dir string) {
		p := place{o.repo, dir}
		t.activity(p).writes--
		t.idle(p)
	})
	own := strings.IndexByte(name, '/') < 0 // a line of its scope
	left := t.adjust(place{o.repo, o.scope}, own, more, unknown)
	levels(o.scope, func(parent, _ string) {
		e, ok := t.entries.get(place{o.repo, parent})
		if !ok {
			return
		}
		if unknown || more < 0 && !left || more > 0 && e.hidden {
			e.dirs.known = false
			t.changed(e)
		}
	})
}

func (t *totals) changed(e *total) {
	t.states++
	e.state, e.marks = t.states, nil
}

// adjust corrects the number of files. left: the directory is known to have
// some still, so that those above it are not empty either.
func (t *totals) adjust(p place, own bool, more int, unknown bool) (left bool) {
	e, ok := t.entries.get(p)
	if !ok {
		return false
	}
	switch {
	case unknown:
		e.files.known = false
		t.changed(e)
	case own && more != 0:
		e.files.n += more
		t.changed(e)
	}
	return e.files.known && e.files.n > 0
}

// dirAppeared is told after a marker was made in a directory.
func (t *totals) dirAppeared(repo, dir string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := place{repo, dir}
	if e, ok := t.entries.get(p); ok {
		e.dirs.known = false
		t.changed(e)
	}
	if a := t.busy[p]; a != nil {
		for _, c := range a.counts {
			c.overlap = true
		}
	}
}

// known returns what is known of a directory now.
func (t *totals) known(p place) (files, dirs lines) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.entries.get(p)
	if !ok {
		return lines{}, lines{}
	}
	now := t.now()
	return e.files.at(now), e.dirs.at(now)
}

func (l lines) at(now time.Time) lines {
	l.known = l.known && (l.until.IsZero() || now.Before(l.until))
	return l
}

func (t *totals) beginCount(p place) *count {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.activity(p)
	c := &count{place: p, overlap: a.writes > 0, began: t.now()}
	a.counts = append(a.counts, c)
	return c
}

// counted is what a count found; a negative number was not counted.
type counted struct {
	files, dirs int
	hidden      bool
}

// endCount is told what a count found, nil if it failed.
func (t *totals) endCount(c *count, found *counted) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a := t.activity(c.place)
	for i, one := range a.counts {
		if one == c {
			a.counts = append(a.counts[:i], a.counts[i+1:]...)
			break
		}
	}
	t.idle(c.place)
	if found == nil {
		return
	}
	now := t.now()
	var until time.Time
	if c.overlap || !t.embedded {
		until = now.Add(max(leastTrust, trustFactor*now.Sub(c.began)))
	}
	e, ok := t.entries.get(c.place)
	if !ok {
		e = &total{}
		t.entries.set(c.place, e)
	}
	if found.files >= 0 {
		e.files.take(found.files, until, c.overlap, now)
	}
	if found.dirs >= 0 && e.dirs.take(found.dirs, until, c.overlap, now) {
		e.hidden = found.hidden
	}
	t.changed(e)
}

// take keeps a number, unless it may have missed a write that the number in
// force has seen.
func (l *lines) take(n int, until time.Time, overlap bool, now time.Time) bool {
	if overlap && l.at(now).known {
		return false
	}
	*l = lines{n, true, until}
	return true
}

// mark remembers where an offset is, unless the directory has changed since it
// was in the state given.
func (t *totals) mark(p place, state uint64, offset int, at Cursor) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.entries.get(p)
	if !ok || e.state != state {
		return
	}
	if e.marks == nil {
		e.marks = map[int]Cursor{}
	}
	if len(e.marks) < maxMarks {
		e.marks[offset] = at
	}
}

// nearest returns the mark that is closest before an offset, and the state of
// the directory.
func (t *totals) nearest(p place, offset int) (at Cursor, where int, state uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e, ok := t.entries.get(p)
	if !ok {
		return "", 0, 0
	}
	now := t.now()
	if !e.files.at(now).known || !e.dirs.at(now).known {
		t.changed(e)
	}
	for o, c := range e.marks {
		if o <= offset && o > where {
			at, where = c, o
		}
	}
	return at, where, e.state
}
