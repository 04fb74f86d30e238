package cluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"granary/kv"
)

// LeaseInfo is a lease that some node holds, or held when it died.
type LeaseInfo struct {
	Name   string
	Holder string // node id
	Epoch  uint64
}

// leaseReads is how many partitions of leases are read at once.
const leaseReads = 8

// Leases reads all leases that are not free, in order of their names. It reads
// many partitions and is for people.
func (n *Node) Leases(ctx context.Context) ([]LeaseInfo, error) {
	var mu sync.Mutex
	var all []LeaseInfo
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(leaseReads)
	for _, partition := range kv.LeasePartitions() {
		g.Go(func() error {
			for item, err := range n.c.KV.Query(ctx, partition, "", "") {
				if err != nil {
					return fmt.Errorf("read leases: %w", err)
				}
				var rec leaseRecord
				if err := kv.Unmarshal(item.Value, &rec); err != nil {
					return fmt.Errorf("read lease %s: %w", item.Sort, err)
				}
				if rec.Holder == "" {
					continue
				}
				mu.Lock()
				all = append(all, LeaseInfo{item.Sort, rec.Holder, rec.Epoch})
				mu.Unlock()
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b LeaseInfo) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}
