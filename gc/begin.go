package gc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"granary/gc/filter"
	"granary/kv"
	"granary/repo/config"
)

// Options of a round.
type Options struct {
	// Dry: nothing is changed; the result says what would be.
	Dry bool
	// Asked: somebody wants this round now. It looks for objects without a
	// reference whenever the last look was.
	Asked bool
	// Task is the id of the task that does the round; Begin with the id of one
	// that has begun and is not closed goes on with it. Optional.
	Task string
}

// How a mark is divided.
const (
	recordsPerBatch = 250_000
	minBatches      = 4
	maxBatches      = 64
	spansPerBatch   = 1500
	maxFilterMemory = 256 << 20 // bytes; beyond, a mark is done in several passes
	bucketEvery     = 20 * time.Hour
	filterReserve   = 1.5 // for what is added while a round runs
)

// Begin makes a round, which ends any earlier one that was not closed. An
// [EarlyError] says that it may not begin yet.
func (c *Collector) Begin(ctx context.Context, o Options) (*Round, error) {
	if err := c.Ready(); err != nil && !o.Dry {
		return nil, err
	}
	before, version, err := c.current(ctx, false)
	if err != nil {
		return nil, err
	}
	again, err := c.begun(ctx, o)
	if err != nil || again.whole {
		return again.round, err
	}
	if before != nil && !o.Dry && again.round == nil {
		if err := c.early(before); err != nil {
			return nil, err
		}
	}
	replaces := before
	if o.Dry {
		if replaces, version, err = c.current(ctx, true); err != nil {
			return nil, err
		}
	}
	r, err := c.newRound(before, o)
	if err != nil {
		return nil, err
	}
	if replaces != nil {
		r.Old = append(replaces.Old, replaces.ID)
		if !o.Dry && replaces.Closed != 0 {
			r.Old = replaces.Old // its lists are needed still
		}
	}
	// After the last round was closed: repositories that are made from now on
	// hold nothing but what is used from now on.
	plans, err := c.plan(ctx, r)
	if err != nil {
		return nil, err
	}
	_, err = table[Round](c).Replace(ctx, kv.Round(kindOf(o.Dry)), *r, version)
	if errors.Is(err, kv.ErrConflict) {
		return nil, fmt.Errorf("%w: another node has begun one", ErrOver)
	}
	if err != nil {
		return nil, fmt.Errorf("begin a round: %w", err)
	}
	for batch, p := range plans {
		if _, err := table[plan](c).Create(ctx, kv.RoundPart(string(r.ID), planPart(batch)), p); err != nil {
			return nil, fmt.Errorf("write the plan of a round: %w", err)
		}
	}
	return r, nil
}

// begun is a round that the same task has begun already: whole if all of its plan
// is there.
type begun struct {
	round *Round
	whole bool
}

func (c *Collector) begun(ctx context.Context, o Options) (begun, error) {
	r, _, err := c.current(ctx, o.Dry)
	if err != nil || r == nil || o.Task == "" || r.Task != o.Task || r.Closed != 0 {
		return begun{}, err
	}
	if r.Batches == 0 {
		return begun{r, true}, nil
	}
	whole, err := c.closed(ctx, r.ID, planPart(r.Batches-1)) // plans are written in order
	return begun{r, whole}, err
}

func (c *Collector) newRound(before *Round, o Options) (*Round, error) {
	id, err := c.ids.NewID()
	if err != nil {
		return nil, err
	}
	r := &Round{ID: id, Number: 1, Started: c.Now().UnixNano(), Dry: o.Dry, Passes: 1, Task: o.Task}
	if before != nil {
		r.Number, r.Last, r.LastBucket = before.Number+1, before.closed(), before.LastBucket
		if before.Bucket && before.Closed != 0 {
			r.LastBucket = before.summary()
		}
	}
	r.Bucket = o.Asked || r.LastBucket == nil || c.Now().Sub(time.Unix(0, r.LastBucket.Started)) >= bucketEvery
	return r, nil
}

// plan fixes what the round goes through.
func (c *Collector) plan(ctx context.Context, r *Round) ([]plan, error) {
	if err := c.Registry.Load(ctx); err != nil {
		return nil, err
	}
	repos, err := c.Registry.Living(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.planDrains(ctx, r); err != nil {
		return nil, err
	}
	if err := c.planStores(ctx, r); err != nil {
		return nil, err
	}
	return c.planBatches(ctx, r, repos)
}

// planStores sizes the filters: by what the last round counted, half as much
// again, or at first by a count of references.
func (c *Collector) planStores(ctx context.Context, r *Round) error {
	salt := make([]byte, 16)
	if _, err := io.ReadFull(c.Random, salt); err != nil {
		return fmt.Errorf("make a salt: %w", err)
	}
	memory := int64(0)
	for _, s := range c.Registry.Stores() {
		n, err := c.expected(ctx, r.Last, s.ID)
		if err != nil {
			return err
		}
		w := Swept{ID: s.ID, Filter: filter.Size(n, salt)}
		memory += w.Filter.Memory()
		if r.Bucket {
			// Folders of blobs are filled in runs, hence less evenly.
			w.IDs = filter.Size(2*n, salt)
			memory += w.IDs.Memory()
		}
		r.Stores = append(r.Stores, w)
	}
	r.Passes = int(min((memory+maxFilterMemory-1)/maxFilterMemory, filter.Prefixes))
	r.Passes = max(r.Passes, 1)
	return nil
}

func (c *Collector) expected(ctx context.Context, last *Summary, store string) (int64, error) {
	if last != nil {
		for _, s := range last.Stores {
			if s.ID != store {
				continue
			}
			n := int64(float64(s.References) * filterReserve)
			if s.Doubled {
				n *= 2
			}
			return n, nil
		}
	}
	n := int64(0)
	for p := range filter.Prefixes {
		for _, err := range c.kv.Query(ctx, kv.ReferencePartition(store, fmt.Sprintf("%02x", p)), "", "", kv.KeysOnly) {
			if err != nil {
				return 0, fmt.Errorf("count references: %w", err)
			}
			n++
		}
	}
	return int64(float64(n) * filterReserve), nil
}

// planBatches spreads the shards of all repositories evenly over batches.
func (c *Collector) planBatches(ctx context.Context, r *Round, repos []*config.Repository) ([]plan, error) {
	var whole []span
	shards, records := 0, int64(0)
	for _, repo := range repos {
		before, err := c.Records.Shares(ctx, repo.ID)
		if err != nil {
			return nil, err
		}
		n := max(repo.Shards, 1)
		whole = append(whole, span{Repo: repo.ID, Shards: n, To: n, Hosted: repo.Type == config.Hosted, Before: &before})
		shards, records = shards+n, records+before.Count
		r.Removed += before.Removed
	}
	r.Batches = int(min(max(records/recordsPerBatch, minBatches), maxBatches))
	r.Batches = min(max(r.Batches, len(whole)/spansPerBatch), shards)
	plans := make([]plan, r.Batches)
	at, batch := 0, 0
	for _, s := range whole {
		for from := 0; from < s.Shards; {
			end := (batch + 1) * shards / r.Batches // of the batch, counted over all shards
			piece := s
			piece.From, piece.To = from, min(s.Shards, from+end-at)
			if from > 0 {
				piece.Before = nil
			}
			plans[batch].Spans = append(plans[batch].Spans, piece)
			at, from = at+piece.To-piece.From, piece.To
			if at == end {
				batch++
			}
		}
	}
	return plans, nil
}

func planPart(batch int) string { return fmt.Sprintf("plan/%04d", batch) }
