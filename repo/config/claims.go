package config

import (
	"context"
	"errors"
	"fmt"

	"granary/kv"
)

// found is what a name stands for.
type found struct {
	claim kv.Item // Version "": nobody claims the name
	id    string  // of the repository that the claim is for
	item  kv.Item
	repo  *Repository // nil: there is no live repository of the name
	dead  bool        // the claim is that of a deleted repository
}

// look reads consistently what a name stands for.
func (r *Registry) look(ctx context.Context, name string) (found, error) {
	var f found
	c, item, err := get[claim](ctx, r, kv.Config(kindName, name), claim{})
	if err != nil || c == nil {
		return f, err
	}
	f.claim, f.id = item, c.ID
	repo, item, err := get[Repository](ctx, r, kv.Config(kindRepository, c.ID), Repository{})
	if err != nil {
		return f, err
	}
	_, err = r.o.KV.Get(ctx, kv.Config(kindDead, c.ID), kv.Consistent)
	switch {
	case err == nil:
		f.dead = true
	case !errors.Is(err, kv.ErrNotFound):
		return f, fmt.Errorf("read configuration of deleted repository %s: %w", c.ID, err)
	case repo != nil && repo.Name == name:
		f.repo, f.item = repo, item
	}
	return f, nil
}

// free reports whether the name that f was read for can be claimed: nobody
// has it, its repository was deleted, or this process has seen it unconfirmed
// for ClaimGrace.
func (r *Registry) free(name string, f found) bool {
	switch {
	case f.repo != nil:
		return false
	case f.claim.Version == "" || f.dead:
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	seen, ok := r.sightings[name]
	if !ok || seen.version != f.claim.Version {
		r.sightings[name] = sighting{f.claim.Version, r.o.Now()}
		return false
	}
	return r.o.Now().Sub(seen.since) >= ClaimGrace
}

// claimName claims a name for a repository, over what f says of it. ErrExists
// if somebody was faster.
func (r *Registry) claimName(ctx context.Context, name, id string, f found) (kv.Item, error) {
	item, err := encode(r, kv.Config(kindName, name), &claim{ID: id})
	if err != nil {
		return kv.Item{}, err
	}
	err = r.put(ctx, item, f.claim.Version)
	if errors.Is(err, kv.ErrConflict) {
		return kv.Item{}, exists(name)
	}
	return item, err
}

// holds reports whether a claim is still the one that was made.
func (r *Registry) holds(ctx context.Context, claim kv.Item) (bool, error) {
	now, err := r.o.KV.Get(ctx, claim.Key, kv.Consistent)
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return false, fmt.Errorf("read configuration %v: %w", claim.Key, err)
	}
	return err == nil && now.Version == claim.Version, nil
}

// undo removes what an abandoned change has written, newest first.
func (r *Registry) undo(ctx context.Context, items ...kv.Item) {
	// The caller may have gone away, which may be why it is abandoned.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards)
	defer cancel()
	for _, item := range items {
		if item.Version == "" {
			continue
		}
		if err := r.remove(ctx, item.Key, item.Version); err != nil {
			r.o.Log.WarnContext(ctx, "could not undo a change of configuration; a name stays claimed for a while", "error", err)
		}
	}
}

func exists(name string) error { return fmt.Errorf("%.64q %w", name, ErrExists) }
