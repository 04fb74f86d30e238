package task

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/google/uuid"

	"granary/cluster"
	"granary/kv"
)

// Members tells of the nodes; [cluster.Node] does.
type Members interface {
	ID() string
	// Nodes reads all nodes consistently.
	Nodes(ctx context.Context) ([]cluster.Info, error)
	// Lease holds a lease until release is called, else fails at once.
	Lease(ctx context.Context, name string, ttl time.Duration) (release func(), err error)
}

// Config is what a Service is made of.
type Config struct {
	KV      kv.Store
	Members Members
	Kinds   []Kind
	// Schedule lists what is started without being asked for. Optional.
	Schedule []Periodic
	// Retention is how long a task that is over is kept; 0: not at all once
	// the next clean-up comes by. Optional; nil: a day.
	Retention func() time.Duration
	// Workers is how many shards of one task this node runs at once, 2.
	Workers int
	// Most is how many shards of all tasks this node runs at once, 8.
	Most int
	// Poll is the time between looks at what is to be done, 2 s.
	Poll time.Duration
	// Observer counts what this node does. Optional.
	Observer Observer

	Now func() time.Time // wall clock; optional
	Log *slog.Logger     // optional
}

// Service starts, shows and runs tasks. It is used concurrently.
type Service struct {
	c     Config
	kinds map[string]Kind
	kick  chan struct{}

	start   time.Time // of the monotonic clock
	mu      sync.Mutex
	runs    map[*run]struct{}        // guarded by mu: this node's goroutines for tasks
	at      map[kv.Key]struct{}      // guarded by mu: what they hold or are about to claim
	later   map[kv.Key]time.Duration // guarded by mu: not to be tried before, by the monotonic clock
	working sync.WaitGroup           // for the goroutines; owned by Run
}

// New prepares a service; [Service.Run] makes it work.
func New(c Config) (*Service, error) {
	if c.KV == nil || c.Members == nil {
		return nil, errors.New("task: KV and Members are required")
	}
	if c.Retention == nil {
		c.Retention = func() time.Duration { return 24 * time.Hour }
	}
	if c.Observer == nil {
		c.Observer = silent{}
	}
	if c.Workers <= 0 {
		c.Workers = 2
	}
	if c.Most <= 0 {
		c.Most = 8
	}
	if c.Poll <= 0 {
		c.Poll = 2 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Service{
		c: c, kinds: map[string]Kind{}, kick: make(chan struct{}, 1),
		start: time.Now(), runs: map[*run]struct{}{}, at: map[kv.Key]struct{}{}, later: map[kv.Key]time.Duration{},
	}
	for _, k := range c.Kinds {
		if s.kinds[k.Name()] != nil {
			return nil, fmt.Errorf("task: two kinds are called %s", k.Name())
		}
		s.kinds[k.Name()] = k
	}
	return s, nil
}

func (s *Service) table() kv.Table[record]           { return kv.Table[record]{Store: s.c.KV} }
func (s *Service) shardTable() kv.Table[shardRecord] { return kv.Table[shardRecord]{Store: s.c.KV} }

// wake makes Run look at what is to be done now.
func (s *Service) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// Start makes a task, which some node begins soon. params is encoded as JSON;
// by is the user who asks, "" for none. A [RunningError] says that the slot is
// taken.
func (s *Service) Start(ctx context.Context, kind string, params any, by string) (Task, error) {
	k := s.kinds[kind]
	if k == nil {
		return Task{}, fmt.Errorf("start task: %w: %s", ErrUnknownKind, kind)
	}
	data, err := json.Marshal(params)
	if err == nil && len(data) > maxParams {
		err = fmt.Errorf("%d bytes of parameters, at most %d are possible", len(data), maxParams)
	}
	if err != nil {
		return Task{}, fmt.Errorf("start %s task: %w", kind, err)
	}
	slot, err := slotOf(k, data)
	if err != nil {
		return Task{}, err
	}
	if a, ok := k.(Admitter); ok {
		if err := a.Admit(ctx, data); err != nil {
			return Task{}, err
		}
	}
	now := s.c.Now()
	rec := record{
		ID: uuid.NewString(), Kind: kind, Slot: slot, Params: data, By: by,
		Created: now.UnixMilli(), Status: Pending,
	}
	rec.log(now, "created")
	if err := s.create(ctx, rec); err != nil {
		return Task{}, fmt.Errorf("start %s task: %w", kind, err)
	}
	s.noteStart(ctx, &rec)
	s.wake()
	return rec.task(), nil
}

// slotOf is the name under which a task excludes others.
func slotOf(k Kind, params []byte) (string, error) {
	sl, ok := k.(Slotter)
	if !ok {
		return k.Name(), nil
	}
	name, err := sl.Slot(params)
	if err != nil {
		return "", err
	}
	return k.Name() + "/" + name, nil
}

// create writes a task into its slot, unless that is taken by one that is not
// over.
func (s *Service) create(ctx context.Context, rec record) error {
	key := kv.OpenTask(rec.Slot)
	for range Tries {
		_, err := put(ctx, s.c.KV, key, rec, "")
		if !errors.Is(err, kv.ErrConflict) {
			return err
		}
		other, version, err := s.table().Found(ctx, key, err)
		if errors.Is(err, kv.ErrNotFound) {
			continue // it is over just now
		}
		if err != nil {
			return err
		}
		if other.ID == rec.ID {
			return nil // it was written, the answer got lost, and a worker is at it already
		}
		gone, err := s.leftOver(ctx, &other, version)
		if err != nil {
			return err
		}
		if !gone {
			return &RunningError{other.Kind, other.ID}
		}
	}
	return &RunningError{rec.Kind, "which is over and begun again faster than can be followed"}
}

// leftOver removes a task from its slot that was written to k/done by somebody
// who did not come to remove it.
func (s *Service) leftOver(ctx context.Context, rec *record, version kv.Version) (bool, error) {
	_, _, err := s.table().Get(ctx, kv.DoneTask(rec.ID), kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, remove(ctx, s.c.KV, kv.OpenTask(rec.Slot), version)
}

// noteStart keeps when a slot's task was last started. What is missing is made
// up for by whoever plans the task.
func (s *Service) noteStart(ctx context.Context, rec *record) {
	t := kv.Table[last]{Store: s.c.KV}
	_, err := t.Update(ctx, kv.LastTask(rec.Slot), func(old last, _ bool) (last, error) {
		if old.Started >= rec.Created {
			return old, kv.ErrUnchanged
		}
		old.ID, old.Started = rec.ID, rec.Created
		return old, nil
	})
	if err != nil && ctx.Err() == nil {
		s.c.Log.WarnContext(ctx, "note the start of a task", "task", rec.ID, "kind", rec.Kind, "error", err)
	}
}

// LastStarted returns when a task of a slot was last started, the zero time if
// never. For most kinds the slot is the kind.
func (s *Service) LastStarted(ctx context.Context, slot string) (time.Time, error) {
	l, _, err := kv.Table[last]{Store: s.c.KV}.Get(ctx, kv.LastTask(slot), kv.Consistent)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return time.Time{}, fmt.Errorf("read when %s was last started: %w", slot, err)
	}
	return millis(l.Started), nil
}

// Cancel asks for the end of a task, from any node; it is over once all nodes
// have stopped. One that is over already stays as it is.
func (s *Service) Cancel(ctx context.Context, id, by string) error {
	f, err := s.find(ctx, id)
	if err != nil || f.Status.Over() {
		return err
	}
	err = s.update(ctx, f.Slot, id, func(rec *record) error {
		if rec.Cancel {
			return kv.ErrUnchanged
		}
		rec.Cancel = true
		message := "cancel requested"
		if by != "" {
			message += " by " + by
		}
		rec.log(s.c.Now(), message)
		return nil
	})
	if errors.Is(err, ErrLost) {
		return nil // it is over
	}
	if err != nil {
		return fmt.Errorf("cancel task %s: %w", id, err)
	}
	s.wake()
	return nil
}

// update changes an open task's record; ErrLost if the task is open no more.
func (s *Service) update(ctx context.Context, slot, id string, change func(*record) error) error {
	_, err := s.table().Update(ctx, kv.OpenTask(slot), func(rec record, exists bool) (record, error) {
		if !exists || rec.ID != id {
			return rec, ErrLost
		}
		return rec, change(&rec)
	})
	return err
}

// Delete cancels a task that is not over and removes one that is.
func (s *Service) Delete(ctx context.Context, id, by string) error {
	f, err := s.find(ctx, id)
	if err != nil {
		return err
	}
	if !f.Status.Over() {
		return s.Cancel(ctx, id, by)
	}
	if err := s.forget(ctx, f); err != nil {
		return fmt.Errorf("delete task %s: %w", id, err)
	}
	return nil
}

// forget removes a task that is over. Its record goes last, so that whatever
// was left is found again.
func (s *Service) forget(ctx context.Context, f found) error {
	row, version, err := s.table().Get(ctx, kv.OpenTask(f.Slot), kv.Consistent)
	if err == nil && row.ID == f.ID {
		err = remove(ctx, s.c.KV, kv.OpenTask(f.Slot), version)
	}
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return err
	}
	if err := s.removeShards(ctx, f.ID); err != nil {
		return err
	}
	return remove(ctx, s.c.KV, f.key, f.version)
}

func (s *Service) removeShards(ctx context.Context, id string) error {
	for item, err := range s.c.KV.Query(ctx, kv.TaskShards(id), "", "", kv.Consistent, kv.KeysOnly) {
		if err != nil {
			return err
		}
		if err := remove(ctx, s.c.KV, item.Key, item.Version); err != nil {
			return err
		}
	}
	return nil
}
