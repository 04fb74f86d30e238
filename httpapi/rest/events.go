package rest

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"granary/auth"
	"granary/events"
	"granary/formats"
	"granary/httpapi/exchange"
)

const (
	// keepAlive is how often a stream shows that it lives.
	keepAlive = 15 * time.Second
	// trusted is how long a stream goes by the rights that it began with, if
	// no user or role changes.
	trusted = time.Minute
)

// streaming is the input of the event stream.
type streaming struct {
	Topics string `query:"topics" doc:"repos, stores, tasks, users, roles, settings, health, separated by commas; empty is all that the caller may see."`
}

func (a *api) events() {
	if a.Events == nil {
		return
	}
	a.Events.Source(a.state)
	register(a, operation{
		id: "stream-events", method: http.MethodGet, path: "/events/stream", tag: "events",
		summary: "Follow changes: the state first, then each change, as server-sent events",
	}, a.stream)
	text := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	a.huma.OpenAPI().Paths[Prefix+"/events/stream"].Get.Responses["200"] = &huma.Response{
		Description: "OK", Content: map[string]*huma.MediaType{"text/event-stream": text},
	}
}

// stream answers until the client goes, its rights change for the worse, it is
// too slow, or the server stops.
func (a *api) stream(ctx context.Context, x *exchange.Exchange, _ *streaming) (*huma.StreamResponse, error) {
	if err := x.LoggedIn(); err != nil {
		return nil, err
	}
	query, err := url.ParseQuery(x.Request().URL.RawQuery)
	if err != nil {
		return nil, formats.BadRequest("the query can't be read")
	}
	asked, err := topics(query.Get("topics"))
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(asked, func(t events.Topic) bool { return forEverybody(t) }) {
		if err := x.Administer(); err != nil {
			return nil, err
		}
	}
	if x.Request().Method == http.MethodHead {
		return &huma.StreamResponse{Body: func(huma.Context) { beginStream(x) }}, nil
	}
	state, seq, sub, err := a.Events.Subscribe(ctx)
	if err != nil {
		return nil, err
	}
	s := &stream{api: a, x: x, asked: asked, sub: sub, seq: seq, since: time.Now()}
	return &huma.StreamResponse{Body: func(huma.Context) {
		defer sub.Close()
		beginStream(x)
		s.run(ctx, state)
	}}, nil
}

func beginStream(x *exchange.Exchange) {
	h := x.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // for proxies that would hold events back
	x.WriteHeader(http.StatusOK)
}

func topics(s string) ([]events.Topic, error) {
	if s == "" {
		return events.Topics, nil
	}
	var asked []events.Topic
	for name := range strings.SplitSeq(s, ",") {
		t := events.Topic(strings.TrimSpace(name))
		if !slices.Contains(events.Topics, t) {
			return nil, invalid("topics", "%.64q is none", name)
		}
		asked = append(asked, t)
	}
	return asked, nil
}

// forEverybody: other topics are the administrators'.
func forEverybody(t events.Topic) bool { return t == events.Repos || t == events.Health }

// stream is one client's.
type stream struct {
	api   *api
	x     *exchange.Exchange
	asked []events.Topic
	sub   *events.Subscription
	seq   uint64
	since time.Time // when the rights were looked at
}

// sees decides about each thing, with the rights in force.
func (s *stream) sees(t events.Topic, name string) bool {
	switch {
	case !slices.Contains(s.asked, t):
		return false
	case t == events.Repos:
		return s.x.Can(formats.VerbRead, name)
	}
	return forEverybody(t) || s.x.Identity.Admin()
}

func (s *stream) run(ctx context.Context, state events.State) {
	if s.send("snapshot", s.snapshot(state)) != nil {
		return
	}
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if time.Since(s.since) >= trusted && !s.stillAllowed(ctx) {
				return
			}
			if _, err := s.x.WriteString(": keep-alive\n\n"); err != nil {
				return
			}
			s.x.Flush()
		case e, ok := <-s.sub.Events():
			if !ok {
				s.resync()
				return
			}
			if !s.pass(ctx, e) {
				return
			}
		}
	}
}

// pass sends an event to who may see it; false ends the stream.
func (s *stream) pass(ctx context.Context, e events.Event) bool {
	s.seq = e.Seq
	if e.Topic == events.Users || e.Topic == events.Roles {
		before := s.x.Identity
		if !s.stillAllowed(ctx) {
			s.resync()
			return false
		}
		if !sameRights(s.api, before, s.x.Identity) {
			// What may be seen now is another state.
			s.resync()
			return false
		}
	}
	if !s.sees(e.Topic, e.Name) {
		return true
	}
	return s.send(e.Type, message{e.Seq, Timestamp(e.Time), string(e.Topic), e.Body}) == nil
}

// message is the data of an event.
type message struct {
	Seq       uint64          `json:"seq"`
	Timestamp Timestamp       `json:"timestamp"`
	Topic     string          `json:"topic"`
	Event     json.RawMessage `json:"event"`
}

// stillAllowed shows the credentials again.
func (s *stream) stillAllowed(ctx context.Context) bool {
	if s.x.Identity.Method == auth.System().Method {
		return true
	}
	id, err := s.api.Auth.Authenticate(ctx, s.x.Request())
	if err != nil {
		return false
	}
	s.x.Identity, s.since = id, time.Now()
	return s.x.LoggedIn() == nil
}

// sameRights tells whether two identities see the same of what there is.
func sameRights(a *api, was, is auth.Identity) bool {
	if was.Admin() != is.Admin() {
		return false
	}
	for _, r := range a.Registry.Repositories() {
		if was.Can(string(formats.VerbRead), r.Name) != is.Can(string(formats.VerbRead), r.Name) {
			return false
		}
	}
	return true
}

// resync tells the client to begin anew.
func (s *stream) resync() {
	// It ends either way.
	_ = s.send("resync", message{s.seq, Timestamp(time.Now()), string(events.Health), json.RawMessage(`{"type":"resync"}`)})
}

func (s *stream) send(kind string, data any) error {
	b, err := json.Marshal(data)
	if err != nil {
		return fmt.Errorf("write an event: %w", err)
	}
	if _, err := fmt.Fprintf(s.x, "event: %s\nid: %d\ndata: %s\n\n", kind, s.seq, b); err != nil {
		return err
	}
	s.x.Flush()
	return nil
}

// snapshot is what there is of what was asked for and may be seen.
func (s *stream) snapshot(state events.State) map[string]any {
	out := map[string]any{"seq": s.seq, "settings": nil, "health": nil}
	for _, t := range events.Topics {
		list := []json.RawMessage{}
		for _, name := range slices.Sorted(maps.Keys(state[t])) {
			if s.sees(t, name) {
				list = append(list, state[t][name].Body)
			}
		}
		switch {
		case t == events.Settings || t == events.Health:
			if len(list) > 0 {
				out[string(t)] = list[0]
			}
		case t == events.Users || t == events.Roles:
			if s.x.Identity.Admin() && slices.Contains(s.asked, t) {
				out[string(t)] = list
			}
		default:
			out[string(t)] = list
		}
	}
	return out
}
