package record

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"granary/kv"
)

// Stamp returns what changes with every change of a scope, "" if it never had
// any. It is one consistent read.
func (s *Store) Stamp(ctx context.Context, sp kv.Space, scope string) (string, error) {
	key := sp.Stamp(scope)
	item, err := s.kv.Get(ctx, key, kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read stamp %v: %w", key, err)
	}
	s.stamps.remember(key, item.Version)
	return string(item.Version), nil
}

// Touch gives scopes a new stamp each. When it returns, a write of the stamp
// that began after the call has been acknowledged. Calls for a scope that
// arrive while a write of its stamp is under way share the next one.
func (s *Store) Touch(ctx context.Context, sp kv.Space, scopes ...string) error {
	switch len(scopes) {
	case 0:
		return nil
	case 1:
		return s.stamps.touch(ctx, sp.Stamp(scopes[0]))
	}
	scopes = slices.Compact(slices.Sorted(slices.Values(scopes)))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(stampWorkers)
	for _, scope := range scopes {
		g.Go(func() error { return s.stamps.touch(ctx, sp.Stamp(scope)) })
	}
	return g.Wait()
}

const (
	stampWorkers = 8
	maxStamps    = 1 << 13
)

// stamps writes them, one at a time for a scope.
type stamps struct {
	kv  kv.Store
	now func() time.Time

	mu      sync.Mutex
	writes  map[kv.Key]*stamping        // guarded by mu; as many as calls wait
	version *recent[kv.Key, kv.Version] // as last seen; guarded by mu
}

// stamping is what goes on for one scope.
type stamping struct {
	running *turn
	next    *turn // of those who came while running had begun; nil if nobody did
}

// turn is one write and those who wait for it. Who opened it does the write.
type turn struct {
	done chan struct{}
	err  error // set before done is closed
	over bool  // done is closed, or about to be; guarded by mu of stamps
}

func newStamps(store kv.Store, now func() time.Time) *stamps {
	return &stamps{kv: store, now: now, writes: map[kv.Key]*stamping{}, version: newRecent[kv.Key, kv.Version](maxStamps)}
}

func (s *stamps) remember(key kv.Key, v kv.Version) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if v == "" {
		s.version.drop(key)
	} else {
		s.version.set(key, v)
	}
}

func (s *stamps) last(key kv.Key) kv.Version {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, _ := s.version.get(key)
	return v
}

// errTurn is the error of a turn whose writer's context ended: the others go
// on without it.
var errTurn = errors.New("record: the writer of a stamp went away")

func (s *stamps) touch(ctx context.Context, key kv.Key) error {
	for {
		mine, before, opened := s.join(key)
		var err error
		if opened {
			err = s.lead(ctx, key, mine, before)
		} else {
			select {
			case <-mine.done:
				err = mine.err
			case <-ctx.Done():
				err = ctx.Err()
			}
		}
		if !errors.Is(err, errTurn) || ctx.Err() != nil {
			return wrapStamp(key, err)
		}
	}
}

func wrapStamp(key kv.Key, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("write stamp %v: %w", key, err)
}

// join returns the turn whose write begins after now. opened: the caller is to
// do it, when before, if not nil, is done.
func (s *stamps) join(key kv.Key) (mine, before *turn, opened bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.writes[key]
	switch {
	case w == nil:
		mine = &turn{done: make(chan struct{})}
		s.writes[key] = &stamping{running: mine}
		return mine, nil, true
	case w.next == nil:
		w.next = &turn{done: make(chan struct{})}
		return w.next, w.running, true
	}
	return w.next, nil, false
}

// lead does the write of a turn and tells those who wait.
func (s *stamps) lead(ctx context.Context, key kv.Key, mine, before *turn) error {
	var err error
	if before != nil {
		select {
		case <-before.done:
		case <-ctx.Done():
			return s.giveUp(ctx, key, mine, before)
		}
		s.start(key, mine)
	}
	err = s.write(ctx, key)
	if err != nil && ctx.Err() != nil {
		mine.err = fmt.Errorf("%w: %w", errTurn, err)
	} else {
		mine.err = err
	}
	s.finish(key, mine)
	return mine.err
}

// start makes the turn that waited the running one: from now on others wait
// for the next.
func (s *stamps) start(key kv.Key, mine *turn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.writes[key]
	w.running, w.next = mine, nil
}

func (s *stamps) finish(key kv.Key, mine *turn) {
	s.mu.Lock()
	mine.over = true
	if w := s.writes[key]; w.running == mine && w.next == nil {
		delete(s.writes, key)
	}
	s.mu.Unlock()
	close(mine.done)
}

// giveUp ends a turn whose writer can't wait for its write to begin.
func (s *stamps) giveUp(ctx context.Context, key kv.Key, mine, before *turn) error {
	mine.err = fmt.Errorf("%w: %w", errTurn, ctx.Err())
	s.mu.Lock()
	w := s.writes[key]
	w.next = nil
	if before.over { // it left the entry to us
		delete(s.writes, key)
	}
	s.mu.Unlock()
	close(mine.done)
	return mine.err
}

// stampValue is for people; the version is the stamp.
type stampValue struct {
	Time int64 `cbor:"1,keyasint,omitempty"` // Unix ns
}

func (s *stamps) write(ctx context.Context, key kv.Key) error {
	value, err := kv.Marshal(stampValue{s.now().UnixNano()})
	if err != nil {
		return err
	}
	old := s.last(key)
	for try := 0; ; try++ {
		item := kv.Item{Key: key, Value: value, Version: kv.NewVersion()}
		err := s.kv.PutIf(ctx, item, old)
		if err == nil {
			s.remember(key, item.Version)
			return nil
		}
		if !errors.Is(err, kv.ErrConflict) {
			return err
		}
		now, err := kv.Current(ctx, s.kv, key, err)
		if err != nil && !errors.Is(err, kv.ErrNotFound) {
			return err
		}
		old = now.Version
		s.remember(key, old)
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}
