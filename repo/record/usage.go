package record

import (
	"context"
	"fmt"

	"granary/kv"
)

// Usage returns how many records a repository holds, those hidden left out,
// and their bytes: an estimate that is the sum of what nodes have counted, with
// what this one has not written yet.
func (s *Store) Usage(ctx context.Context, repo string) (count, bytes int64, err error) {
	own := slot{repo, shares, s.counts.node}
	met, began := false, s.counts.moment()
	var sum counter
	add := func(key kv.Key, value counter, version kv.Version) {
		if key.Sort == own.child {
			met = true
			value = s.counts.current(own, key, value, version, began)
		}
		sum = sum.plus(delta{count: value.Count, bytes: value.Bytes})
	}
	for item, err := range s.kv.Query(ctx, kv.CounterPartition(repo), "", "") {
		if err != nil {
			return 0, 0, fmt.Errorf("read the counters of repository %s: %w", repo, err)
		}
		var value counter
		if err := kv.Unmarshal(item.Value, &value); err != nil {
			return 0, 0, fmt.Errorf("counter %v: %w", item.Key, err)
		}
		add(item.Key, value, item.Version)
	}
	if !met && own.child != "" {
		add(kv.Counter(repo, own.child), counter{}, "")
	}
	return sum.Count, sum.Bytes, nil
}
