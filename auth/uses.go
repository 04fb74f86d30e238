package auth

import (
	"context"
	"fmt"
	"sync"
	"time"

	"granary/kv"
)

const (
	usesEvery = 5 * time.Second // how often uses are written
	useGrain  = time.Minute     // how exact they are
	// useLife is how long a use is remembered: longer than anybody asks.
	useLife = 400 * 24 * time.Hour
)

// uses notes when API tokens were last used and writes that down later, so
// that a request costs no write. What a crash loses is a few seconds of it.
type uses struct {
	now func() time.Time

	mu      sync.Mutex // protects the fields below
	pending map[string]time.Time
	written map[string]time.Time // by this node
}

func newUses(now func() time.Time) *uses {
	return &uses{now: now, pending: map[string]time.Time{}, written: map[string]time.Time{}}
}

func (u *uses) note(id string) {
	now := u.now()
	u.mu.Lock()
	defer u.mu.Unlock()
	if now.Sub(u.written[id]) >= useGrain {
		u.pending[id] = now
	}
}

// take returns what is to be written.
func (u *uses) take() map[string]time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	p := u.pending
	u.pending = map[string]time.Time{}
	for id, t := range u.written {
		if u.now().Sub(t) >= useGrain {
			delete(u.written, id)
		}
	}
	for id, t := range p {
		u.written[id] = t
	}
	return p
}

// last is what is not written yet.
func (u *uses) last(id string) time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.pending[id]
}

// flush writes the uses noted since the last one.
func (s *Service) flush(ctx context.Context) error {
	var items []kv.Item
	for id, t := range s.uses.take() {
		value, err := kv.Marshal(useRecord{Used: t.Unix()})
		if err != nil {
			return fmt.Errorf("encode the use of a token: %w", err)
		}
		items = append(items, kv.Item{Key: kv.TokenUse(id), Value: value, Expires: t.Add(useLife)})
	}
	if len(items) == 0 {
		return nil
	}
	if err := s.kv.BatchPut(ctx, items); err != nil {
		return fmt.Errorf("write the uses of tokens: %w", err)
	}
	return nil
}

// lastUses reads the last use of every token that was used.
func (s *Service) lastUses(ctx context.Context) (map[string]time.Time, error) {
	found := map[string]time.Time{}
	for item, err := range s.kv.Query(ctx, kv.TokenUses, "", "") {
		if err != nil {
			return nil, fmt.Errorf("read the uses of tokens: %w", err)
		}
		var rec useRecord
		if err := kv.Unmarshal(item.Value, &rec); err != nil {
			return nil, fmt.Errorf("use of token %q: %w", item.Sort, err)
		}
		found[item.Sort] = time.Unix(rec.Used, 0).UTC()
	}
	return found, nil
}
