package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"granary/formats"
	"granary/repo/config"
	"granary/repo/signing"
)

// SigningKey is a key that a repository signs its documents with.
type SigningKey struct {
	Fingerprint, Algorithm string
	Created                time.Time
	Until                  time.Time // when it ceases to sign; zero: not known
}

// NewKey says what key a repository is to sign with.
type NewKey struct {
	Algorithm signing.Algorithm // "": Ed25519
	// Private is an armored key to take instead of making one, Passphrase what
	// opens it.
	Private, Passphrase string
	// Overlap is for how long the keys before go on to sign beside it, so that
	// clients that do not trust it yet can verify.
	Overlap time.Duration
}

// maxSigningKeys bounds what a repository remembers, retired ones included.
const maxSigningKeys = 20

// signed returns the configuration of a repository that signs.
func (s *Service) signed(ctx context.Context, name string) (*repository, error) {
	c, err := s.configured(ctx, name)
	if err != nil {
		return nil, err
	}
	r, err := s.repository(c)
	if err != nil {
		return nil, err
	}
	if _, ok := r.format.(formats.Signs); !ok || r.Type == config.Cache {
		return nil, formats.BadRequest("repository %s signs nothing", name)
	}
	return r, nil
}

// Signs tells whether a repository of this configuration signs documents.
func (s *Service) Signs(c *config.Repository) bool {
	for _, f := range s.Formats {
		if f.Name() == c.Format {
			_, ok := f.(formats.Signs)
			return ok && c.Type != config.Cache
		}
	}
	return false
}

// SigningKeys returns the keys that sign now, the one in force first. A
// repository that has none yet gets its first. ErrBadRequest where nothing is
// signed.
func (s *Service) SigningKeys(ctx context.Context, name string) ([]SigningKey, error) {
	r, err := s.signed(ctx, name)
	if err != nil {
		return nil, err
	}
	keys, err := s.Registry.Signing(ctx, r.ID)
	if errors.Is(err, config.ErrNotFound) {
		keys, err = s.firstKeys(ctx, r)
	}
	if err != nil {
		return nil, fmt.Errorf("signing keys of %s: %w", name, err)
	}
	out := []SigningKey{}
	for _, k := range slices.Backward(keys.Keys) {
		if k.Until.IsZero() || s.Now().Before(k.Until) {
			out = append(out, SigningKey{k.Fingerprint, k.Algorithm, k.Created, k.Until})
		}
	}
	return out, nil
}

// RotateSigningKey puts a new key in force, on every node when it returns.
func (s *Service) RotateSigningKey(ctx context.Context, name string, n NewKey) (SigningKey, error) {
	if err := s.writable(); err != nil {
		return SigningKey{}, err
	}
	r, err := s.signed(ctx, name)
	if err != nil {
		return SigningKey{}, err
	}
	key, err := s.newKey(r, n)
	if errors.Is(err, signing.ErrKey) {
		err = formats.BadRequest("%v", err)
	}
	if err != nil {
		return SigningKey{}, err
	}
	_, err = s.Registry.UpdateSigning(ctx, r.ID, func(c *config.Signing) error {
		now := s.Now()
		for i, k := range c.Keys {
			if k.Fingerprint == key.Fingerprint {
				return fmt.Errorf("signing key %s of %s %w", k.Fingerprint, name, config.ErrExists)
			}
			if k.Until.IsZero() {
				c.Keys[i].Until = now.Add(n.Overlap)
			}
		}
		c.Keys = append(c.Keys, key)
		if over := len(c.Keys) - maxSigningKeys; over > 0 {
			c.Keys = c.Keys[over:]
		}
		return nil
	})
	if err != nil {
		return SigningKey{}, fmt.Errorf("rotate the signing key of %s: %w", name, err)
	}
	return SigningKey{Fingerprint: key.Fingerprint, Algorithm: key.Algorithm, Created: key.Created}, nil
}

func (s *Service) newKey(r *repository, n NewKey) (config.SigningKey, error) {
	if n.Private != "" {
		return signing.Import(n.Private, n.Passphrase, s.Now())
	}
	if n.Algorithm == "" {
		n.Algorithm = signing.Ed25519
	}
	return signing.Generate(r.Name, n.Algorithm, s.Now())
}

// CheckSigningKey tells what is wrong with a key that is to be restored.
func (s *Service) CheckSigningKey(fingerprint, private string) error {
	key, err := signing.Import(private, "", s.Now())
	switch {
	case errors.Is(err, signing.ErrKey):
		return formats.BadRequest("private_key: %v", err)
	case err != nil:
		return err
	case key.Fingerprint != fingerprint:
		return formats.BadRequest("private_key: is that of another fingerprint")
	}
	return nil
}

// RestoreSigningKeys puts keys in force as they were when they were saved, the
// last one that has no end. Keys here that are not among them go on to sign
// beside it for a time.
func (s *Service) RestoreSigningKeys(ctx context.Context, name string, keys []config.SigningKey, overlap time.Duration) error {
	if err := s.writable(); err != nil {
		return err
	}
	r, err := s.signed(ctx, name)
	if err != nil {
		return err
	}
	_, err = s.Registry.UpdateSigning(ctx, r.ID, func(c *config.Signing) error {
		saved := func(k config.SigningKey) bool {
			return slices.ContainsFunc(keys, func(o config.SigningKey) bool { return o.Fingerprint == k.Fingerprint })
		}
		list := slices.DeleteFunc(slices.Clone(c.Keys), saved)
		for i := range list {
			if list[i].Until.IsZero() {
				list[i].Until = s.Now().Add(overlap)
			}
		}
		list = append(list, keys...)
		c.Keys = list[max(0, len(list)-maxSigningKeys):]
		return nil
	})
	if err != nil {
		return fmt.Errorf("restore the signing keys of %s: %w", name, err)
	}
	return nil
}

// EndSigningKey makes a key sign no more, at once and on every node: it is
// lost or stolen. The key in force has to be rotated first.
func (s *Service) EndSigningKey(ctx context.Context, name, fingerprint string) error {
	if err := s.writable(); err != nil {
		return err
	}
	r, err := s.signed(ctx, name)
	if err != nil {
		return err
	}
	_, err = s.Registry.UpdateSigning(ctx, r.ID, func(c *config.Signing) error {
		at := slices.IndexFunc(c.Keys, func(k config.SigningKey) bool { return k.Fingerprint == fingerprint })
		switch {
		case at < 0:
			return fmt.Errorf("signing key %.64q of %s: %w", fingerprint, name, formats.ErrNotFound)
		case at == len(c.Keys)-1:
			return formats.BadRequest("%s is the key in force: put another in its place first", fingerprint)
		}
		c.Keys = slices.Delete(c.Keys, at, at+1)
		return nil
	})
	if err != nil {
		return fmt.Errorf("end a signing key of %s: %w", name, err)
	}
	return nil
}
