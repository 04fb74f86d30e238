package repo

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"granary/formats"
	"granary/repo/config"
	"granary/repo/signing"
)

// rings keeps keys opened by repository, since parsing them costs more than
// signing does.
type rings struct {
	mu     sync.Mutex
	opened map[string]openedRing // by repository id; guarded by mu
}

// openedRing is the keys of one repository, as they sign until the time when
// the first of them ceases to.
type openedRing struct {
	of    *config.Signing
	ring  *signing.Ring
	until time.Time // zero: for ever
}

// get returns opened keys; of nil stands for whatever was opened last.
func (r *rings) get(repositoryID string, of *config.Signing, now time.Time) (*signing.Ring, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	o, ok := r.opened[repositoryID]
	if !ok || of != nil && o.of != of || !o.until.IsZero() && !now.Before(o.until) {
		return nil, false
	}
	return o.ring, true
}

func (r *rings) put(repositoryID string, of *config.Signing, now func() time.Time) (*signing.Ring, error) {
	ring, err := signing.Open(of, now)
	if err != nil {
		return nil, err
	}
	o := openedRing{of: of, ring: ring}
	for _, k := range of.Keys {
		if at := now(); k.Until.After(at) && (o.until.IsZero() || k.Until.Before(o.until)) {
			o.until = k.Until
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.opened == nil {
		r.opened = map[string]openedRing{}
	}
	r.opened[repositoryID] = o
	return ring, nil
}

// signer returns the keys that sign the documents of a repository, nil if its
// format signs none or it passes on what its upstream signed. The first one who
// needs them makes them.
func (s *Service) signer(ctx context.Context, r *repository) (formats.Signer, error) {
	if _, ok := r.format.(formats.Signs); !ok || r.Type == config.Cache {
		return nil, nil //nolint:nilnil // no keys are needed
	}
	// Keys that a change brought are in memory by the time it was answered;
	// others were looked up once and have not changed since.
	loaded := s.Registry.SigningLoaded(r.ID)
	if ring, ok := s.rings.get(r.ID, loaded, s.Now()); ok {
		return ring, nil
	}
	keys, err := loaded, error(nil)
	if keys == nil {
		keys, err = s.Registry.Signing(ctx, r.ID)
	}
	if errors.Is(err, config.ErrNotFound) {
		keys, err = s.firstKeys(ctx, r)
	}
	if err != nil {
		return nil, fmt.Errorf("signing keys of %s: %w", r.Name, err)
	}
	ring, err := s.rings.put(r.ID, keys, s.Now)
	if err != nil {
		return nil, fmt.Errorf("signing keys of %s: %w", r.Name, err)
	}
	return ring, nil
}

// firstKeys makes the key of a repository that has none. What another node
// made meanwhile is taken in its place.
func (s *Service) firstKeys(ctx context.Context, r *repository) (*config.Signing, error) {
	if err := s.writable(); err != nil {
		return nil, err
	}
	key, err := signing.Generate(r.Name, signing.Ed25519, s.Now())
	if err != nil {
		return nil, err
	}
	return s.Registry.CreateSigning(ctx, r.ID, &config.Signing{Keys: []config.SigningKey{key}})
}
