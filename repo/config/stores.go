package config

import (
	"context"
	"errors"
	"fmt"
	"time"

	"granary/kv"
)

// CreateStore makes a store of a name. A name that is taken is ErrExists
// before anything else is judged; then fill makes the store of [NewStore].
// Like a repository it may be returned beside an error.
func (r *Registry) CreateStore(ctx context.Context, name string, fill func(*Store) error) (*Store, error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	if storeName.MatchString(name) {
		switch _, _, err := r.readStore(ctx, name); {
		case err == nil:
			return nil, exists(name)
		case !errors.Is(err, ErrNotFound):
			return nil, err
		}
	}
	s := &Store{}
	if err := fill(s); err != nil {
		return nil, err
	}
	s.ID, s.Name, s.Created, s.Deleting = r.o.NewID(), name, r.o.Now().UTC().Truncate(time.Millisecond), false
	s.Suspect = time.Time{}
	if err := r.judgeStore(ctx, s); err != nil {
		if _, _, taken := r.readStore(ctx, name); taken == nil {
			return nil, exists(name) // the same call, made at the same time, stands in the way
		}
		return nil, err
	}
	item, err := encode(r, kv.Config(kindStore, name), s)
	if err != nil {
		return nil, err
	}
	err = r.put(ctx, item, "")
	if errors.Is(err, kv.ErrConflict) {
		return nil, exists(name)
	}
	if err != nil {
		return nil, err
	}
	err = r.changed(ctx)
	return r.latestStore(s), err
}

func (r *Registry) judgeStore(ctx context.Context, s *Store) error {
	if err := r.Load(ctx); err != nil { // stores share no place, so the others count
		return err
	}
	if err := s.Validate(r.Known()); err != nil {
		return err
	}
	if r.o.Probe == nil {
		return nil
	}
	if err := r.o.Probe(ctx, s); err != nil {
		return fmt.Errorf("store %s is %w: it does not work: %w", s.Name, ErrInvalid, err)
	}
	return nil
}

func (r *Registry) latestStore(s *Store) *Store {
	if now, ok := r.StoreByID(s.ID); ok {
		return now
	}
	return s
}

// readStore reads a store consistently, or ErrNotFound.
func (r *Registry) readStore(ctx context.Context, name string) (*Store, kv.Item, error) {
	s, item, err := get[Store](ctx, r, kv.Config(kindStore, name), Store{})
	if err == nil && s == nil {
		err = notFound("store", name)
	}
	return s, item, err
}

// UpdateStore changes a store. change gets a copy of its own and may be called
// again when another writer was faster. Name and type never change.
func (r *Registry) UpdateStore(ctx context.Context, name string, change func(*Store) error) (*Store, error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	var s *Store
	err := again(ctx, func() error {
		var item kv.Item
		var err error
		if s, item, err = r.readStore(ctx, name); err != nil {
			return err
		}
		before := *s
		if err := change(s); err != nil {
			return err
		}
		if s.Type != before.Type {
			return invalid("store_type", "can't be changed")
		}
		s.ID, s.Name, s.Created, s.Extra = before.ID, before.Name, before.Created, before.Extra
		s.Suspect = before.Suspect
		// A deletion that is under way begins again, one that died is forgotten.
		s.Deleting = false
		if err := r.judgeStore(ctx, s); err != nil {
			return err
		}
		next, err := encode(r, item.Key, s)
		if err != nil {
			return err
		}
		return r.put(ctx, next, item.Version)
	})
	if err != nil {
		return nil, err
	}
	err = r.changed(ctx)
	return r.latestStore(s), err
}

// DeleteStore deletes a store that no repository uses, else ErrInUse. left, if
// not nil, looks whether blobs are left in it, and its error is returned.
func (r *Registry) DeleteStore(ctx context.Context, name string, left func(context.Context, *Store) error) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	err := again(ctx, func() error {
		s, item, err := r.readStore(ctx, name)
		if err != nil {
			return err
		}
		if item, err = r.markStore(ctx, s, item, true); err != nil {
			return err
		}
		if err := r.unused(ctx, s, left); err != nil {
			// No error of it matters more: the mark goes with the next change.
			_, undone := r.markStore(context.WithoutCancel(ctx), s, item, false)
			if undone != nil {
				r.o.Log.WarnContext(ctx, "store stays marked as being deleted until it is changed", "store", name, "error", undone)
			}
			return err
		}
		return settleRemoval(ctx, r.o.KV, item)
	})
	if err != nil {
		return err
	}
	return r.changed(ctx)
}

func (r *Registry) markStore(ctx context.Context, s *Store, item kv.Item, deleting bool) (kv.Item, error) {
	s.Deleting = deleting
	next, err := encode(r, item.Key, s)
	if err != nil {
		return kv.Item{}, err
	}
	return next, r.put(ctx, next, item.Version)
}

// unused is asked when the store is marked, see standing.
func (r *Registry) unused(ctx context.Context, s *Store, left func(context.Context, *Store) error) error {
	if err := r.Load(ctx); err != nil {
		return err
	}
	now := r.current.Load()
	for id, doc := range now.documents {
		if doc.value.Store == s.ID && !now.dead[id] {
			return fmt.Errorf("store %s: %w by repository %s", s.Name, ErrInUse, doc.value.Name)
		}
	}
	if left == nil {
		return nil
	}
	return left(ctx, s)
}

// settleRemoval deletes item, of which it is known that it was there: to find
// it missing after an unknown outcome is success.
func settleRemoval(ctx context.Context, store kv.Store, item kv.Item) error {
	unknown := false
	err := settle(ctx, func() error {
		err := store.DeleteIf(ctx, item.Key, item.Version)
		unknown = unknown || errors.Is(err, kv.ErrUnknown)
		return err
	})
	if err == nil || !unknown || !errors.Is(err, kv.ErrConflict) {
		return err
	}
	_, found := kv.Current(ctx, store, item.Key, err)
	if errors.Is(found, kv.ErrNotFound) {
		return nil
	}
	return err
}
