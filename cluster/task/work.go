package task

import (
	"context"
	"errors"
	"fmt"

	"granary/kv"
)

// Work is a shard in the hands of [Kind.Run]. It is used by one goroutine at a
// time.
type Work struct {
	Task  *Task // as it was when the shard was claimed
	Shard string
	// Cursor is what was saved last, by whomever; nil at the beginning.
	Cursor []byte
	// Result is stored with each Save and at the end, for Finish. It begins
	// with what was saved last.
	Result []byte
	// Progress is stored at the end, and set by Save. It begins with what was
	// saved last.
	Progress Progress
	// Epoch is the claim's: it is greater than that of each earlier holder.
	Epoch uint64

	s       *Service
	key     kv.Key
	plan    uint64
	record  shardRecord
	version kv.Version
	lost    bool
}

// Save stores how far the shard is, after what the cursor stands for has been
// acknowledged. progress is the shard's since its task began. An error means
// stop: ErrLost and ErrCancelled say that others go on, or nobody.
func (w *Work) Save(ctx context.Context, cursor []byte, progress Progress) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if len(cursor) > MaxCursor || len(w.Result) > MaxResult {
		return fmt.Errorf("save shard %s: a cursor of %d or a result of %d bytes is too long", w.Shard, len(cursor), len(w.Result))
	}
	w.Cursor, w.Progress = cursor, progress
	return w.write(ctx)
}

// write stores the shard as it is, if it is still ours.
func (w *Work) write(ctx context.Context) error {
	if w.lost {
		return fmt.Errorf("shard %s: %w", w.Shard, ErrLost)
	}
	w.record.Cursor, w.record.Result, w.record.Progress = w.Cursor, w.Result, w.Progress
	version, err := put(ctx, w.s.c.KV, w.key, w.record, w.version)
	if errors.Is(err, kv.ErrConflict) {
		w.lost = true
		return fmt.Errorf("shard %s: %w", w.Shard, ErrLost)
	}
	if err != nil {
		return fmt.Errorf("save shard %s: %w", w.Shard, err)
	}
	w.version = version
	return nil
}

// Log adds a line to the task's log. The log is bounded and its record is one
// for all shards: it is for what happens rarely.
func (w *Work) Log(ctx context.Context, message string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return w.s.update(ctx, w.Task.Slot, w.Task.ID, func(rec *record) error {
		rec.log(w.s.c.Now(), message)
		return nil
	})
}

// Others reads the state of all of the task's shards, in the order of the plan.
// Closed ones do not change any more.
func (w *Work) Others(ctx context.Context) ([]ShardState, error) {
	from, to := kv.PlanRange(w.plan)
	var out []ShardState
	for row, err := range w.s.shardTable().Query(ctx, kv.TaskShards(w.Task.ID), from, to, kv.Consistent) {
		if err != nil {
			return nil, fmt.Errorf("read the shards of task %s: %w", w.Task.ID, err)
		}
		out = append(out, row.Value.shardState())
	}
	return out, nil
}
