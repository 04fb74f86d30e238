package chaos

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"granary/kv"
)

// past keeps what was replaced lately, by partition and sort key.
type past struct {
	states map[string]map[string][]state
	swept  time.Time
}

// state is what a key held until a time; nil: nothing.
type state struct {
	item  *kv.Item
	until time.Time
}

// replaced notes a state that ended now. Those older than the lag are
// forgotten, once per lag.
func (p *past) replaced(key kv.Key, item *kv.Item, now time.Time, lag time.Duration) {
	if now.Sub(p.swept) > lag {
		p.sweep(now.Add(-lag))
		p.swept = now
	}
	keys := p.states[key.Partition]
	if keys == nil {
		keys = map[string][]state{}
		p.states[key.Partition] = keys
	}
	keys[key.Sort] = append(keys[key.Sort], state{item, now})
}

func (p *past) sweep(oldest time.Time) {
	for partition, keys := range p.states {
		for sort, states := range keys {
			states = slices.DeleteFunc(states, func(s state) bool { return s.until.Before(oldest) })
			if keys[sort] = states; len(states) == 0 {
				delete(keys, sort)
			}
		}
		if len(keys) == 0 {
			delete(p.states, partition)
		}
	}
}

// at returns what a key held at a time, if it was replaced since.
func (p *past) at(key kv.Key, at, now time.Time) (*kv.Item, bool) {
	for _, s := range p.states[key.Partition][key.Sort] {
		if !s.until.After(at) {
			continue
		}
		if s.item != nil && s.item.Expired(now) {
			return nil, true
		}
		return s.item, true
	}
	return nil, false
}

// staleness decides whether a read is stale, and what time it shows.
func (s *Store) staleness(opts []kv.ReadOption) (at time.Time, stale bool) {
	if s.options.Lag <= 0 || kv.Resolve(opts).Consistent || !s.roll(s.options.Stale) {
		return time.Time{}, false
	}
	return s.options.Now().Add(-s.upTo(s.options.Lag)), true
}

func (s *Store) earlier(key kv.Key, at time.Time) (*kv.Item, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.past.at(key, at, s.options.Now())
}

// staleQuery merges what the store holds with what was replaced since at. It
// collects the range first; stores under chaos are small.
func (s *Store) staleQuery(ctx context.Context, partition, from, to string, opts []kv.ReadOption, at time.Time) iter.Seq2[kv.Item, error] {
	read := kv.Resolve(opts)
	return func(yield func(kv.Item, error) bool) {
		items := map[string]kv.Item{}
		for item, err := range s.inner.Query(ctx, partition, from, to) {
			if err != nil {
				yield(kv.Item{}, err)
				return
			}
			items[item.Sort] = item
		}
		s.overlay(items, partition, from, to, at)
		order := slices.SortedFunc(maps.Keys(items), strings.Compare)
		if read.Reverse {
			slices.Reverse(order)
		}
		for n, sort := range order {
			item := items[sort]
			if read.KeysOnly {
				item.Value = nil
			}
			if !yield(item, nil) || n+1 == read.Limit {
				return
			}
		}
	}
}

// overlay turns the items of a range into those of an earlier time.
func (s *Store) overlay(items map[string]kv.Item, partition, from, to string, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.options.Now()
	for sort := range s.past.states[partition] {
		if sort < from || to != "" && sort >= to {
			continue
		}
		earlier, ok := s.past.at(kv.Key{Partition: partition, Sort: sort}, at, now)
		switch {
		case !ok:
		case earlier == nil:
			delete(items, sort)
		default:
			items[sort] = *earlier
		}
	}
}
