package gc

import (
	"context"
	"errors"
	"fmt"

	"granary/blob"
	"granary/kv"
)

// Finish closes a round all of whose parts are closed: from now on its lists
// count, and the grace runs. Then it tidies up after earlier rounds. Closing
// twice is no error. ErrNotYet if a part is open.
func (c *Collector) Finish(ctx context.Context, dry bool, round blob.ID) (Result, error) {
	r, version, err := c.current(ctx, dry)
	if err != nil {
		return Result{}, err
	}
	if r == nil || r.ID != round {
		return Result{}, fmt.Errorf("%w: %s", ErrOver, round)
	}
	if r.Closed != 0 {
		return r.Result, nil
	}
	if part, err := c.open(ctx, r.ID, r.Parts()); err != nil || part != "" {
		return Result{}, errors.Join(err, fmt.Errorf("%w: %s", ErrNotYet, part))
	}
	if err := c.sum(ctx, r); err != nil {
		return Result{}, err
	}
	r.Closed = max(c.Now().UnixNano(), r.Started+1)
	r.Result.Elapsed, r.Result.Dry = r.Closed-r.Started, dry
	if version, err = table[Round](c).Replace(ctx, kv.Round(kindOf(dry)), *r, version); err != nil {
		if errors.Is(err, kv.ErrConflict) {
			return Result{}, fmt.Errorf("%w: %s", ErrOver, round)
		}
		return Result{}, fmt.Errorf("close round %d: %w", r.Number, err)
	}
	c.observe(r)
	if err := c.cleanUp(ctx, r, version); err != nil {
		c.Log.WarnContext(ctx, "tidy up after the collector's rounds", "error", err)
	}
	return r.Result, nil
}

// sum adds up what the parts have come to.
func (c *Collector) sum(ctx context.Context, r *Round) error {
	repos := map[string]*counted{}
	for b := range r.Batches {
		for p := range r.Passes {
			m, _, err := outcome[marked](ctx, c, r.ID, markPart(b, p))
			if err != nil {
				return err
			}
			r.Result.Tally.add(m.Tally)
			for _, n := range m.Counts {
				sum := repos[n.Repo]
				if sum == nil {
					sum = &counted{Repo: n.Repo}
					repos[n.Repo] = sum
				}
				if p > 0 {
					continue // each pass has counted the same
				}
				sum.Count, sum.Bytes = sum.Count+n.Count, sum.Bytes+n.Bytes
				if n.Before != nil {
					sum.Before = n.Before
				}
			}
		}
	}
	if err := c.repair(ctx, r, repos); err != nil {
		return err
	}
	for i := range r.Stores {
		if err := c.sumStore(ctx, r, &r.Stores[i]); err != nil {
			return err
		}
	}
	for _, id := range r.Drains {
		d, _, err := outcome[done](ctx, c, r.ID, partDrain+"/"+id)
		if err != nil {
			return err
		}
		r.Result.Tally.add(d.Tally)
	}
	return nil
}

// tooMany is the false-positive rate at which filters are made twice as large.
const tooMany = 0.05

func (c *Collector) sumStore(ctx context.Context, r *Round, s *Swept) error {
	s.References, s.Doubled, s.Kept = 0, false, &Content{}
	for d := range len(hexDigits) {
		o, _, err := outcome[swept](ctx, c, r.ID, sweepPart(s.ID, d))
		if err != nil {
			return err
		}
		r.Result.Tally.add(o.Tally)
		r.Result.Rate = max(r.Result.Rate, o.Rate)
		s.References += o.References
		s.Kept.Blobs, s.Kept.Bytes = s.Kept.Blobs+o.Kept.Blobs, s.Kept.Bytes+o.Kept.Bytes
		s.Doubled = s.Doubled || o.Rate > tooMany
	}
	if r.Bucket {
		for l := range len(letters) {
			o, _, err := outcome[listedObjects](ctx, c, r.ID, bucketPart(s.ID, l))
			if err != nil {
				return err
			}
			r.Result.Tally.add(o.Tally)
		}
	}
	if r.Dry {
		return nil
	}
	m, _, err := outcome[done](ctx, c, r.ID, partMultipart+"/"+s.ID)
	r.Result.Tally.add(m.Tally)
	return err
}

// repair makes counters what was counted, where nobody wrote meanwhile.
func (c *Collector) repair(ctx context.Context, r *Round, repos map[string]*counted) error {
	if r.Dry {
		return nil
	}
	for id, n := range repos {
		if n.Before == nil {
			continue
		}
		wrote, err := c.Records.Repair(ctx, id, n.Count, n.Bytes, *n.Before)
		if err != nil {
			return err
		}
		if wrote {
			r.Result.Tally.Repaired++
		}
	}
	return nil
}

// cleanUp removes the parts of rounds before the last, and all filters: of this
// round, and of those that were given up.
func (c *Collector) cleanUp(ctx context.Context, r *Round, version kv.Version) error {
	var errs []error
	for _, s := range r.Stores {
		errs = append(errs, c.removeFilters(ctx, r, s.ID))
	}
	old := r.Old
	for _, last := range []*Summary{r.Last, r.LastBucket} {
		if last != nil && !r.Dry {
			old = append(old, last.ID)
		}
	}
	if r.Dry {
		old = append(old, r.ID)
	}
	var left []blob.ID
	for _, id := range old {
		switch {
		case !r.Bucket && r.LastBucket != nil && id == r.LastBucket.ID:
			left = append(left, id) // its list of objects is needed still
			continue
		case id == r.ID && !r.Dry:
			continue
		}
		if err := c.removeParts(ctx, id); err != nil {
			errs, left = append(errs, err), append(left, id)
		}
	}
	r.Old = left
	_, err := table[Round](c).Replace(ctx, kv.Round(kindOf(r.Dry)), *r, version)
	return errors.Join(append(errs, err)...)
}

func (c *Collector) removeFilters(ctx context.Context, r *Round, store string) error {
	bs, err := c.Store(ctx, store)
	if err != nil {
		return err
	}
	var ids []blob.ID
	for info, err := range bs.List(ctx, blob.WorkFolder) {
		if err != nil {
			return fmt.Errorf("list filters: %w", err)
		}
		// A dry round may run beside none but its own.
		if round, _ := info.ID.Work(); round <= r.ID {
			ids = append(ids, info.ID)
		}
	}
	return blob.DeleteMany(ctx, bs, ids)
}

func (c *Collector) removeParts(ctx context.Context, round blob.ID) error {
	for item, err := range c.kv.Query(ctx, kv.RoundPartition(string(round)), "", "", kv.Consistent) {
		if err != nil {
			return fmt.Errorf("read round %s: %w", round, err)
		}
		if err := c.kv.DeleteIf(ctx, item.Key, item.Version); err != nil && !errors.Is(err, kv.ErrConflict) {
			return fmt.Errorf("remove %v: %w", item.Key, err)
		}
	}
	return nil
}
