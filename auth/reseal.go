package auth

import (
	"context"
	"errors"
	"fmt"

	"granary/kv"
)

// Reseal seals every secret of users, signing keys and the directory with the
// sealer in force, which must open what is stored, and returns how many records
// it wrote. Nobody's sessions end by it.
func (s *Service) Reseal(ctx context.Context) (int, error) {
	if s.sealer == nil {
		return 0, invalid("secret_key", "is not set")
	}
	total := 0
	for item, err := range s.kv.Query(ctx, kv.ConfigPartition(kindUser), "", "", kv.Consistent, kv.KeysOnly) {
		if err != nil {
			return total, fmt.Errorf("seal again: read users: %w", err)
		}
		_, err := update(ctx, s.users(), item.Key, func(rec *userRecord) error { return s.reseal(&rec.Token) })
		if err != nil && !errors.Is(err, ErrNotFound) {
			return total, fmt.Errorf("seal again: user %q: %w", item.Sort, err)
		}
		total++
	}
	_, err := update(ctx, s.keys(), jwtKey(), func(rec *keyRecord) error {
		if rec.Previous != nil {
			if err := s.reseal(&rec.Previous.Secret); err != nil {
				return err
			}
		}
		return s.reseal(&rec.Current.Secret)
	})
	if err != nil {
		return total, fmt.Errorf("seal again: signing keys: %w", err)
	}
	total++
	_, err = update(ctx, s.ldapTable(), ldapKey(), func(rec *ldapRecord) error { return s.reseal(&rec.BindPassword) })
	switch {
	case err == nil:
		total++
	case !errors.Is(err, ErrNotFound):
		return total, fmt.Errorf("seal again: LDAP: %w", err)
	}
	_, err = update(ctx, s.oidcTable(), oidcKey(), func(rec *oidcRecord) error {
		if rec.Login == nil {
			return nil
		}
		return s.reseal(&rec.Login.ClientSecret)
	})
	switch {
	case err == nil:
		total++
	case !errors.Is(err, ErrNotFound):
		return total, fmt.Errorf("seal again: OIDC: %w", err)
	}
	return total, s.changed(ctx)
}

func (s *Service) reseal(secret *sealedSecret) error {
	if len(secret.Bytes) == 0 {
		return nil
	}
	plain, err := s.open(*secret)
	if err != nil {
		return err
	}
	sealed, err := s.seal(plain)
	sealed.Extra = secret.Extra
	*secret = sealed
	return err
}
