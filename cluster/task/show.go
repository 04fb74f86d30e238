package task

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"granary/kv"
)

// found is a task with where it lies.
type found struct {
	record
	key     kv.Key
	version kv.Version
}

// find looks a task up; ErrNotFound if there is none.
func (s *Service) find(ctx context.Context, id string) (found, error) {
	// Open tasks first: one that ends in between is then seen as over.
	all, err := s.open(ctx)
	if err != nil {
		return found{}, err
	}
	key := kv.DoneTask(id)
	rec, version, err := s.table().Get(ctx, key, kv.Consistent)
	if err == nil {
		return found{rec, key, version}, nil
	}
	if !errors.Is(err, kv.ErrNotFound) {
		return found{}, fmt.Errorf("read task %s: %w", id, err)
	}
	i := slices.IndexFunc(all, func(f found) bool { return f.ID == id })
	if i < 0 {
		return found{}, fmt.Errorf("%w: %s", ErrNotFound, id)
	}
	return all[i], nil
}

// open reads the tasks that are not over.
func (s *Service) open(ctx context.Context) ([]found, error) {
	var all []found
	for row, err := range s.table().Query(ctx, kv.OpenTasks, "", "", kv.Consistent) {
		if err != nil {
			return nil, fmt.Errorf("read open tasks: %w", err)
		}
		all = append(all, found{row.Value, row.Key, row.Version})
	}
	return all, nil
}

// Get returns a task, or ErrNotFound.
func (s *Service) Get(ctx context.Context, id string) (Task, error) {
	f, err := s.find(ctx, id)
	if err != nil {
		return Task{}, err
	}
	return s.show(ctx, f)
}

// List returns all tasks, the latest first.
func (s *Service) List(ctx context.Context) ([]Task, error) {
	open, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	byID := map[string]Task{}
	for row, err := range s.table().Query(ctx, kv.DoneTasks, "", "", kv.Consistent) {
		if err != nil {
			return nil, fmt.Errorf("read tasks: %w", err)
		}
		byID[row.Value.ID] = row.Value.task()
	}
	for _, f := range open {
		if _, over := byID[f.ID]; over {
			continue
		}
		if byID[f.ID], err = s.show(ctx, f); err != nil {
			return nil, err
		}
	}
	out := make([]Task, 0, len(byID))
	for _, t := range byID {
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b Task) int {
		if c := b.Created.Compare(a.Created); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return out, nil
}

// show adds the state of the shards to a task that is not over.
func (s *Service) show(ctx context.Context, f found) (Task, error) {
	t := f.task()
	if f.Status.Over() || f.Plan == 0 {
		return t, nil
	}
	rows, err := s.shards(ctx, &f.record)
	if err != nil {
		return t, err
	}
	t.Closed, t.Progress = sum(rows)
	return t, nil
}

// sum adds the shards up.
func sum(rows []kv.Row[shardRecord]) (closed int, p Progress) {
	for _, r := range rows {
		p.add(r.Value.Progress)
		if r.Value.State != open {
			closed++
		} else if p.Phase == "" {
			p.Phase = r.Value.Progress.Phase
		}
	}
	return closed, p
}

// shards reads the shards of a task's plan, in order.
func (s *Service) shards(ctx context.Context, rec *record) ([]kv.Row[shardRecord], error) {
	from, to := kv.PlanRange(rec.Plan)
	var rows []kv.Row[shardRecord]
	for row, err := range s.shardTable().Query(ctx, kv.TaskShards(rec.ID), from, to, kv.Consistent) {
		if err != nil {
			return nil, fmt.Errorf("read shards of task %s: %w", rec.ID, err)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// Held counts the shards that each node holds, by node id.
func (s *Service) Held(ctx context.Context) (map[string]int, error) {
	tasks, err := s.open(ctx)
	if err != nil {
		return nil, err
	}
	held := map[string]int{}
	for _, f := range tasks {
		rows, err := s.shards(ctx, &f.record)
		if err != nil {
			return nil, err
		}
		for _, r := range rows {
			if r.Value.State == open && r.Value.Claim.Node != "" {
				held[r.Value.Claim.Node]++
			}
		}
	}
	return held, nil
}
