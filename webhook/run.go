package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"granary/events"
)

const (
	// retryEvery is how often the holder of the lease looks for what is due.
	retryEvery = 2 * time.Second
	leaseName  = "webhooks"
	leaseTTL   = 10 * time.Second
)

// Run makes deliveries until ctx ends. What is left then is in the store.
func (s *Sender) Run(ctx context.Context) {
	var work sync.WaitGroup
	for range parallel {
		work.Go(func() { s.deliver(ctx) })
	}
	work.Go(func() { s.lead(ctx) })
	work.Go(func() { s.takeCommits(ctx) })
	work.Wait()
}

func (s *Sender) warn(ctx context.Context, what string, err error) {
	if err != nil && ctx.Err() == nil {
		s.Log.WarnContext(ctx, what, "error", err)
	}
}

// deliver tries what comes.
func (s *Sender) deliver(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case j := <-s.jobs:
			_, err := s.try(ctx, j.hook, j.d, false)
			s.warn(ctx, "deliver to a webhook", err)
		}
	}
}

// takeCommits makes deliveries of what was committed on this node.
func (s *Sender) takeCommits(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-s.commits:
			s.announce(ctx, Artifacts, c.Repository.Name, artifactsChanged, func() (json.RawMessage, error) { return json.Marshal(describe(c)) })
		}
		s.mu.Lock()
		dropped := s.dropped
		s.dropped = 0
		s.mu.Unlock()
		if dropped > 0 {
			s.Log.WarnContext(ctx, "webhooks are not told of commits: too many at once", "commits", dropped)
		}
	}
}

// announce opens a delivery for each webhook that wants it.
func (s *Sender) announce(ctx context.Context, topic, repository, kind string, event func() (json.RawMessage, error)) {
	hooks := s.wanting(topic, repository)
	if len(hooks) == 0 {
		return
	}
	b, err := event()
	if err != nil {
		s.warn(ctx, "write an event", err)
		return
	}
	for _, w := range hooks {
		d, err := s.open(ctx, w, topic, kind, b)
		if err != nil {
			s.warn(ctx, "tell a webhook", err)
			continue
		}
		select {
		case s.jobs <- job{w.ID, d}:
		default: // it is in the store, and will be found there
		}
	}
}

// lead does what one node does for all, while it is that node.
func (s *Sender) lead(ctx context.Context) {
	tick := time.NewTicker(retryEvery)
	defer tick.Stop()
	for {
		if len(s.Registry.Webhooks()) > 0 {
			s.leadOnce(ctx, tick.C)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// leadOnce returns when this node is not the one, or there is nobody to tell.
func (s *Sender) leadOnce(ctx context.Context, tick <-chan time.Time) {
	if s.Leases != nil {
		release, err := s.Leases.Lease(ctx, leaseName, leaseTTL)
		if err != nil {
			return // another node has it, or will
		}
		defer release()
	}
	var changes <-chan events.Event
	var sub *events.Subscription
	defer func() {
		if sub != nil {
			sub.Close()
		}
	}()
	for len(s.Registry.Webhooks()) > 0 {
		if sub == nil && s.Feed != nil && s.follows() {
			var err error
			if _, _, sub, err = s.Feed.Subscribe(ctx); err != nil {
				s.warn(ctx, "follow changes for webhooks", err)
				return
			}
			changes = sub.Events()
		}
		select {
		case <-ctx.Done():
			return
		case e, ok := <-changes:
			if !ok {
				return // too slow, or the end
			}
			s.pass(ctx, e)
		case <-tick:
			s.warn(ctx, "repeat deliveries to webhooks", s.due(ctx))
		}
	}
}

// follows tells whether a webhook wants more than commits.
func (s *Sender) follows() bool {
	for _, t := range events.Topics {
		if len(s.wanting(string(t), "")) > 0 {
			return true
		}
	}
	return false
}

// pass tells of a change of the configuration. Numbers that change with each
// commit are not told again.
func (s *Sender) pass(ctx context.Context, e events.Event) {
	repository := ""
	if e.Topic == events.Repos {
		repository = e.Name
	}
	if e.Type == "repo_stats_updated" || e.Type == "store_stats_updated" || e.Type == "task_progress" {
		return
	}
	s.announce(ctx, string(e.Topic), repository, e.Type, func() (json.RawMessage, error) {
		if len(e.Body) == 0 {
			return nil, errors.New("an event without a body")
		}
		return e.Body, nil
	})
}
