package task

import (
	"context"
	"errors"
	"sync"
	"time"

	"granary/kv"
)

// run is one goroutine for one task.
type run struct {
	task string
	kind runKind
	stop context.CancelCauseFunc
}

type runKind uint8

const (
	serving runKind = iota // does shards
	leading                // plans or finishes
	ending                 // finishes what is known to be cancelled
)

// cleanEvery is the time between looks for tasks that were kept long enough.
const cleanEvery = time.Minute

// settleTime is how long a node that stops takes for telling so.
const settleTime = 10 * time.Second

func (s *Service) mono() time.Duration { return time.Since(s.start) }

// Run takes part in what is to be done until ctx ends, and waits for what it
// has begun.
func (s *Service) Run(ctx context.Context) {
	defer s.working.Wait()
	if len(s.c.Schedule) > 0 {
		s.working.Go(func() { s.schedule(ctx) })
	}
	tick := time.NewTicker(s.c.Poll)
	defer tick.Stop()
	cleaned := -cleanEvery
	for {
		if err := s.look(ctx); err != nil && ctx.Err() == nil {
			s.c.Log.WarnContext(ctx, "look for work", "error", err)
		}
		if s.mono()-cleaned >= cleanEvery {
			cleaned = s.mono()
			if err := s.clean(ctx); err != nil && ctx.Err() == nil {
				s.c.Log.WarnContext(ctx, "remove old tasks", "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.kick:
		}
	}
}

// look reads what is open, stops what is not wanted any more and begins what
// there is room for.
func (s *Service) look(ctx context.Context) error {
	tasks, err := s.open(ctx)
	if err != nil {
		return err
	}
	s.stopUnwanted(tasks)
	var errs []error
	for _, f := range tasks {
		if k := s.kinds[f.Kind]; k != nil {
			errs = append(errs, s.advance(ctx, k, f))
		}
	}
	s.forgetDelays()
	return errors.Join(errs...)
}

// stopUnwanted ends the runs for tasks that were cancelled, and what is left
// of those that are over.
func (s *Service) stopUnwanted(tasks []found) {
	cancelled, isOpen := map[string]bool{}, map[string]bool{}
	for _, f := range tasks {
		isOpen[f.ID], cancelled[f.ID] = true, f.Cancel
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for r := range s.runs {
		if r.kind == serving && !isOpen[r.task] || r.kind != ending && cancelled[r.task] {
			r.stop(ErrCancelled)
		}
	}
}

// forgetDelays forgets those that are over.
func (s *Service) forgetDelays() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key, at := range s.later {
		if s.mono() >= at {
			delete(s.later, key)
		}
	}
}

// advance takes the next step of a task, as far as it is this node's to take.
func (s *Service) advance(ctx context.Context, k Kind, f found) error {
	if f.Plan == 0 {
		return s.lead(ctx, k, f)
	}
	room := s.room(f.ID)
	if room == 0 && !f.Cancel {
		return nil
	}
	rows, err := s.shards(ctx, &f.record)
	if err != nil {
		return err
	}
	ending, left := f.Cancel, 0
	for _, r := range rows {
		ending = ending || r.Value.State == failed
		if r.Value.State == open {
			left++
		}
	}
	if left == 0 {
		return s.lead(ctx, k, f)
	}
	free, err := s.claimable(ctx, rows)
	if err != nil {
		return err
	}
	if ending {
		return s.drop(ctx, free, left)
	}
	q := &queue{rows: free}
	for range min(room, len(free)) {
		s.begin(ctx, f.ID, serving, func(ctx context.Context) { s.serve(ctx, k, f.record, q) })
	}
	return nil
}

// room is how many more runs a task may have here.
func (s *Service) room(task string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for r := range s.runs {
		if r.task == task {
			n++
		}
	}
	return max(0, min(s.c.Workers-n, s.c.Most-len(s.runs)))
}

// begin runs f for a task in a goroutine of its own.
func (s *Service) begin(ctx context.Context, task string, kind runKind, f func(context.Context)) {
	ctx, cancel := context.WithCancelCause(ctx)
	r := &run{task, kind, cancel}
	s.mu.Lock()
	s.runs[r] = struct{}{}
	s.mu.Unlock()
	s.working.Go(func() {
		defer cancel(nil)
		defer func() {
			s.mu.Lock()
			delete(s.runs, r)
			s.mu.Unlock()
		}()
		f(ctx)
	})
}

// reserve keeps others in this process from claiming key; release undoes it.
func (s *Service) reserve(key kv.Key) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, taken := s.at[key]; taken || s.mono() < s.later[key] {
		return false
	}
	s.at[key] = struct{}{}
	return true
}

// release is to be called once nothing more is written; after a delay the key
// may be claimed here again.
func (s *Service) release(key kv.Key, delay time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.at, key)
	if delay > 0 {
		s.later[key] = s.mono() + delay
	}
}

// claimable are the open shards that nobody is at who lives.
func (s *Service) claimable(ctx context.Context, rows []kv.Row[shardRecord]) ([]kv.Row[shardRecord], error) {
	claims := make([]claim, len(rows))
	for i, r := range rows {
		if r.Value.State == open {
			claims[i] = r.Value.Claim
		}
	}
	free, err := s.judge(ctx, claims...)
	if err != nil {
		return nil, err
	}
	var out []kv.Row[shardRecord]
	for _, r := range rows {
		if r.Value.State == open && free(r.Value.Claim) {
			out = append(out, r)
		}
	}
	return out, nil
}

// judge tells of claims that were read before whether nobody is behind them.
// What this node is at itself is not a matter of its claims: see reserve.
func (s *Service) judge(ctx context.Context, claims ...claim) (func(claim) bool, error) {
	own := s.c.Members.ID()
	foreign := false
	for _, c := range claims {
		foreign = foreign || c.Node != "" && c.Node != own
	}
	alive := map[string]bool{}
	if foreign {
		// Read after the claims: a node registers before it claims, so that
		// one which is not there has gone.
		nodes, err := s.c.Members.Nodes(ctx)
		if err != nil {
			return nil, err
		}
		for _, n := range nodes {
			alive[n.ID] = n.Alive
		}
	}
	return func(c claim) bool { return c.Node == "" || c.Node == own || !alive[c.Node] }, nil
}

// drop closes the shards of a task that is to end, save those that somebody is
// still at: whoever that is closes them.
func (s *Service) drop(ctx context.Context, rows []kv.Row[shardRecord], left int) error {
	for _, r := range rows {
		if !s.reserve(r.Key) {
			continue
		}
		rec := r.Value
		rec.State, rec.Claim.Node = dropped, ""
		_, err := put(ctx, s.c.KV, r.Key, rec, r.Version)
		s.release(r.Key, 0)
		if err != nil && !errors.Is(err, kv.ErrConflict) {
			return err
		}
		if err == nil {
			left--
		}
	}
	if left == 0 {
		s.wake()
	}
	return nil
}

// queue hands shards to a task's runs on this node.
type queue struct {
	mu   sync.Mutex
	rows []kv.Row[shardRecord] // guarded by mu
}

func (q *queue) next() (kv.Row[shardRecord], bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.rows) == 0 {
		return kv.Row[shardRecord]{}, false
	}
	r := q.rows[0]
	q.rows = q.rows[1:]
	return r, true
}

// serve does shards until the queue is empty.
func (s *Service) serve(ctx context.Context, k Kind, of record, q *queue) {
	closed := false
	for ctx.Err() == nil {
		row, ok := q.next()
		if !ok {
			break
		}
		if !s.reserve(row.Key) {
			continue
		}
		ended, delay := s.shard(ctx, k, &of, row)
		s.release(row.Key, delay)
		closed = closed || ended
	}
	if closed {
		s.wake() // there may be a next step
	}
}

// shard claims one and does it. It tells whether the shard is closed, and how
// long to keep away from it if not.
func (s *Service) shard(ctx context.Context, k Kind, of *record, row kv.Row[shardRecord]) (closed bool, delay time.Duration) {
	rec, t := row.Value, of.task()
	overtaken := rec.Claim.Node != "" && rec.Claim.Node != s.c.Members.ID()
	if overtaken {
		s.c.Log.InfoContext(ctx, "take a shard over", "task", t.ID, "kind", t.Kind, "shard", rec.Shard, "from", rec.Claim.Node)
	}
	rec.Claim = rec.Claim.next(s.c.Members.ID(), s.c.Now())
	version, err := put(ctx, s.c.KV, row.Key, rec, row.Version)
	if err != nil {
		if !errors.Is(err, kv.ErrConflict) && ctx.Err() == nil {
			s.c.Log.WarnContext(ctx, "claim a shard", "task", t.ID, "shard", rec.Shard, "error", err)
			return false, s.c.Poll
		}
		return false, 0 // somebody was faster
	}
	w := &Work{
		Task: &t, Shard: rec.Shard, Cursor: rec.Cursor, Result: rec.Result, Progress: rec.Progress, Epoch: rec.Claim.Epoch,
		s: s, key: row.Key, plan: of.Plan, record: rec, version: version,
	}
	began, outcome := s.mono(), outcomeLeft
	s.c.Observer.Began(t.Kind, overtaken)
	defer func() { s.c.Observer.Ended(t.Kind, outcome, s.mono()-began) }()
	if tracer, ok := s.c.Observer.(Tracer); ok {
		var ended func(string)
		if ctx, ended = tracer.Trace(ctx, t.Kind); ended != nil {
			defer func() { ended(outcome) }()
		}
	}
	err = k.Run(ctx, w)
	closed, delay = s.settle(ctx, w, err)
	switch {
	case w.lost || ctx.Err() != nil:
	case w.record.State == done && closed:
		outcome = outcomeDone
	case errors.Is(err, ErrLater):
		outcome = outcomeLater
	case err != nil:
		outcome = outcomeFailed
	}
	return closed, delay
}

// settle writes what has become of a shard.
func (s *Service) settle(ctx context.Context, w *Work, err error) (closed bool, delay time.Duration) {
	if w.lost {
		return false, 0
	}
	if err == nil && len(w.Result) > MaxResult {
		err = errors.New("its result is too long")
		w.Result = nil
	}
	rec := &w.record
	rec.Claim.Node = ""
	switch {
	case err == nil:
		rec.State, rec.Error = done, ""
	case errors.Is(context.Cause(ctx), ErrCancelled):
		rec.State, rec.Error = dropped, ErrCancelled.Error()
	case ctx.Err() != nil: // this node stops: others go on from the cursor
	case errors.Is(err, ErrLater):
		delay = s.c.Poll
	default:
		rec.Failures++
		if errors.As(err, new(finalError)) {
			rec.Failures = Tries
		}
		rec.Error = clip(err.Error())
		delay = s.c.Poll * time.Duration(rec.Failures*rec.Failures)
		if rec.Failures >= Tries {
			rec.State = failed
		}
		s.c.Log.WarnContext(ctx, "a shard has failed", "task", w.Task.ID, "kind", w.Task.Kind, "shard", w.Shard, "try", rec.Failures, "error", err)
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	if err := w.write(last); err != nil {
		if !errors.Is(err, ErrLost) {
			s.c.Log.WarnContext(ctx, "close a shard; it is done again", "task", w.Task.ID, "shard", w.Shard, "error", err)
			delay = s.c.Poll
		}
		return false, delay
	}
	return rec.State != open, delay
}
