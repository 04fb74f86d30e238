package config

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"time"

	"granary/kv"
)

// DeleteRepository deletes a repository: one write, after which its name is
// free and its records are nobody's. It returns what was deleted.
func (r *Registry) DeleteRepository(ctx context.Context, name string) (*Repository, error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	f, err := r.look(ctx, name)
	if err != nil {
		return nil, err
	}
	if f.repo == nil {
		return nil, notFound("repository", name)
	}
	dead := &Dead{Repository: *f.repo, Deleted: r.o.Now().UTC().Truncate(time.Millisecond)}
	item, err := encode(r, kv.Config(kindDead, f.id), dead)
	if err != nil {
		return nil, err
	}
	err = r.put(ctx, item, "")
	if errors.Is(err, kv.ErrConflict) {
		return nil, notFound("repository", name) // somebody else has deleted it
	}
	if err != nil {
		return nil, err
	}
	r.bury(ctx, f)
	return f.repo, r.changed(ctx)
}

// bury removes what is ignored from now on. What fails stays ignored.
func (r *Registry) bury(ctx context.Context, f found) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), afterwards) // it is deleted, whoever still listens
	defer cancel()
	err := again(ctx, func() error {
		_, item, err := get[Repository](ctx, r, f.item.Key, Repository{})
		if err != nil || item.Version == "" {
			return err
		}
		return settle(ctx, func() error { return r.o.KV.DeleteIf(ctx, item.Key, item.Version) })
	})
	err = errors.Join(err, r.remove(ctx, f.claim.Key, f.claim.Version), r.leaveGroups(ctx, f.id))
	if err != nil {
		r.o.Log.WarnContext(ctx, "could not remove all of a deleted repository; it is ignored", "repository", f.repo.Name, "error", err)
	}
}

// leaveGroups takes a repository out of the groups that it is a member of.
func (r *Registry) leaveGroups(ctx context.Context, id string) error {
	var errs []error
	for _, doc := range r.current.Load().documents {
		if !slices.Contains(doc.value.Members, id) {
			continue
		}
		_, err := r.swap(ctx, doc.value.Name, func(group *Repository) error {
			group.Members = slices.DeleteFunc(group.Members, func(m string) bool { return m == id })
			if group.WriteMember == id {
				group.WriteMember = ""
			}
			return nil
		})
		if err != nil && !errors.Is(err, ErrNotFound) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// DeadRepositories yields the deleted repositories, those whose records may
// remain to be drained included, in order of their ids.
func (r *Registry) DeadRepositories(ctx context.Context) iter.Seq2[*Dead, error] {
	return func(yield func(*Dead, error) bool) {
		for item, err := range r.o.KV.Query(ctx, kv.ConfigPartition(kindDead), "", "", kv.Consistent) {
			if err != nil {
				yield(nil, fmt.Errorf("read deleted repositories: %w", err))
				return
			}
			dead, err := decode[Dead](r, item, Dead{})
			if !yield(dead, err) || err != nil {
				return
			}
		}
	}
}

// Living reads the documents of all repositories that are not deleted,
// consistently, in order of their ids: those too whose name is just being changed
// and that can't be addressed for a moment. It is for the collector.
func (r *Registry) Living(ctx context.Context) ([]*Repository, error) {
	all, err := readAll(ctx, r, kindRepository, map[string]loaded[Repository]{})
	if err != nil {
		return nil, err
	}
	for dead, err := range r.DeadRepositories(ctx) {
		if err != nil {
			return nil, err
		}
		delete(all, dead.Repository.ID)
	}
	var out []*Repository
	for _, id := range slices.Sorted(maps.Keys(all)) {
		out = append(out, all[id].value)
	}
	return out, nil
}
