package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"granary/events"
	"granary/repo/config"
)

// countsLast is how old the counts of a repository may be in which this node
// has written nothing: others may have.
const countsLast = 10 * time.Second

// counts are those of repositories, by id, kept between looks at the state.
type counts struct {
	mu   sync.Mutex
	read map[string]repositoryCounts // guarded by mu
}

type repositoryCounts struct {
	artifacts, bytes int64
	at               time.Time
}

// state is all that the event stream tells of.
func (a *api) state(ctx context.Context, touched map[string]bool) (events.State, error) {
	s := events.State{}
	for _, topic := range events.Topics {
		s[topic] = map[string]events.Object{}
	}
	list := a.Registry.Repositories()
	read, err := a.counts(ctx, list, touched)
	if err != nil {
		return nil, err
	}
	for _, c := range list {
		if s[events.Repos][c.Name], err = a.repositoryObject(c, read[c.ID]); err != nil {
			return nil, err
		}
	}
	for _, c := range a.Registry.Stores() {
		if s[events.Stores][c.Name], err = a.storeObject(ctx, c); err != nil {
			return nil, err
		}
	}
	if err := a.taskObjects(ctx, s[events.Tasks]); err != nil {
		return nil, err
	}
	for _, u := range a.Auth.Users() {
		if s[events.Users][u.Username], err = object(showUser(u)); err != nil {
			return nil, err
		}
	}
	for _, r := range a.Auth.Roles() {
		if s[events.Roles][r.Name], err = object(showRole(r)); err != nil {
			return nil, err
		}
	}
	if s[events.Settings]["settings"], err = object(a.showSettings(a.Registry.Settings())); err != nil {
		return nil, err
	}
	s[events.Health]["health"], err = object(a.healthNow())
	return s, err
}

func object(v any) (events.Object, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return events.Object{}, fmt.Errorf("write the state: %w", err)
	}
	return events.Object{Body: b}, nil
}

// repositoryObject is told as changed without regard to its counts.
func (a *api) repositoryObject(c *config.Repository, n repositoryCounts) (events.Object, error) {
	r := a.showRepository(c)
	plain, err := object(r)
	if err != nil {
		return plain, err
	}
	r.ArtifactCount, r.TotalBytes = n.artifacts, n.bytes
	full, err := object(r)
	if err != nil {
		return full, err
	}
	numbers, err := object(struct {
		Name          string `json:"name"`
		ArtifactCount int64  `json:"artifact_count"`
		TotalBytes    int64  `json:"total_bytes"`
	}{c.Name, n.artifacts, n.bytes})
	return events.Object{Body: full.Body, Version: c.ID + string(plain.Body), Counts: numbers.Body, Label: "repo_stats_updated"}, err
}

func (a *api) storeObject(ctx context.Context, c *config.Store) (events.Object, error) {
	s := a.countedStore(ctx, c)
	full, err := object(s)
	if err != nil || s.BlobCount == nil {
		return full, err
	}
	numbers, err := object(struct {
		Name       string `json:"name"`
		BlobCount  *int64 `json:"blob_count"`
		TotalBytes *int64 `json:"total_bytes"`
	}{c.Name, s.BlobCount, s.TotalBytes})
	if err != nil {
		return full, err
	}
	s.BlobCount, s.TotalBytes = nil, nil
	plain, err := object(s)
	return events.Object{Body: full.Body, Version: c.ID + string(plain.Body), Counts: numbers.Body, Label: "store_stats_updated"}, err
}

// taskObjects are tasks by id. How far one is changes by itself and is told
// apart.
func (a *api) taskObjects(ctx context.Context, into map[string]events.Object) error {
	if a.Tasks == nil {
		return nil
	}
	all, err := a.Tasks.List(ctx)
	if err != nil {
		return err
	}
	for i := range all {
		t := showTask(&all[i])
		full, err := object(t)
		if err != nil {
			return err
		}
		progress, err := object(struct {
			ID       string       `json:"id"`
			Progress TaskProgress `json:"progress"`
		}{t.ID, t.Progress})
		if err != nil {
			return err
		}
		t.Progress = TaskProgress{}
		plain, err := object(t)
		if err != nil {
			return err
		}
		into[t.ID] = events.Object{Body: full.Body, Version: string(plain.Body), Counts: progress.Body, Label: "task_progress"}
	}
	return nil
}

// counts reads those that are touched, new or old.
func (a *api) counts(ctx context.Context, list []*config.Repository, touched map[string]bool) (map[string]repositoryCounts, error) {
	a.usage.mu.Lock()
	defer a.usage.mu.Unlock()
	old, now := a.usage.read, time.Now()
	next := make(map[string]repositoryCounts, len(list))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(usageAtOnce)
	var mu sync.Mutex
	for _, c := range list {
		if was, ok := old[c.ID]; ok && !touched[c.Name] && now.Sub(was.at) < countsLast {
			mu.Lock()
			next[c.ID] = was
			mu.Unlock()
			continue
		}
		g.Go(func() error {
			n, bytes, err := a.Repositories.Usage(ctx, c.ID)
			if errors.Is(err, config.ErrNotFound) {
				err = nil // deleted in this moment
			}
			mu.Lock()
			defer mu.Unlock()
			next[c.ID] = repositoryCounts{n, bytes, now}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("count artifacts: %w", err)
	}
	a.usage.read = next
	return next, nil
}
