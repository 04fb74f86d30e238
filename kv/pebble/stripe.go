package pebble

import (
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"granary/kv"

	"github.com/cockroachdb/pebble/v2"
)

// A stripe serialises the writes of the keys that fall to it, and knows
// whether there may be one that is not on disk yet.
type stripe struct {
	mu sync.Mutex // held from the check of a write's condition until it is applied

	applying atomic.Int64  // writes that may be visible but are not in last yet
	last     atomic.Uint64 // sequence number of the last write
}

func (s *Store) stripe(key []byte) *stripe {
	return &s.stripes[maphash.Bytes(s.seed, key)%uint64(len(s.stripes))]
}

// apply makes a batch visible; st.mu is held, or st nil for keys that nobody
// writes conditionally. Unless it is lazy the batch is to be given to wait.
func (s *Store) apply(st *stripe, b *pebble.Batch, lazy bool) (err error) {
	// The engine panics when its log is broken.
	defer func() {
		if p := recover(); p != nil {
			err = s.engine.fail(fmt.Errorf("%v", p))
		}
	}()
	if st != nil {
		st.applying.Add(1)
		defer st.applying.Add(-1)
	}
	if lazy {
		err = s.db.Apply(b, pebble.NoSync)
	} else {
		err = s.db.ApplyNoSyncWait(b, pebble.Sync)
	}
	if err != nil {
		return fmt.Errorf("write: %w", noSpace(err))
	}
	if st != nil {
		st.last.Store(uint64(b.SeqNum()))
	}
	return nil
}

// wait returns when an applied batch, and with it every earlier one, is on
// disk. sequence is that of the last of these writes: a batch without any has
// the number that the next one will get.
func (s *Store) wait(b *pebble.Batch, sequence uint64) error {
	if err := b.SyncWait(); err != nil {
		return s.engine.fail(err)
	}
	for {
		old := s.durable.Load()
		if old >= sequence || s.durable.CompareAndSwap(old, sequence) {
			return nil
		}
	}
}

// settle returns when everything that a reader may have seen of the stripe is
// on disk. It costs nothing unless a write was seen between its two steps.
func (s *Store) settle(st *stripe) error {
	if st.applying.Load() == 0 && st.last.Load() <= s.durable.Load() {
		return nil
	}
	st.mu.Lock()
	last := st.last.Load()
	st.mu.Unlock()
	if last <= s.durable.Load() {
		return nil
	}
	// An empty record in the log: it shares a sync with the write seen, if
	// that one is waiting, and stands behind it if it was lazy.
	b := s.db.NewBatch()
	defer b.Close() //nolint:errcheck // returns it to a pool
	if err := b.LogData(nil, nil); err != nil {
		return err
	}
	if err := s.apply(nil, b, false); err != nil {
		return err
	}
	return s.wait(b, last)
}

// conflict is the answer to a write that met r, or nothing; what it met is on
// disk when it returns.
func (s *Store) conflict(st *stripe, key kv.Key, current *kv.Item) error {
	if err := s.settle(st); err != nil {
		return err
	}
	return &kv.ConflictError{Key: key, Current: current, Absent: current == nil}
}
