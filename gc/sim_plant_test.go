package gc_test

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"granary/cluster/task"
	"granary/gc"
	"granary/kv"
	"granary/kv/mem"
	"granary/repo"
	"granary/repo/refs"
)

// simPlant is a fault that is planted in a simulation: one of the collector's,
// or one of what lies around it.
type simPlant struct {
	gc    gc.Plant
	stray stray
}

// stray is a fault outside of the collector.
type stray uint8

const (
	strayNone       stray = iota
	strayIdleMove         // a copy does not use the reference to its content
	strayRestart          // the versions of a reference count from one again when it is made anew
	strayBlindStamp       // a stamp is written blindly, and sometimes lands again later
	strayOverwrite        // a publication is written over what is stored under its key
)

// blind says what the plant writes blindly; nil where it keeps to the rules.
func (p simPlant) blind() func(string) bool {
	if p.stray != strayBlindStamp && p.stray != strayOverwrite {
		return nil
	}
	return func(partition string) bool {
		return strings.HasPrefix(partition, "t/") || strings.HasPrefix(partition, "i/")
	}
}

// under is the store below the faults of the network.
func (p simPlant) under(w *world) kv.Store {
	s := &referee{Store: w.mem, fail: w.fail}
	if p.stray == strayRestart {
		return newRestarting(s)
	}
	return s
}

// over is the store as nodes have it.
func (p simPlant) over(w *world) kv.Store {
	switch p.stray {
	case strayBlindStamp:
		return newBlindStamps(w.kv, time.Now, w.roll)
	case strayOverwrite:
		return overwriting{w.kv}
	}
	return w.kv
}

// keeper is the store as who uses references has it.
func (p simPlant) keeper(s kv.Store) kv.Store {
	if p.stray == strayIdleMove {
		return idle{s}
	}
	return s
}

// moving is the context of a copy.
func (p simPlant) moving(ctx context.Context) context.Context {
	return context.WithValue(ctx, movingKey{}, true)
}

type movingKey struct{}

// kinds are those of a node, all of whose work on repositories is copies.
func (p simPlant) kinds(all []task.Kind) []task.Kind {
	if p.stray != strayIdleMove {
		return all
	}
	for i, k := range all {
		all[i] = movingKind{k, p}
	}
	return all
}

type movingKind struct {
	task.Kind
	p simPlant
}

func (k movingKind) Run(ctx context.Context, w *task.Work) error {
	return k.Kind.Run(k.p.moving(ctx), w)
}

// referee sees that no publication is ever another under its key.
type referee struct {
	*mem.Store
	fail func(string, ...any)
}

func (r *referee) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	return r.judged(ctx, item, func() error { return r.Store.PutIf(ctx, item, old) })
}

func (r *referee) Put(ctx context.Context, item kv.Item) error {
	return r.judged(ctx, item, func() error { return r.Store.Put(ctx, item) })
}

func (r *referee) judged(ctx context.Context, item kv.Item, put func() error) error {
	if !published(item.Key) {
		return put()
	}
	before, err := r.Store.Get(ctx, item.Key, kv.Consistent)
	there := err == nil
	if err := put(); err != nil || !there {
		return err
	}
	was, err1 := repo.ReadIndexed(before)
	is, err2 := repo.ReadIndexed(item)
	same := slices.EqualFunc(was.Names, is.Names, func(a, b repo.Named) bool { return bytes.Equal(a.Hash, b.Hash) })
	if err1 != nil || err2 != nil || !same {
		r.fail("the publication %s has two contents", item.Sort)
	}
	return nil
}

// published tells whether a key is a publication's.
func published(key kv.Key) bool {
	_, name, _ := strings.Cut(key.Sort, "//")
	return strings.HasPrefix(key.Partition, "i/") && strings.HasPrefix(name, "pub/")
}

// restarting is a store in which the versions of references are numbers that
// begin at one again when a reference is made anew: who remembers one of an
// earlier life may write over the same number.
type restarting struct {
	kv.Store
	mu      sync.Mutex
	numbers map[kv.Version]int // guarded by mu
}

func newRestarting(s kv.Store) *restarting {
	return &restarting{Store: s, numbers: map[kv.Version]int{}}
}

func (s *restarting) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	if !strings.HasPrefix(item.Partition, "b/") {
		return s.Store.PutIf(ctx, item, old)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.numbers[item.Version] == 0 { // else it was written before
		old = s.same(ctx, item.Key, old)
	}
	err := s.Store.PutIf(ctx, item, old)
	if err == nil && s.numbers[item.Version] == 0 {
		s.numbers[item.Version] = 1
		if old != "" {
			s.numbers[item.Version] += s.numbers[old]
		}
	}
	return err
}

func (s *restarting) DeleteIf(ctx context.Context, key kv.Key, old kv.Version) error {
	if !strings.HasPrefix(key.Partition, "b/") {
		return s.Store.DeleteIf(ctx, key, old)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.Store.DeleteIf(ctx, key, s.same(ctx, key, old))
}

// same is the version that a key has, if it is the same number as old.
func (s *restarting) same(ctx context.Context, key kv.Key, old kv.Version) kv.Version {
	if old == "" {
		return old
	}
	if now, err := s.Store.Get(ctx, key, kv.Consistent); err == nil && s.numbers[now.Version] == s.numbers[old] {
		return now.Version
	}
	return old
}

// blindStamps writes stamps without a condition. Some are sent twice, and the
// second lands later.
type blindStamps struct {
	kv.Store
	now  func() time.Time
	roll func(int) int
	mu   sync.Mutex
	late []lateStamp // guarded by mu
}

type lateStamp struct {
	due  time.Time
	item kv.Item
}

func newBlindStamps(s kv.Store, now func() time.Time, roll func(int) int) *blindStamps {
	return &blindStamps{Store: s, now: now, roll: roll}
}

func (s *blindStamps) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	s.land(ctx)
	if !strings.HasPrefix(item.Partition, "i/") || !strings.HasSuffix(item.Sort, "//stamp") {
		return s.Store.PutIf(ctx, item, old)
	}
	if s.roll(10) == 0 {
		s.mu.Lock()
		s.late = append(s.late, lateStamp{s.now().Add(time.Duration(1+s.roll(60)) * time.Second), item})
		s.mu.Unlock()
	}
	return s.Store.Put(ctx, item)
}

func (s *blindStamps) PutIfLazy(ctx context.Context, item kv.Item, old kv.Version) error {
	return s.PutIf(ctx, item, old)
}

// land carries out what is due.
func (s *blindStamps) land(ctx context.Context) {
	s.mu.Lock()
	var due []lateStamp
	s.late = slices.DeleteFunc(s.late, func(l lateStamp) bool {
		late := !l.due.After(s.now())
		if late {
			due = append(due, l)
		}
		return late
	})
	s.mu.Unlock()
	for _, l := range due {
		s.Store.Put(context.WithoutCancel(ctx), l.item) //nolint:errcheck // nobody waits for it
	}
}

// overwriting stores a publication whether or not there is one.
type overwriting struct{ kv.Store }

func (s overwriting) PutIf(ctx context.Context, item kv.Item, old kv.Version) error {
	if published(item.Key) && old == "" {
		return s.Store.Put(ctx, item)
	}
	return s.Store.PutIf(ctx, item, old)
}

func (s overwriting) PutIfLazy(ctx context.Context, item kv.Item, old kv.Version) error {
	return s.PutIf(ctx, item, old)
}

// idle shows a copy that a condemned reference is live, so that it is left as it
// is.
type idle struct{ kv.Store }

func (s idle) Traits() kv.Traits { return kv.TraitsOf(s.Store) }

func (s idle) Get(ctx context.Context, key kv.Key, opts ...kv.ReadOption) (kv.Item, error) {
	item, err := s.Store.Get(ctx, key, opts...)
	if err != nil || ctx.Value(movingKey{}) == nil || !strings.HasPrefix(key.Partition, "b/") {
		return item, err
	}
	ref, err := refs.Decode(item)
	if err == nil && ref.State == refs.Condemned {
		ref.State = refs.Live
		item.Value, err = kv.Marshal(ref)
	}
	return item, err
}
