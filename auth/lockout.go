package auth

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"
)

const (
	freeFailures = 10               // failed attempts in a row before the first wait
	firstWait    = time.Second      // doubles with each further failure
	longestWait  = 60 * time.Second // up to this
	maxLocks     = 16384            // pairs of user and address remembered, about 4 MiB
)

// lockout slows down guessing. It counts failed attempts in a row per user
// name and peer address, whether the user exists or not; other addresses are
// not affected. When full it forgets the pair that failed longest ago: filling
// it costs an attacker a password check per pair.
type lockout struct {
	now  func() time.Time
	size atomic.Int64 // of entries, so that the usual case takes no lock

	mu      sync.Mutex // protects the fields below
	entries map[pair]*list.Element
	recent  *list.List // of *failures, those that failed last in front
}

type pair [sha256.Size]byte

type failures struct {
	pair  pair
	count int
	until time.Time
}

func newLockout(now func() time.Time) *lockout {
	return &lockout{now: now, entries: map[pair]*list.Element{}, recent: list.New()}
}

func newPair(user, peer string) pair { return sha256.Sum256([]byte(peer + "\x00" + user)) }

// check returns a LockedError while the pair has to wait.
func (l *lockout) check(user, peer string) error {
	if l.size.Load() == 0 {
		return nil
	}
	p := newPair(user, peer)
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[p]; e != nil {
		return l.locked(e.Value.(*failures))
	}
	return nil
}

func (l *lockout) locked(f *failures) error {
	wait := f.until.Sub(l.now())
	if wait <= 0 {
		return nil
	}
	return &LockedError{RetryAfter: (wait + time.Second - 1).Truncate(time.Second)}
}

// failed counts a failure. It returns a LockedError when the attempt was one
// beyond the free ones: it is answered like those that come during the wait.
func (l *lockout) failed(user, peer string) error {
	p := newPair(user, peer)
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[p]
	if e == nil {
		l.makeRoom()
		e = l.recent.PushFront(&failures{pair: p})
		l.entries[p] = e
		l.size.Add(1)
	}
	l.recent.MoveToFront(e)
	f := e.Value.(*failures)
	f.count++
	if f.count < freeFailures {
		return nil
	}
	f.until = l.now().Add(min(longestWait, firstWait<<min(f.count-freeFailures, 6)))
	if f.count == freeFailures {
		return nil
	}
	return l.locked(f)
}

// makeRoom is called with mu held.
func (l *lockout) makeRoom() {
	for len(l.entries) >= maxLocks {
		oldest := l.recent.Back()
		l.recent.Remove(oldest)
		delete(l.entries, oldest.Value.(*failures).pair)
		l.size.Add(-1)
	}
}

// succeeded forgets the failures of the pair.
func (l *lockout) succeeded(user, peer string) {
	if l.size.Load() == 0 {
		return
	}
	p := newPair(user, peer)
	l.mu.Lock()
	defer l.mu.Unlock()
	if e := l.entries[p]; e != nil {
		l.recent.Remove(e)
		delete(l.entries, p)
		l.size.Add(-1)
	}
}
