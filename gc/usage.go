package gc

import (
	"context"
	"sync"
	"time"
)

// usageFor is how long what the last round counted is told without a look
// whether there was another.
const usageFor = 5 * time.Second

// usage remembers what the last round counted.
type usage struct {
	mu     sync.Mutex // protects the fields below, and is held while they are read
	looked time.Time
	stores map[string]Content
}

// Usage returns what a store kept after the last round that was closed. ok is
// false before the first one. What is uploaded twice is one content, and what
// lies in records is none.
func (c *Collector) Usage(ctx context.Context, store string) (kept Content, ok bool, err error) {
	u := &c.usage
	u.mu.Lock()
	defer u.mu.Unlock()
	if age := c.Now().Sub(u.looked); age < 0 || age >= usageFor {
		r, _, err := c.current(ctx, false)
		if err != nil {
			return Content{}, false, err
		}
		u.stores, u.looked = map[string]Content{}, c.Now()
		if r != nil && r.closed() != nil {
			for _, s := range r.closed().Stores {
				if s.Kept != nil {
					u.stores[s.ID] = *s.Kept
				}
			}
		}
	}
	kept, ok = u.stores[store]
	return kept, ok, nil
}
