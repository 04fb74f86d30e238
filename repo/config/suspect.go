package config

import (
	"context"
	"time"

	"granary/kv"
)

// SuspectStore says that a store holds bytes that are known to be wrong: from
// then on, on every node when this returns, a blob of it is read only where the
// reference to its content says so ([Store.Suspect]). ErrNotFound: there is no
// such store.
func (r *Registry) SuspectStore(ctx context.Context, id string) error {
	return r.doubt(ctx, id, func(s *Store) bool {
		if !s.Suspect.IsZero() {
			return false
		}
		s.Suspect = r.o.Now().UTC()
		return true
	})
}

// TrustStore ends that, if it is still what was said at the time since.
func (r *Registry) TrustStore(ctx context.Context, id string, since time.Time) error {
	return r.doubt(ctx, id, func(s *Store) bool {
		if s.Suspect.IsZero() || !s.Suspect.Equal(since) {
			return false
		}
		s.Suspect = time.Time{}
		return true
	})
}

// doubt changes a store without trying it out: it may be failing. change tells
// whether it did.
func (r *Registry) doubt(ctx context.Context, id string, change func(*Store) bool) error {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	known, ok := r.StoreByID(id)
	if !ok {
		return notFound("store", id)
	}
	err := again(ctx, func() error {
		s, item, err := r.readStore(ctx, known.Name)
		if err != nil {
			return err
		}
		if s.ID != id {
			return notFound("store", id)
		}
		if !change(s) {
			return nil
		}
		var next kv.Item
		if next, err = encode(r, item.Key, s); err != nil {
			return err
		}
		return r.put(ctx, next, item.Version)
	})
	if err != nil {
		return err
	}
	// Also if it was so already: perhaps not on every node yet.
	return r.changed(ctx)
}
