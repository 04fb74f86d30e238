package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"
)

// keyIDSize is the length of a signing key's id in bytes before base64.
const keyIDSize = 9

// loadKeys returns the signing keys and the stamp of all API tokens.
func (s *Service) loadKeys(ctx context.Context) ([]loadedKey, string, error) {
	rec, _, err := read(ctx, s.keys(), jwtKey())
	if errors.Is(err, ErrNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	stored := []*signingKey{&rec.Current}
	if rec.Previous != nil {
		stored = append(stored, rec.Previous)
	}
	keys := make([]loadedKey, len(stored))
	for i, k := range stored {
		secret, err := s.open(k.Secret)
		if err != nil {
			return nil, "", err
		}
		if k.ID == "" || len(secret) < secretSize {
			return nil, "", errors.New("stored signing key is damaged")
		}
		keys[i] = loadedKey{k.ID, secret, time.Unix(0, k.Created)}
	}
	return keys, rec.Stamp, nil
}

// newStamp returns a stamp that no API token has.
func (s *Service) newStamp() (string, error) {
	b, err := newSecret(s.random, keyIDSize)
	return base64.RawURLEncoding.EncodeToString(b), err
}

func (s *Service) newSigningKey() (signingKey, error) {
	id, err := newSecret(s.random, keyIDSize)
	if err != nil {
		return signingKey{}, err
	}
	plain, err := newSecret(s.random, secretSize)
	if err != nil {
		return signingKey{}, err
	}
	secret, err := s.seal(plain)
	return signingKey{
		ID: base64.RawURLEncoding.EncodeToString(id), Secret: secret, Created: s.now().UnixNano(),
	}, err
}

var errNotDue = errors.New("not due")

// Rotate replaces the cluster's signing key if it is older than interval and
// tells whether it did. Tokens of the replaced key stay good until they expire
// or the key is replaced once more, so interval must not be shorter than their
// life. Any node may call it at any time.
func (s *Service) Rotate(ctx context.Context, interval time.Duration) (bool, error) {
	if k := s.snapshot().current(); k == nil || s.now().Sub(k.created) < interval {
		return false, nil
	}
	err := s.newCurrentKey(ctx, func(rec *keyRecord, k signingKey) error {
		if s.now().Sub(time.Unix(0, rec.Current.Created)) < interval {
			return errNotDue // another node was faster
		}
		old := rec.Current
		rec.Previous, rec.Current = &old, k
		return nil
	})
	if errors.Is(err, errNotDue) {
		return false, s.Load(ctx)
	}
	if err != nil {
		return false, fmt.Errorf("rotate the signing key: %w", err)
	}
	return true, nil
}

// RevokeAll ends every session and API token there is, also the caller's.
func (s *Service) RevokeAll(ctx context.Context) error {
	stamp, err := s.newStamp()
	if err != nil {
		return err
	}
	err = s.newCurrentKey(ctx, func(rec *keyRecord, k signingKey) error {
		rec.Previous, rec.Current, rec.Stamp = nil, k, stamp
		return nil
	})
	if err != nil {
		return fmt.Errorf("revoke all tokens: %w", err)
	}
	return nil
}

func (s *Service) newCurrentKey(ctx context.Context, change func(*keyRecord, signingKey) error) error {
	k, err := s.newSigningKey()
	if err != nil {
		return err
	}
	_, err = update(ctx, s.keys(), jwtKey(), func(rec *keyRecord) error { return change(rec, k) })
	if err != nil {
		return err
	}
	return s.changed(ctx)
}
