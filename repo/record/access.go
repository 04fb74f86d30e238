package record

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"granary/kv"
)

// accesses keeps the days on which records were last read. They are written
// blindly and in batches; one that is lost is no harm.
type accesses struct {
	kv      kv.Store
	told    Observer
	now     func() time.Time
	ttl     time.Duration
	full    chan struct{} // told when half of maxWaiting wait
	dropped atomic.Int64

	mu      sync.Mutex
	waiting map[kv.Key]int64       // day; guarded by mu
	written *recent[kv.Key, int64] // day; guarded by mu
}

const (
	maxWaiting   = 1 << 13
	maxWritten   = 1 << 14
	accessBatch  = 256
	accessFlush  = 4 * time.Second
	day          = 24 * time.Hour
	secondsOfDay = int64(day / time.Second)
)

func newAccesses(store kv.Store, now func() time.Time, ttl time.Duration, told Observer) *accesses {
	return &accesses{
		kv: store, told: told, now: now, ttl: ttl, full: make(chan struct{}, 1),
		waiting: map[kv.Key]int64{}, written: newRecent[kv.Key, int64](maxWritten),
	}
}

// access is the stored value.
type access struct {
	kv.Extra `cbor:"-"`

	Day int64 `cbor:"1,keyasint,omitempty"` // days since 1970, UTC
}

// Accessed notes that a record was read today. It never waits; what does not
// fit is dropped and counted.
func (s *Store) Accessed(sp kv.Space, scope, name string) {
	s.accesses.note(sp.Accessed(scope, name))
}

func (a *accesses) note(key kv.Key) {
	today := a.now().Unix() / secondsOfDay
	a.mu.Lock()
	defer a.mu.Unlock()
	if d, ok := a.written.get(key); ok && d == today {
		return
	}
	if _, ok := a.waiting[key]; !ok && len(a.waiting) >= maxWaiting {
		a.dropped.Add(1)
		return
	}
	a.waiting[key] = today
	if len(a.waiting) == maxWaiting/2 {
		select {
		case a.full <- struct{}{}:
		default:
		}
	}
}

// LastAccess returns the day on which a record was last read, the zero time if
// that is not known.
func (s *Store) LastAccess(ctx context.Context, sp kv.Space, scope, name string) (time.Time, error) {
	key := sp.Accessed(scope, name)
	if d, ok := s.accesses.today(key); ok {
		return dayOf(d), nil
	}
	item, err := s.kv.Get(ctx, key)
	if errors.Is(err, kv.ErrNotFound) {
		return time.Time{}, nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("read last access %v: %w", key, err)
	}
	var v access
	if err := kv.Unmarshal(item.Value, &v); err != nil {
		return time.Time{}, fmt.Errorf("last access %v: %w", key, err)
	}
	return dayOf(v.Day), nil
}

func dayOf(d int64) time.Time { return time.Unix(d*secondsOfDay, 0).UTC() }

func (a *accesses) today(key kv.Key) (int64, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if d, ok := a.waiting[key]; ok {
		return d, true
	}
	d, ok := a.written.get(key)
	return d, ok
}

// flush writes what waits, batch by batch. What could not be written waits on.
func (a *accesses) flush(ctx context.Context) error {
	for {
		batch, days, err := a.batch()
		if err != nil || len(batch) == 0 {
			return err
		}
		if err := a.kv.BatchPut(ctx, batch); err != nil {
			return fmt.Errorf("write last accesses: %w", err)
		}
		a.told.AccessesWritten(len(batch))
		a.wrote(days)
	}
}

// batch returns some of what waits, as items and as days.
func (a *accesses) batch() (items []kv.Item, days map[kv.Key]int64, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	expires := a.now().Add(a.ttl)
	days = map[kv.Key]int64{}
	for key, d := range a.waiting {
		value, err := kv.Marshal(access{Day: d})
		if err != nil {
			return nil, nil, err
		}
		days[key] = d
		items = append(items, kv.Item{Key: key, Value: value, Version: kv.NewVersion(), Expires: expires})
		if len(items) == accessBatch {
			break
		}
	}
	return items, days, nil
}

func (a *accesses) wrote(days map[kv.Key]int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, d := range days {
		a.written.set(key, d)
		if a.waiting[key] == d { // else it was read on another day meanwhile
			delete(a.waiting, key)
		}
	}
}
