package config

import (
	"context"

	"granary/kv"
)

// Publish ends the making of a pending repository: from now on it is found by
// its name, on every node when this returns. Doing it again changes nothing.
// ErrNotFound: it was deleted, or is about to be.
func (r *Registry) Publish(ctx context.Context, id string) (*Repository, error) {
	repo, err := r.alter(ctx, id, func(repo *Repository) bool {
		publish := repo.Pending && !repo.Abandoned
		if publish {
			repo.Pending = false
		}
		return publish
	})
	if err == nil && repo.Abandoned {
		return nil, notFound("repository", id)
	}
	return repo, err
}

// Abandon deletes a repository unless it was published. Who publishes it from
// now on, such as a worker that others took for dead, hears ErrNotFound.
func (r *Registry) Abandon(ctx context.Context, id string) error {
	repo, err := r.alter(ctx, id, func(repo *Repository) bool {
		abandon := repo.Pending && !repo.Abandoned
		repo.Abandoned = repo.Pending
		return abandon
	})
	if err != nil || !repo.Abandoned {
		return err
	}
	_, err = r.DeleteRepository(ctx, repo.Name)
	return err
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
