package gc

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"granary/gc/filter"
	"granary/kv"
)

// drained is what is known of a deleted repository, at [kv.Drain].
type drained struct {
	kv.Extra `cbor:"-"`

	Shards int   `cbor:"1,keyasint"`
	Empty  int64 `cbor:"2,keyasint,omitempty"` // Unix ns of the first pass that found nothing, and none found anything since
	Done   bool  `cbor:"3,keyasint,omitempty"`
}

// drainAgain is how far two passes that find nothing must be apart: a write
// that was under way when the repository was deleted has landed by then.
const drainAgain = 24 * time.Hour

// planDrains lists the deleted repositories that something may be left of.
func (c *Collector) planDrains(ctx context.Context, r *Round) error {
	for dead, err := range c.Registry.DeadRepositories(ctx) {
		if err != nil {
			return err
		}
		id := dead.Repository.ID
		d, _, err := table[drained](c).Get(ctx, kv.Drain(id), kv.Consistent)
		if err != nil && !errors.Is(err, kv.ErrNotFound) {
			return fmt.Errorf("read the drain of repository %s: %w", id, err)
		}
		if d.Done {
			continue
		}
		if err != nil {
			d.Shards = max(dead.Repository.Shards, 1)
			if _, err := table[drained](c).Create(ctx, kv.Drain(id), d); err != nil && !errors.Is(err, kv.ErrConflict) {
				return fmt.Errorf("write the drain of repository %s: %w", id, err)
			}
		}
		if r.Drains = append(r.Drains, id); len(r.Drains) == maxDrains {
			return nil
		}
	}
	return nil
}

// maxDrains bounds the repositories that one round drains.
const maxDrains = 1000

// drain removes what is left of a deleted repository. Its records were nobody's
// before: a mark does not read them.
func (w *worker) drain(ctx context.Context, part, repo string) error {
	d, version, err := table[drained](w.Collector).Get(ctx, kv.Drain(repo), kv.Consistent)
	if err != nil {
		return fmt.Errorf("read the drain of repository %s: %w", repo, err)
	}
	var out done
	for _, p := range partitionsOf(kv.Space{Repo: repo, Shards: d.Shards}) {
		if err := w.empty(ctx, p, &out.Tally); err != nil {
			return err
		}
	}
	if out.Tally.DrainedItems > 0 {
		out.Tally.Drained = 1
	}
	if !w.round.Dry {
		next := d
		switch now := w.Now(); {
		case out.Tally.DrainedItems > 0:
			next.Empty = 0
		case d.Empty == 0:
			next.Empty = now.UnixNano()
		case now.Sub(time.Unix(0, d.Empty)) >= drainAgain:
			next.Done = true
		}
		if next.Empty != d.Empty || next.Done != d.Done {
			_, err := table[drained](w.Collector).Replace(ctx, kv.Drain(repo), next, version)
			if err != nil && !errors.Is(err, kv.ErrConflict) {
				return fmt.Errorf("write the drain of repository %s: %w", repo, err)
			}
		}
	}
	_, err = settle(ctx, w.Collector, w.round.ID, part, out)
	return err
}

// partitionsOf lists all partitions of a repository.
func partitionsOf(sp kv.Space) []string {
	out := []string{kv.CounterPartition(sp.Repo), sp.Times()}
	for p := range filter.Prefixes {
		out = append(out, kv.UploadPartition(sp.Repo, fmt.Sprintf("%02x", p)))
	}
	for s := range max(sp.Shards, 1) {
		out = append(out, sp.Index(s), sp.Records(s), sp.History(s), sp.Access(s))
	}
	return out
}

// empty removes all items of a partition.
func (w *worker) empty(ctx context.Context, partition string, t *Tally) error {
	blind := strings.HasPrefix(partition, "t/")
	for {
		var items []kv.Item
		for item, err := range w.kv.Query(ctx, partition, "", "", kv.Consistent, kv.Limit(drainPage)) {
			if err != nil {
				return fmt.Errorf("read %s: %w", partition, err)
			}
			item.Value = nil
			items = append(items, item)
		}
		for _, item := range items {
			if err := w.item(ctx); err != nil {
				return err
			}
			t.DrainedItems++
			if w.round.Dry {
				continue
			}
			var err error
			if blind {
				err = w.kv.Delete(ctx, item.Key)
			} else {
				err = w.kv.DeleteIf(ctx, item.Key, item.Version)
			}
			if err != nil && !errors.Is(err, kv.ErrConflict) {
				return fmt.Errorf("remove %v: %w", item.Key, err)
			}
		}
		if len(items) < drainPage || w.round.Dry {
			return nil
		}
	}
}

// drainPage is how many items are removed between two reads.
const drainPage = 1000
