package config

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"granary/kv"
)

// CreateRepository makes a repository of a name. A name that is taken is
// ErrExists before anything else is judged; then fill sets the fields, of
// which id, name and time of creation are already there and stay. The
// repository is returned beside an error only if it was made, but perhaps not
// every node knows it.
func (r *Registry) CreateRepository(ctx context.Context, name string, fill func(*Repository) error) (*Repository, error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	if err := ValidName("name", name); err != nil {
		return nil, err
	}
	f, err := r.look(ctx, name)
	if err != nil {
		return nil, err
	}
	if !r.free(name, f) {
		return nil, exists(name)
	}
	repo, err := r.draft(ctx, name, fill)
	if err != nil {
		if f, again := r.look(ctx, name); again == nil && !r.free(name, f) {
			return nil, exists(name) // the same call, made at the same time, stands in the way
		}
		return nil, err
	}
	if err := r.establish(ctx, repo, f); err != nil {
		return nil, err
	}
	err = r.changed(ctx)
	return r.latest(repo), err
}

// draft makes the document of a new repository and judges it.
func (r *Registry) draft(ctx context.Context, name string, fill func(*Repository) error) (*Repository, error) {
	id, created := r.o.NewID(), r.o.Now().UTC().Truncate(time.Millisecond)
	repo := &Repository{ID: id, Name: name, Created: created}
	if err := fill(repo); err != nil {
		return nil, err
	}
	repo.ID, repo.Name, repo.Created = id, name, created
	if repo.Shards == 0 {
		repo.Shards = r.o.DefaultShards
	}
	if err := r.judge(ctx, repo, false); err != nil {
		return nil, err
	}
	return repo, nil
}

// judge normalizes and validates. What other nodes have changed in this very
// second counts where it is referred to.
func (r *Registry) judge(ctx context.Context, repo *Repository, emptied bool) error {
	if _, ok := r.StoreByID(repo.Store); !ok || repo.Type == Proxy {
		if err := r.Load(ctx); err != nil {
			return err
		}
	}
	repo.Normalize()
	k := r.Known()
	k.emptied = emptied
	return repo.Validate(k)
}

// establish claims the name, writes the repository, and makes sure that it
// was not too late for either the claim or the store.
func (r *Registry) establish(ctx context.Context, repo *Repository, f found) error {
	begin := r.o.Now()
	claim, err := r.claimName(ctx, repo.Name, repo.ID, f)
	if err != nil {
		return err
	}
	item, err := encode(r, kv.Config(kindRepository, repo.ID), repo)
	if err == nil && r.o.Now().Sub(begin) > confirmWithin {
		err = fmt.Errorf("claim repository name %s: took too long", repo.Name)
	}
	if err != nil {
		r.undo(ctx, claim)
		return err
	}
	// Nobody else knows the id: to meet a conflict is to meet what an earlier
	// attempt of unknown outcome has written and others have changed since.
	if err := r.put(ctx, item, ""); err != nil && !errors.Is(err, kv.ErrConflict) {
		r.undo(ctx, item, claim)
		return err
	}
	ours, err := r.holds(ctx, claim)
	if err == nil && !ours {
		err = exists(repo.Name)
	}
	if err == nil {
		err = r.standing(ctx, repo.Store)
	}
	if err != nil {
		r.undo(ctx, item, claim)
	}
	return err
}

// standing refuses a store that is gone or being deleted. It is asked after
// the repository was written, and DeleteStore looks for repositories after it
// has marked the store: one of the two sees the other.
func (r *Registry) standing(ctx context.Context, id string) error {
	s, ok := r.StoreByID(id)
	if !ok {
		return invalid("store", "there is no such store")
	}
	now, _, err := r.readStore(ctx, s.Name)
	switch {
	case errors.Is(err, ErrNotFound) || err == nil && (now.ID != id || now.Deleting):
		return invalid("store", "%s is being deleted", s.Name)
	case err != nil:
		return err
	}
	return nil
}

// latest is what is in memory of a repository just written, so that callers
// see the document that everybody sees.
func (r *Registry) latest(repo *Repository) *Repository {
	if now, ok := r.RepositoryByID(repo.ID); ok {
		return now
	}
	return repo
}

// UpdateRepository changes a repository. change gets a copy of its own and may
// be called again when another writer was faster. What never changes must be
// left as it is.
func (r *Registry) UpdateRepository(ctx context.Context, name string, change func(*Repository) error) (*Repository, error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	repo, err := r.swap(ctx, name, func(repo *Repository) error {
		before, rules := *repo, repo.rules()
		r.dropGone(repo)
		emptied := len(repo.Members) == 0
		if err := change(repo); err != nil {
			return err
		}
		repo.Extra = before.Extra
		if err := repo.keeps(&before); err != nil {
			return err
		}
		if repo.Rules = before.Rules; repo.rules() != rules {
			repo.Rules = string(kv.NewVersion())
		}
		return r.judge(ctx, repo, emptied && len(repo.Members) == 0)
	})
	if err != nil {
		return nil, err
	}
	err = r.changed(ctx)
	return r.latest(repo), err
}

// dropGone takes deleted repositories out of a group.
func (r *Registry) dropGone(repo *Repository) {
	dead := r.current.Load().dead
	repo.Members = slices.DeleteFunc(repo.Members, func(id string) bool { return dead[id] })
	if dead[repo.WriteMember] {
		repo.WriteMember = ""
	}
}

// keeps refuses changes of what an update can't change.
func (r *Repository) keeps(before *Repository) error {
	switch {
	case r.Name != before.Name:
		return invalid("name", "is changed by renaming")
	case r.Type != before.Type:
		return invalid("repo_type", "can't be changed")
	case r.Format != before.Format:
		return invalid("format", "can't be changed")
	case r.Store != before.Store:
		return invalid("store", "is changed by moving the repository")
	case r.ID != before.ID || r.Shards != before.Shards || !r.Created.Equal(before.Created):
		return invalid("name", "id, shards and time of creation can't be changed")
	}
	return nil
}

// swap replaces the document of a repository by what change makes of it.
func (r *Registry) swap(ctx context.Context, name string, change func(*Repository) error) (*Repository, error) {
	var repo *Repository
	err := again(ctx, func() error {
		f, err := r.look(ctx, name)
		if err != nil {
			return err
		}
		if f.repo == nil {
			return notFound("repository", name)
		}
		repo = f.repo
		if err := change(repo); err != nil {
			return err
		}
		item, err := encode(r, f.item.Key, repo)
		if err != nil {
			return err
		}
		return r.put(ctx, item, f.item.Version)
	})
	return repo, err
}

// RenameRepository gives a repository another name. Whoever refers to it does
// so by id and follows.
func (r *Registry) RenameRepository(ctx context.Context, name, newName string) (*Repository, error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	if err := ValidName("new_name", newName); err != nil {
		return nil, err
	}
	if name == newName {
		return nil, invalid("new_name", "is its name already")
	}
	from, err := r.look(ctx, name)
	if err != nil {
		return nil, err
	}
	if from.repo == nil {
		return nil, notFound("repository", name)
	}
	to, err := r.look(ctx, newName)
	if err != nil {
		return nil, err
	}
	if !r.free(newName, to) {
		return nil, exists(newName)
	}
	repo, err := r.moveName(ctx, name, newName, from, to)
	if err != nil {
		return nil, err
	}
	err = r.changed(ctx)
	return r.latest(repo), err
}

// moveName claims the new name, swaps the repository and frees the old one.
func (r *Registry) moveName(ctx context.Context, name, newName string, from, to found) (*Repository, error) {
	begin := r.o.Now()
	claim, err := r.claimName(ctx, newName, from.id, to)
	if err != nil {
		return nil, err
	}
	repo, err := r.rename(ctx, from.id, name, newName, func() bool { return r.o.Now().Sub(begin) <= confirmWithin })
	if err != nil {
		if errors.Is(err, errRenameLost) {
			r.undo(ctx, claim)
		} // else the swap may have happened, and the claim be what the repository is found by
		return nil, err
	}
	if ours, err := r.holds(ctx, claim); err != nil || !ours {
		return nil, errors.Join(exists(newName), err, r.unrename(ctx, from.id, name, newName))
	}
	r.undo(ctx, from.claim)
	return repo, nil
}

// errRenameLost says that a repository has neither the old nor the new name.
var errRenameLost = errors.New("config: the repository changed while it was renamed")

// rename swaps the name in a repository's document while allowed. One that has
// the new name already was renamed by an earlier attempt.
func (r *Registry) rename(ctx context.Context, id, name, newName string, allowed func() bool) (*Repository, error) {
	var repo *Repository
	err := again(ctx, func() error {
		var item kv.Item
		var err error
		repo, item, err = get[Repository](ctx, r, kv.Config(kindRepository, id), Repository{})
		switch {
		case err != nil:
			return err
		case repo != nil && repo.Name == newName:
			return nil
		case repo == nil || repo.Name != name || !allowed():
			return fmt.Errorf("rename repository %s to %s: %w", name, newName, errRenameLost)
		}
		repo.Name = newName
		next, err := encode(r, item.Key, repo)
		if err != nil {
			return err
		}
		return r.put(ctx, next, item.Version)
	})
	return repo, err
}

// unrename gives a repository its old name back, which is still claimed.
func (r *Registry) unrename(ctx context.Context, id, name, newName string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards) // or nobody could find it
	defer cancel()
	_, err := r.rename(ctx, id, newName, name, func() bool { return true })
	return err
}
