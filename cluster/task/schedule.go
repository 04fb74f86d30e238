package task

import (
	"context"
	"errors"
	"fmt"
	"time"

	"granary/cluster"
	"granary/kv"
)

// Periodic is work that is started without being asked for. Whichever node
// comes first starts it.
type Periodic struct {
	Kind string
	// Due tells whether it is time, and with which parameters, given when a
	// task of the kind was last started: by the clock of the node that did, the
	// zero time if never.
	Due func(ctx context.Context, last time.Time) (due bool, params any, err error)
}

// scheduleEvery is how many polls lie between looks at what is due.
const scheduleEvery = 5

// scheduleTTL is that of the lease under which something is started.
const scheduleTTL = time.Minute

func (s *Service) schedule(ctx context.Context) {
	tick := time.NewTicker(scheduleEvery * s.c.Poll)
	defer tick.Stop()
	for {
		for _, p := range s.c.Schedule {
			if err := s.startIfDue(ctx, p); err != nil && ctx.Err() == nil {
				s.c.Log.WarnContext(ctx, "start what is due", "kind", p.Kind, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// startIfDue looks twice: the second look, under a lease, sees what the node
// that held it before has started.
func (s *Service) startIfDue(ctx context.Context, p Periodic) error {
	if due, _, err := s.due(ctx, p); err != nil || !due {
		return err
	}
	release, err := s.c.Members.Lease(ctx, "task/schedule/"+p.Kind, scheduleTTL)
	if errors.Is(err, cluster.ErrHeld) {
		return nil
	}
	if err != nil {
		return err
	}
	defer release()
	due, params, err := s.due(ctx, p)
	if err != nil || !due {
		return err
	}
	_, err = s.Start(ctx, p.Kind, params, "")
	if errors.Is(err, ErrRunning) || errors.Is(err, ErrTooSoon) {
		return nil
	}
	return err
}

func (s *Service) due(ctx context.Context, p Periodic) (bool, any, error) {
	last, err := s.LastStarted(ctx, p.Kind)
	if err != nil {
		return false, nil, err
	}
	due, params, err := p.Due(ctx, last)
	if err != nil {
		return false, nil, fmt.Errorf("is a %s due: %w", p.Kind, err)
	}
	return due, params, nil
}

// Every is a [Periodic]'s Due for a kind without parameters; interval is asked
// each time, 0 or less: never.
func Every(interval func() time.Duration, now func() time.Time) func(context.Context, time.Time) (bool, any, error) {
	return func(_ context.Context, last time.Time) (bool, any, error) {
		d := interval()
		return d > 0 && now().Sub(last) >= d, nil, nil
	}
}

// clean removes tasks that were kept long enough.
func (s *Service) clean(ctx context.Context) error {
	oldest := s.c.Now().Add(-s.c.Retention())
	for row, err := range s.table().Query(ctx, kv.DoneTasks, "", "") {
		if err != nil {
			return fmt.Errorf("read tasks: %w", err)
		}
		if millis(row.Value.Completed).After(oldest) {
			continue
		}
		if err := s.forget(ctx, found{row.Value, row.Key, row.Version}); err != nil {
			return fmt.Errorf("remove task %s: %w", row.Value.ID, err)
		}
	}
	return nil
}
