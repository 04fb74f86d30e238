package config

import (
	"context"

	"granary/kv"
)

// Publish ends the making of a pending repository: from now on it is found by
// its name, on every node when this returns. Doing it again changes nothing.
// ErrNotFound: it was deleted.
func (r *Registry) Publish(ctx context.Context, id string) (*Repository, error) {
	return r.alter(ctx, id, func(repo *Repository) bool {
		was := repo.Pending
		repo.Pending = false
		return was
	})
}

// SetStore says where the blobs of a repository are put from now on, on every
// node when this returns. What it has lies where it lies.
func (r *Registry) SetStore(ctx context.Context, id, storeID string) (*Repository, error) {
	if _, ok := r.StoreByID(storeID); !ok {
		return nil, invalid("store", "there is no such store")
	}
	repo, err := r.alter(ctx, id, func(repo *Repository) bool {
		was := repo.Store
		repo.Store = storeID
		return was != storeID
	})
	if err != nil {
		return nil, err
	}
	return repo, r.standing(ctx, storeID)
}

// alter changes the document with an id; change tells whether it did.
func (r *Registry) alter(ctx context.Context, id string, change func(*Repository) bool) (*Repository, error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	var repo *Repository
	err := again(ctx, func() error {
		var item kv.Item
		var err error
		if _, err = r.Stored(ctx, id); err != nil {
			return err
		}
		if repo, item, err = get[Repository](ctx, r, kv.Config(kindRepository, id), Repository{}); err != nil {
			return err
		}
		if repo == nil {
			return notFound("repository", id)
		}
		if !change(repo) {
			return nil
		}
		next, err := encode(r, item.Key, repo)
		if err != nil {
			return err
		}
		return r.put(ctx, next, item.Version)
	})
	if err != nil {
		return nil, err
	}
	return repo, r.changed(ctx)
}
