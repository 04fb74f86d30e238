// Package events tells those who listen what changes in the configuration and
// in its counts.
//
// A [Feed] looks at the whole state now and then, compares it with what it saw
// before, and tells of the differences. So a change that another node made is
// an event here as soon as this node has loaded it, and no event can be
// forgotten by who makes a change. Whoever makes one here pokes the feed, which
// then looks at once. While nobody listens nothing is looked at.
//
// Who is told first gets the state, and then each event once and in order; a
// listener that does not take them is told to begin anew.
package events

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Topic is what an event is about.
type Topic string

// The topics of a state.
const (
	Repos    Topic = "repos"
	Stores   Topic = "stores"
	Tasks    Topic = "tasks"
	Users    Topic = "users"
	Roles    Topic = "roles"
	Settings Topic = "settings"
	Health   Topic = "health"
)

// Topics are all of them, in the order of a snapshot.
var Topics = []Topic{Repos, Stores, Tasks, Users, Roles, Settings, Health}

// kinds says how events of a topic are called.
var kinds = map[Topic]struct{ noun, key string }{
	Repos: {"repo", "name"}, Stores: {"store", "name"}, Tasks: {"task", "id"}, Users: {"user", "username"},
	Roles: {"role", "name"}, Settings: {"settings", "name"},
}

// Object is one thing of a state as clients see it.
type Object struct {
	Body json.RawMessage
	// Version changes with the body. Optional: the body itself. A body with
	// numbers that change by themselves has one that they are not in.
	Version string
	// Counts are such numbers; a change of them is an event of the type Label
	// with these fields. Optional.
	Counts json.RawMessage
	Label  string
}

func (o Object) same(p Object) bool {
	if o.Version != "" || p.Version != "" {
		return o.Version == p.Version
	}
	return bytes.Equal(o.Body, p.Body)
}

// State is everything there is, by topic and name.
type State map[Topic]map[string]Object

// Event is one change.
type Event struct {
	Seq   uint64
	Time  time.Time
	Topic Topic
	Type  string // "repo_created"
	Name  string // of what changed
	// Body is the event as clients see it: its type and what it is about.
	Body json.RawMessage
}

// Source returns what there is now; its maps are not changed afterwards.
// touched names repositories in which something was written since it was asked
// last.
type Source func(ctx context.Context, touched map[string]bool) (State, error)

// Config of a [Feed].
type Config struct {
	// Every is how often it is looked at. Optional: a second.
	Every func() time.Duration
	Now   func() time.Time // optional
	// Failed is told why the state could not be read. Optional.
	Failed func(error)
}

// buffer is how many events a listener may be behind.
const buffer = 256

// leastPause is between two looks, however often the feed is poked.
const leastPause = 100 * time.Millisecond

// Feed is used concurrently.
type Feed struct {
	c    Config
	poke chan struct{}

	looking sync.Mutex // held while the state is read and told; before mu

	mu      sync.Mutex
	source  Source                 // guarded by mu, as all below
	touched map[string]bool        // since the state was read
	state   State                  // as it was told
	seq     uint64                 // of the last event
	subs    map[*Subscription]bool // those who listen
	warm    bool                   // state is being kept
	closed  bool
}

// New returns a feed of nothing; [Feed.Source] says of what, and [Feed.Run]
// keeps it.
func New(c Config) *Feed {
	if c.Every == nil {
		c.Every = func() time.Duration { return time.Second }
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Failed == nil {
		c.Failed = func(error) {}
	}
	return &Feed{c: c, poke: make(chan struct{}, 1), subs: map[*Subscription]bool{}, touched: map[string]bool{}}
}

// Source sets what the feed is of.
func (f *Feed) Source(s Source) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.source = s
}

// Touch notes that something was written into a repository: its numbers are
// read anew with the next look.
func (f *Feed) Touch(repository string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.warm {
		f.touched[repository] = true
	}
}

// read needs looking.
func (f *Feed) read(ctx context.Context) (State, error) {
	f.mu.Lock()
	source, touched := f.source, f.touched
	f.touched = map[string]bool{}
	f.mu.Unlock()
	if source == nil {
		return State{}, nil
	}
	state, err := source(ctx, touched)
	if err != nil {
		return nil, fmt.Errorf("read the state: %w", err)
	}
	return state, nil
}

// Subscription is one who listens.
type Subscription struct {
	feed *Feed
	c    chan Event
}

// Events yields what happens after the state that came with the subscription.
// It is closed when the listener was too slow, and when the feed ends: what
// there is now has to be asked for anew.
func (s *Subscription) Events() <-chan Event { return s.c }

// Close ends it.
func (s *Subscription) Close() {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	s.feed.drop(s)
}

// drop needs mu.
func (f *Feed) drop(s *Subscription) {
	if f.subs[s] {
		delete(f.subs, s)
		close(s.c)
	}
	f.warm = f.warm && len(f.subs) > 0
}

// Subscribe returns what there is now, the number of the last event in it, and
// what is told from then on.
func (f *Feed) Subscribe(ctx context.Context) (State, uint64, *Subscription, error) {
	f.looking.Lock()
	defer f.looking.Unlock()
	f.mu.Lock()
	warm := f.warm
	f.mu.Unlock()
	if !warm {
		// Nobody listens who could be told of differences.
		state, err := f.read(ctx)
		if err != nil {
			return nil, 0, nil, err
		}
		f.mu.Lock()
		f.state = state
		f.mu.Unlock()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	s := &Subscription{feed: f, c: make(chan Event, buffer)}
	if f.closed {
		close(s.c)
		return f.state, f.seq, s, nil
	}
	f.subs[s], f.warm = true, true
	return f.state, f.seq, s, nil
}

// Poke makes the feed look soon: something may have changed.
func (f *Feed) Poke() {
	select {
	case f.poke <- struct{}{}:
	default:
	}
}

// Run looks at the state until ctx ends, and ends all subscriptions then.
func (f *Feed) Run(ctx context.Context) {
	defer f.Close()
	for {
		pause := time.NewTimer(leastPause)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
		wait := time.NewTimer(max(0, f.c.Every()-leastPause))
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		case <-f.poke:
		}
		wait.Stop()
		if err := f.look(ctx); err != nil && ctx.Err() == nil {
			f.c.Failed(err)
		}
	}
}

// Close ends all subscriptions, and those that begin later at once.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for s := range f.subs {
		f.drop(s)
	}
}

// look reads the state and tells the differences.
func (f *Feed) look(ctx context.Context) error {
	f.looking.Lock()
	defer f.looking.Unlock()
	f.mu.Lock()
	warm, old := f.warm, f.state
	f.mu.Unlock()
	if !warm {
		return nil
	}
	state, err := f.read(ctx)
	if err != nil {
		return err
	}
	changes := differences(old, state)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state = state
	for _, e := range changes {
		f.seq++
		e.Seq, e.Time = f.seq, f.c.Now()
		f.tell(e)
	}
	return nil
}

// tell needs mu.
func (f *Feed) tell(e Event) {
	for s := range f.subs {
		select {
		case s.c <- e:
		default:
			f.drop(s)
		}
	}
}

// differences are in the order of topics and names, removals first: what is
// named anew is never there twice.
func differences(old, now State) []Event {
	var gone, rest []Event
	for _, topic := range Topics {
		k, ok := kinds[topic]
		if !ok {
			continue
		}
		for _, name := range names(old[topic], now[topic]) {
			before, was := old[topic][name]
			after, is := now[topic][name]
			switch {
			case !is:
				gone = append(gone, event(topic, k.noun+"_deleted", name, k.key, quote(name)))
			case !was && topic != Settings:
				rest = append(rest, event(topic, k.noun+"_created", name, k.noun, after.Body))
			case !before.same(after):
				rest = append(rest, event(topic, k.noun+"_updated", name, k.noun, after.Body))
			}
			if was && is && !bytes.Equal(before.Counts, after.Counts) {
				rest = append(rest, Event{Topic: topic, Type: after.Label, Name: name, Body: typed(after.Label, after.Counts)})
			}
		}
	}
	return append(gone, rest...)
}

func names(a, b map[string]Object) []string {
	all := make([]string, 0, len(a)+len(b))
	for name := range a {
		all = append(all, name)
	}
	for name := range b {
		if _, ok := a[name]; !ok {
			all = append(all, name)
		}
	}
	slices.Sort(all)
	return all
}

// event has one field beside its type.
func event(topic Topic, kind, name, field string, value json.RawMessage) Event {
	body := make(json.RawMessage, 0, len(value)+64)
	body = append(body, '{')
	body = append(body, quote(field)...)
	body = append(body, ':')
	body = append(body, value...)
	body = append(body, '}')
	return Event{Topic: topic, Type: kind, Name: name, Body: typed(kind, body)}
}

// typed puts a type before the fields of an object.
func typed(kind string, fields json.RawMessage) json.RawMessage {
	head := `{"type":` + string(quote(kind))
	if inner := bytes.TrimPrefix(bytes.TrimSpace(fields), []byte("{")); !bytes.Equal(inner, []byte("}")) {
		return json.RawMessage(head + "," + string(inner))
	}
	return json.RawMessage(head + "}")
}

func quote(s string) json.RawMessage {
	b, err := json.Marshal(s)
	if err != nil {
		return json.RawMessage(`""`) // a string can always be written
	}
	return b
}
