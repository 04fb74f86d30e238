package record

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"granary/formats"
	"granary/kv"
)

// commits remembers which commits exist: what exists never goes.
type commits struct {
	mu   sync.Mutex
	made *recent[kv.Key, int64] // Unix ns; guarded by mu
}

const maxCommits = 1 << 12

// commit is the stored value.
type commit struct {
	kv.Extra `cbor:"-"`

	Time int64 `cbor:"1,keyasint,omitempty"` // Unix ns; 0 of one that is refused
	// Refused: it will never be made.
	Refused bool `cbor:"2,keyasint,omitempty"`
}

// ErrRefused is returned for a commit that was refused before it was made.
var ErrRefused = errors.New("record: the commit was refused")

// Commit makes all records that name id visible at once, from now on. Doing it
// again changes nothing. ErrRefused: [Store.Refuse] came first.
func (s *Store) Commit(ctx context.Context, sp kv.Space, id string) error {
	key := sp.Commit(id)
	table := kv.Table[commit]{Store: s.kv}
	_, err := table.Create(ctx, key, commit{Time: s.now().UnixNano()})
	if errors.Is(err, kv.ErrConflict) {
		var there commit
		if there, _, err = table.Get(ctx, key, kv.Consistent); err == nil && there.Refused {
			err = ErrRefused
		}
	}
	if err != nil {
		return fmt.Errorf("write commit %v: %w", key, err)
	}
	return nil
}

// Refuse makes sure that a commit is never made, unless it has been: made tells.
func (s *Store) Refuse(ctx context.Context, sp kv.Space, id string) (made bool, err error) {
	key := sp.Commit(id)
	table := kv.Table[commit]{Store: s.kv}
	_, err = table.Create(ctx, key, commit{Refused: true})
	if errors.Is(err, kv.ErrConflict) {
		var there commit
		there, _, err = table.Get(ctx, key, kv.Consistent)
		made = err == nil && !there.Refused
	}
	if err != nil {
		return false, fmt.Errorf("refuse commit %v: %w", key, err)
	}
	return made, nil
}

// Decided tells whether a commit was made, or refused.
func (s *Store) Decided(ctx context.Context, sp kv.Space, id string) (bool, error) {
	made, err := s.Committed(ctx, sp, id)
	if err != nil || made {
		return made, err
	}
	_, err = s.kv.Get(ctx, sp.Commit(id), kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read commit %v: %w", sp.Commit(id), err)
	}
	return true, nil
}

// Committed tells whether a commit exists.
func (s *Store) Committed(ctx context.Context, sp kv.Space, id string) (bool, error) {
	when, err := s.committed(ctx, sp, id)
	return when != 0, err
}

// Abandon takes back a record that waits for a commit which was refused: what
// it replaced, or nothing, is in its place again.
func (s *Store) Abandon(ctx context.Context, sp kv.Space, scope, name, id string) error {
	w := s.begin(sp, scope, name)
	defer w.end(nil, nil, false) // nobody has seen it
	old, err := w.head(ctx)
	for try := 0; err == nil; try++ {
		if !old.waits || old.rec.Commit != id {
			return nil
		}
		next := Record{Deleted: true}
		if old.replaced != nil {
			next = *old.replaced
		}
		next.Since, next.Nonce, next.Commit = max(s.now().UnixNano(), old.rec.Since+1), nonce(), ""
		var done bool
		if old, done, err = w.swap(ctx, old, next); done {
			return nil
		}
		if err == nil {
			err = pause(ctx, try)
		}
	}
	return fmt.Errorf("take back record %s: %w", formats.Join(scope, name), err)
}

// Count adds a record to the counters of the directories above it once its
// commit exists: [Store.Put] did not. A record that was written over or
// removed since needs it no more. Doing it twice counts twice, until the
// collector counts anew.
func (s *Store) Count(ctx context.Context, sp kv.Space, scope, name, id string) error {
	w := s.begin(sp, scope, name)
	st, err := w.head(ctx)
	now := st.live() // perhaps below one that waits still
	if err != nil || now == nil || now.Commit != id {
		w.end(nil, nil, err != nil)
		return err
	}
	var old *Record
	when, err := s.committed(ctx, sp, id)
	if err == nil {
		old, err = s.before(ctx, sp, scope, name, now.Since-1, when)
	}
	if err != nil {
		w.end(nil, nil, true)
		return err
	}
	w.end(old, now, false)
	return nil
}

// committed returns the time of a commit, 0 if there is none yet.
func (s *Store) committed(ctx context.Context, sp kv.Space, id string) (int64, error) {
	key := sp.Commit(id)
	s.commits.mu.Lock()
	when, ok := s.commits.made.get(key)
	s.commits.mu.Unlock()
	if ok {
		return when, nil
	}
	c, _, err := kv.Table[commit]{Store: s.kv}.Get(ctx, key, kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) || err == nil && c.Refused {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("read commit %v: %w", key, err)
	}
	s.commits.mu.Lock()
	defer s.commits.mu.Unlock()
	s.commits.made.set(key, c.Time)
	return c.Time, nil
}
