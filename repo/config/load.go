package config

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"granary/kv"
)

// snapshot is the configuration at one time. It never changes.
type snapshot struct {
	// As stored, by sort key.
	documents map[string]loaded[Repository]
	claims    map[string]loaded[claim]
	stores    map[string]loaded[Store]
	signing   map[string]loaded[Signing]
	webhooks  map[string]loaded[Webhook]
	dead      map[string]bool

	// As it holds.
	repositories   map[string]*Repository // by id
	names          map[string]*Repository
	repositoryList []*Repository
	listening      []*Repository // with an address of their own
	storesByID     map[string]*Store
	storeList      []*Store
	stored         loaded[Settings]
	settings       *Settings
}

// loaded is a document with the version it was read from.
type loaded[T any] struct {
	version kv.Version
	value   *T
}

// Load reads the whole configuration consistently and puts it in place of what
// is in memory; on an error nothing changes. Documents whose version is the
// same are kept.
func (r *Registry) Load(ctx context.Context) error {
	select {
	case r.loading <- struct{}{}:
		defer func() { <-r.loading }()
	case <-ctx.Done():
		return fmt.Errorf("load configuration: %w", ctx.Err())
	}
	firstTime := !r.checked
	if firstTime {
		if err := r.checkKey(ctx); err != nil {
			return fmt.Errorf("load configuration: %w", err)
		}
	}
	old := r.current.Load()
	next, err := r.read(ctx, old)
	if err != nil {
		return fmt.Errorf("load configuration: %w", err)
	}
	unconfirmed, err := r.confirm(ctx, next)
	if err != nil {
		return fmt.Errorf("load configuration: %w", err)
	}
	next.derive(old)
	r.sight(unconfirmed, firstTime && r.o.Embedded)
	r.current.Store(next)
	r.checked = true
	return nil
}

// read reads what is stored. Repositories are read before the names that
// confirm them and before cfg/dead, which hides them.
func (r *Registry) read(ctx context.Context, old *snapshot) (*snapshot, error) {
	var s snapshot
	var err error
	if s.stores, err = readAll(ctx, r, kindStore, old.stores); err != nil {
		return nil, err
	}
	if s.documents, err = readAll(ctx, r, kindRepository, old.documents); err != nil {
		return nil, err
	}
	if s.claims, err = readAll(ctx, r, kindName, old.claims); err != nil {
		return nil, err
	}
	if s.signing, err = readAll(ctx, r, kindSigning, old.signing); err != nil {
		return nil, err
	}
	if s.webhooks, err = readAll(ctx, r, kindWebhook, old.webhooks); err != nil {
		return nil, err
	}
	s.dead = map[string]bool{}
	for item, err := range r.o.KV.Query(ctx, kv.ConfigPartition(kindDead), "", "", kv.Consistent, kv.KeysOnly) {
		if err != nil {
			return nil, fmt.Errorf("read configuration of kind %s: %w", kindDead, err)
		}
		s.dead[item.Sort] = true
	}
	value, item, err := get(ctx, r, kv.Config(kindSetting, settingsID), DefaultSettings())
	if err != nil {
		return nil, err
	}
	if s.stored = (loaded[Settings]{item.Version, value}); value == nil {
		defaults := DefaultSettings()
		s.stored.value = &defaults
	}
	if item.Version == old.stored.version && old.stored.value != nil {
		s.stored = old.stored
	}
	return &s, nil
}

func readAll[T any, P document[T]](ctx context.Context, r *Registry, kind string, old map[string]loaded[T]) (map[string]loaded[T], error) {
	all := make(map[string]loaded[T], len(old))
	for item, err := range r.o.KV.Query(ctx, kv.ConfigPartition(kind), "", "", kv.Consistent) {
		if err != nil {
			return nil, fmt.Errorf("read configuration of kind %s: %w", kind, err)
		}
		if l, ok := old[item.Sort]; ok && l.version == item.Version {
			all[item.Sort] = l
			continue
		}
		var zero T
		value, err := decode[T, P](r, item, zero)
		if err != nil {
			return nil, err
		}
		all[item.Sort] = loaded[T]{item.Version, value}
	}
	return all, nil
}

// confirm fills in names and repositories: those that a name and a document
// agree on. What disagrees may have been changed between the two reads and is
// looked up. It returns the claims that no repository confirms.
func (r *Registry) confirm(ctx context.Context, s *snapshot) (map[string]kv.Version, error) {
	s.names = map[string]*Repository{}
	ask := map[string]bool{}
	for id, d := range s.documents {
		if s.dead[id] {
			continue
		}
		if c, ok := s.claims[d.value.Name]; ok && c.value.ID == id {
			s.names[d.value.Name] = d.value
		} else {
			ask[d.value.Name] = true
		}
	}
	for name := range s.claims {
		if s.names[name] == nil {
			ask[name] = true
		}
	}
	unconfirmed := map[string]kv.Version{}
	for name := range ask {
		f, err := r.look(ctx, name)
		switch {
		case err != nil:
			return nil, err
		case f.repo != nil:
			s.names[name] = f.repo
			s.documents[f.repo.ID] = loaded[Repository]{f.item.Version, f.repo}
		case f.claim.Version != "":
			unconfirmed[name] = f.claim.Version
		}
	}
	s.repositories = make(map[string]*Repository, len(s.names))
	for name, repo := range s.names {
		if other := s.repositories[repo.ID]; other != nil {
			// Renamed between the reads: the later look-up wins.
			if ask[other.Name] {
				delete(s.names, name)
				continue
			}
			delete(s.names, other.Name)
		}
		s.repositories[repo.ID] = repo
	}
	return unconfirmed, nil
}

// sight remembers since when claims have been without a repository.
func (r *Registry) sight(unconfirmed map[string]kv.Version, leftOver bool) {
	now := r.o.Now()
	if leftOver {
		now = time.Time{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	old := r.sightings
	r.sightings = make(map[string]sighting, len(unconfirmed))
	for name, version := range unconfirmed {
		if seen, ok := old[name]; ok && seen.version == version {
			r.sightings[name] = seen
		} else {
			r.sightings[name] = sighting{version, now}
		}
	}
}

// derive makes what holds of what is stored: groups without the members that
// are gone, lists in order.
func (s *snapshot) derive(old *snapshot) {
	s.closeGroups(old)
	s.repositoryList = slices.SortedFunc(maps.Values(s.repositories), func(a, b *Repository) int {
		return strings.Compare(a.Name, b.Name)
	})
	for _, repo := range s.repositoryList {
		if repo.Listen != "" {
			s.listening = append(s.listening, repo)
		}
	}
	s.storesByID = make(map[string]*Store, len(s.stores))
	for _, l := range s.stores {
		s.storesByID[l.value.ID] = l.value
	}
	s.storeList = slices.SortedFunc(maps.Values(s.storesByID), func(a, b *Store) int {
		return strings.Compare(a.Name, b.Name)
	})
	s.settings = s.stored.value
	if id := s.settings.DefaultDockerRepo; id != "" && s.repositories[id] == nil {
		settings := *s.settings
		settings.DefaultDockerRepo = ""
		s.settings = &settings
	}
}

// closeGroups takes out of each group the members that are gone, and those
// that would make it contain itself: two changes at once, each fine by itself,
// can write a cycle. Groups are gone through in order of their ids, so that
// every node drops the same.
func (s *snapshot) closeGroups(old *snapshot) {
	edges := map[string][]string{}
	for _, id := range slices.Sorted(maps.Keys(s.repositories)) {
		doc := s.repositories[id]
		if doc.Type != Proxy {
			continue
		}
		members := make([]string, 0, len(doc.Members))
		for _, m := range doc.Members {
			member := s.repositories[m]
			if member == nil || member.Type == Proxy && (m == id || reaches(edges, m, id)) {
				continue
			}
			members = append(members, m)
			edges[id] = members
		}
		if len(members) == len(doc.Members) {
			continue
		}
		out := *doc
		out.Members = members
		if !slices.Contains(members, out.WriteMember) {
			out.WriteMember = ""
		}
		if before := old.repositories[id]; before != nil && old.documents[id].value == s.documents[id].value && slices.Equal(before.Members, members) {
			s.replace(before)
			continue
		}
		s.replace(&out)
	}
}

func (s *snapshot) replace(repo *Repository) {
	s.repositories[repo.ID] = repo
	s.names[repo.Name] = repo
}

// reaches reports whether a way leads from one group to another.
func reaches(edges map[string][]string, from, to string) bool {
	seen := map[string]bool{from: true}
	for queue := []string{from}; len(queue) > 0; queue = queue[1:] {
		for _, next := range edges[queue[0]] {
			if next == to {
				return true
			}
			if !seen[next] {
				seen[next] = true
				queue = append(queue, next)
			}
		}
	}
	return false
}
