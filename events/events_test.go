package events

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"granary/integration/leak"
)

func TestMain(m *testing.M) { leak.Verify(m) }

// world is a state that a test changes.
type world struct {
	mu    sync.Mutex
	state State // guarded by mu
	err   error // guarded by mu
	looks int   // guarded by mu
}

func (w *world) set(topic Topic, name string, o Object) {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := State{}
	for t, objects := range w.state {
		next[t] = map[string]Object{}
		for n, o := range objects {
			next[t][n] = o
		}
	}
	if next[topic] == nil {
		next[topic] = map[string]Object{}
	}
	next[topic][name] = o
	if o.Body == nil {
		delete(next[topic], name)
	}
	w.state = next
}

func (w *world) read(context.Context, map[string]bool) (State, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looks++
	return w.state, w.err
}

func body(v string) Object { return Object{Body: json.RawMessage(`{"v":"` + v + `"}`)} }

func run(t *testing.T, w *world) *Feed {
	t.Helper()
	f := New(Config{Every: func() time.Duration { return time.Hour }})
	f.Source(w.read)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { f.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	return f
}

func next(t *testing.T, s *Subscription) Event {
	t.Helper()
	select {
	case e, ok := <-s.Events():
		if !ok {
			t.Fatal("the subscription has ended")
		}
		return e
	case <-time.After(time.Minute):
		t.Fatal("no event")
	}
	return Event{}
}

func TestDifferencesAreTold(t *testing.T) {
	w := &world{}
	w.set(Repos, "a", body("1"))
	w.set(Settings, "settings", body("s"))
	f := run(t, w)
	state, seq, s, err := f.Subscribe(t.Context())
	if err != nil || len(state[Repos]) != 1 {
		t.Fatalf("state %v, %v", state, err)
	}
	for i, step := range []struct {
		topic  Topic
		name   string
		object Object
		want   string
	}{
		{Repos, "b", body("1"), `{"type":"repo_created","repo":{"v":"1"}}`},
		{Repos, "a", body("2"), `{"type":"repo_updated","repo":{"v":"2"}}`},
		{Repos, "a", Object{}, `{"type":"repo_deleted","name":"a"}`},
		{Users, `q"`, Object{Body: json.RawMessage(`{}`)}, `{"type":"user_created","user":{}}`},
		{Users, `q"`, Object{}, `{"type":"user_deleted","username":"q\""}`},
		{Settings, "settings", body("t"), `{"type":"settings_updated","settings":{"v":"t"}}`},
		{Repos, "b", Object{Body: body("1").Body, Counts: json.RawMessage(`{"n":1}`), Label: "repo_stats_updated"}, `{"type":"repo_stats_updated","n":1}`},
		{Stores, "s", Object{Body: body("1").Body, Version: "x"}, `{"type":"store_created","store":{"v":"1"}}`},
		{Stores, "s", Object{Body: body("2").Body, Version: "x", Counts: json.RawMessage(`{"n":2}`), Label: "store_stats_updated"}, `{"type":"store_stats_updated","n":2}`},
		{Tasks, "id", body("1"), `{"type":"task_created","task":{"v":"1"}}`},
	} {
		w.set(step.topic, step.name, step.object)
		f.Poke()
		e := next(t, s)
		if string(e.Body) != step.want || e.Topic != step.topic || e.Seq != seq+uint64(i)+1 {
			t.Errorf("step %d: %d %s %s, want %s", i, e.Seq, e.Topic, e.Body, step.want)
		}
	}
	// Who comes later gets the state with what has happened.
	state, seq2, late, err := f.Subscribe(t.Context())
	if err != nil || seq2 != seq+10 || len(state[Tasks]) != 1 || len(state[Repos]) != 1 {
		t.Errorf("later: %d %v %v", seq2, state, err)
	}
	late.Close()
	late.Close()
	s.Close()
}

func TestNobodyListens(t *testing.T) {
	w := &world{}
	f := run(t, w)
	f.Poke()
	_, _, s, err := f.Subscribe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	looks := func() int {
		t.Helper()
		// It ends after a look that had begun while somebody listened.
		if err := f.look(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.looks
	}
	before := looks()
	if before == 0 {
		t.Error("the state was not read for who subscribed")
	}
	for range 3 {
		f.Poke()
		if now := looks(); now != before {
			t.Errorf("the state was read %d times more", now-before)
		}
	}
}

func TestSlowListenerBeginsAnew(t *testing.T) {
	w := &world{}
	f := run(t, w)
	_, _, slow, err := f.Subscribe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for i := range buffer + 1 {
		w.set(Repos, fmt.Sprint(i), body("1"))
	}
	if err := f.look(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := 0
	for range slow.Events() {
		n++
	}
	if n != buffer {
		t.Errorf("%d events before the end, want %d", n, buffer)
	}
}

func TestEndOfTheFeed(t *testing.T) {
	w := &world{}
	f := New(Config{})
	f.Source(w.read)
	_, _, s, err := f.Subscribe(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, open := <-s.Events(); open {
		t.Error("an event after the end")
	}
	_, _, s, err = f.Subscribe(t.Context())
	if _, open := <-s.Events(); open || err != nil {
		t.Errorf("a subscription after the end: %v", err)
	}
	w.err = errors.New("down")
	f = New(Config{})
	f.Source(w.read)
	if _, _, _, err := f.Subscribe(t.Context()); !errors.Is(err, w.err) {
		t.Errorf("a state that can't be read: %v", err)
	}
}
