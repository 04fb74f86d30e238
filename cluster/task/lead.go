package task

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"granary/kv"
)

// lead makes the plan of a task that has none, and finishes one whose shards
// are closed, unless another node that lives is at it.
func (s *Service) lead(ctx context.Context, k Kind, f found) error {
	if s.room(f.ID) == 0 {
		return nil
	}
	free, err := s.judge(ctx, f.Claim)
	if err != nil || !free(f.Claim) || !s.reserve(f.key) {
		return err
	}
	kind := leading
	if f.Cancel {
		kind = ending
	}
	s.begin(ctx, f.ID, kind, func(ctx context.Context) {
		delay, err := s.step(ctx, k, f)
		s.release(f.key, delay)
		switch {
		case err == nil:
			s.wake()
		case !errors.Is(err, ErrLost) && ctx.Err() == nil:
			s.c.Log.WarnContext(ctx, "lead a task", "task", f.ID, "kind", f.Kind, "error", err)
		}
	})
	return nil
}

// step claims the task's record and does what is next.
func (s *Service) step(ctx context.Context, k Kind, f found) (delay time.Duration, err error) {
	if gone, err := s.leftOver(ctx, &f.record, f.version); err != nil || gone {
		return 0, err
	}
	rec := f.record
	rec.Claim = rec.Claim.next(s.c.Members.ID(), s.c.Now())
	if rec.Started == 0 {
		rec.Started, rec.Status = s.c.Now().UnixMilli(), Running
		rec.log(s.c.Now(), "started")
	}
	if _, err := put(ctx, s.c.KV, f.key, rec, f.version); err != nil {
		if errors.Is(err, kv.ErrConflict) {
			return 0, ErrLost // somebody was faster, or it was cancelled
		}
		return s.c.Poll, err
	}
	planning := rec.Plan == 0 && !rec.Cancel && rec.Failures < Tries
	if planning {
		s.noteStart(ctx, &rec)
		err = s.plan(ctx, k, &rec)
	} else {
		err = s.finish(ctx, k, &rec)
	}
	if err == nil || errors.Is(err, ErrLost) {
		return 0, err
	}
	return s.unclaim(ctx, &rec, planning, err), err
}

// unclaim gives the lead back after a failure.
func (s *Service) unclaim(ctx context.Context, rec *record, planning bool, cause error) (delay time.Duration) {
	stopping := ctx.Err() != nil
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	err := s.update(last, rec.Slot, rec.ID, func(r *record) error {
		if r.Claim != rec.Claim {
			return ErrLost
		}
		r.Claim.Node = ""
		if stopping || errors.Is(cause, ErrLater) {
			return nil
		}
		r.Failures++
		r.Error = clip(cause.Error())
		what := "finish"
		if planning {
			what = "plan"
		}
		r.log(s.c.Now(), what+": "+cause.Error())
		delay = s.c.Poll * time.Duration(r.Failures*r.Failures)
		return nil
	})
	if err != nil && !errors.Is(err, ErrLost) {
		s.c.Log.WarnContext(ctx, "give a task's lead back", "task", rec.ID, "error", err)
	}
	return max(delay, s.c.Poll)
}

// plan writes the shards, and then that they count.
func (s *Service) plan(ctx context.Context, k Kind, rec *record) error {
	t := rec.task()
	names, err := k.Plan(ctx, &t)
	if err != nil {
		return err
	}
	if len(names) > maxShards {
		return fmt.Errorf("%d shards, at most %d are possible", len(names), maxShards)
	}
	seen := make(map[string]bool, len(names))
	g, within := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, name := range names {
		if seen[name] {
			err = fmt.Errorf("shard %q is planned twice", name)
			break
		}
		seen[name] = true
		g.Go(func() error {
			_, err := put(within, s.c.KV, kv.TaskShard(rec.ID, rec.Claim.Epoch, i), shardRecord{Shard: name}, "")
			return err
		})
	}
	if err := errors.Join(g.Wait(), err); err != nil {
		return fmt.Errorf("write the shards: %w", err)
	}
	return s.update(ctx, rec.Slot, rec.ID, func(r *record) error {
		if r.Claim != rec.Claim {
			return ErrLost
		}
		r.Plan, r.Shards = r.Claim.Epoch, len(names)
		r.Claim.Node, r.Failures, r.Error = "", 0, ""
		r.log(s.c.Now(), fmt.Sprintf("%d shards planned", len(names)))
		return nil
	})
}

// finish makes the result, writes the task to k/done, and removes what it had
// elsewhere.
func (s *Service) finish(ctx context.Context, k Kind, rec *record) error {
	rows, err := s.shards(ctx, rec)
	if err != nil {
		return err
	}
	states := make([]ShardState, len(rows))
	problem := ""
	for i, r := range rows {
		states[i] = r.Value.shardState()
		if r.Value.State == failed && problem == "" {
			problem = r.Value.Shard + ": " + r.Value.Error
		}
	}
	over := *rec
	over.Closed, over.Progress = sum(rows)
	switch {
	case problem != "":
		over.Status, over.Error = Failed, clip(problem)
	case rec.Failures >= Tries:
		over.Status = Failed
	case rec.Cancel:
		over.Status = Cancelled
	default:
		over.Status = Completed
	}
	if err := s.conclude(ctx, k, &over, states); err != nil {
		return err
	}
	return s.writeOver(ctx, &over)
}

// conclude lets the kind make the result of a task that is over. A finish that
// has failed too often is not tried again.
func (s *Service) conclude(ctx context.Context, k Kind, over *record, states []ShardState) (err error) {
	var result any
	t := over.task()
	a, aborts := k.(Aborter)
	switch {
	case over.Status == Completed:
		result, over.Summary, err = k.Finish(ctx, &t, states)
		over.Error = ""
	case aborts && over.Failures < Tries:
		result, over.Summary, err = a.Abort(ctx, &t, states)
	}
	if err == nil {
		over.Result, err = encode(result)
	}
	over.Summary = clip(over.Summary)
	return err
}

// writeOver makes it known that a task is over.
func (s *Service) writeOver(ctx context.Context, over *record) error {
	now := s.c.Now()
	over.Completed, over.Claim.Node = now.UnixMilli(), ""
	if over.Summary == "" {
		over.Summary = string(over.Status)
		if over.Error != "" {
			over.Summary = clip(over.Summary + ": " + over.Error)
		}
	}
	// Lines that were added since the claim.
	if cur, _, err := s.table().Get(ctx, kv.OpenTask(over.Slot), kv.Consistent); err == nil && cur.ID == over.ID {
		over.Log = cur.Log
	}
	over.log(now, string(over.Status)+": "+over.Summary)
	_, err := put(ctx, s.c.KV, kv.DoneTask(over.ID), *over, "")
	if err != nil && !errors.Is(err, kv.ErrConflict) { // a conflict: somebody has finished it already
		return fmt.Errorf("write that it is over: %w", err)
	}
	if err == nil {
		s.c.Observer.Over(over.Kind, over.Status, now.Sub(time.UnixMilli(over.Created)))
	}
	s.c.Log.InfoContext(ctx, "task is over", "task", over.ID, "kind", over.Kind, "status", over.Status, "summary", over.Summary)
	if err := s.vacate(ctx, over); err != nil {
		return err
	}
	if err := s.removeShards(ctx, over.ID); err != nil {
		s.c.Log.WarnContext(ctx, "remove a task's shards; that is done with the task", "task", over.ID, "error", err)
	}
	return nil
}

// vacate removes a task that is over from its slot.
func (s *Service) vacate(ctx context.Context, over *record) error {
	key := kv.OpenTask(over.Slot)
	for {
		cur, version, err := s.table().Get(ctx, key, kv.Consistent)
		if errors.Is(err, kv.ErrNotFound) || err == nil && cur.ID != over.ID {
			return nil
		}
		if err == nil {
			err = remove(ctx, s.c.KV, key, version)
		}
		if err != nil {
			return fmt.Errorf("remove task %s from the open ones: %w", over.ID, err)
		}
	}
}
