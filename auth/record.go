package auth

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"granary/kv"
)

// Kinds of configuration documents and ids of single ones.
const (
	kindUser = "user"
	kindRole = "role"
	kindKey  = "key"
	keyJWT   = "jwt"

	kindToken = "token"
)

// Where users come from.
const (
	builtin = "builtin" // the password is kept here
	service = "service" // none: for machines, which use API tokens
)

// userRecord is a user as stored under kv.Config("user", name).
type userRecord struct {
	kv.Extra `cbor:"-"`
	Name     string       `cbor:"1,keyasint,omitempty"`
	Source   string       `cbor:"2,keyasint,omitempty"`
	Hash     Secret       `cbor:"3,keyasint,omitempty"` // PHC format; "" matches no password
	Token    sealedSecret `cbor:"4,keyasint,omitempty"` // the user's part of the signing key
	Roles    []string     `cbor:"5,keyasint,omitempty"`
	// MustChange: nothing is allowed but to change the password.
	MustChange bool  `cbor:"6,keyasint,omitempty"`
	Created    int64 `cbor:"7,keyasint,omitempty"` // Unix nanoseconds
	Updated    int64 `cbor:"8,keyasint,omitempty"`
	// Leaving marks an administrator about to be demoted or deleted; see resign.
	Leaving bool `cbor:"9,keyasint,omitempty"`
	// Stamp is repeated by the user's API tokens: those with another one have
	// ended. It is random, so that no later user of the name has it.
	Stamp string `cbor:"10,keyasint,omitempty"`
	// Subject is who the user is at an OIDC provider: issuer, a blank, sub.
	Subject string `cbor:"11,keyasint,omitempty"`
}

// roleRecord is a role as stored under kv.Config("role", name).
type roleRecord struct {
	kv.Extra     `cbor:"-"`
	Name         string             `cbor:"1,keyasint,omitempty"`
	Description  string             `cbor:"2,keyasint,omitempty"`
	Capabilities []capabilityRecord `cbor:"3,keyasint,omitempty"`
	Created      int64              `cbor:"4,keyasint,omitempty"` // Unix nanoseconds
	Updated      int64              `cbor:"5,keyasint,omitempty"`
}

type capabilityRecord struct {
	kv.Extra   `cbor:"-"`
	Capability string `cbor:"1,keyasint,omitempty"`
	Repository string `cbor:"2,keyasint,omitempty"` // a glob
	// Paths are globs that limit the right; none: it is for all paths.
	Paths []string `cbor:"3,keyasint,omitempty"`
}

// keyRecord holds the cluster's signing keys, under kv.Config("key", "jwt").
type keyRecord struct {
	kv.Extra `cbor:"-"`
	Current  signingKey  `cbor:"1,keyasint,omitempty"`
	Previous *signingKey `cbor:"2,keyasint,omitempty"` // nil: none, or revoked
	// Stamp is repeated by all API tokens, as userRecord.Stamp is by those of
	// one user.
	Stamp string `cbor:"3,keyasint,omitempty"`
}

// tokenRecord is an API token as stored under kv.Config("token", id).
type tokenRecord struct {
	kv.Extra     `cbor:"-"`
	ID           string             `cbor:"1,keyasint,omitempty"`
	Name         string             `cbor:"2,keyasint,omitempty"`
	User         string             `cbor:"3,keyasint,omitempty"`
	Hash         key                `cbor:"4,keyasint,omitempty"` // SHA-256 of the token's text
	Limited      bool               `cbor:"5,keyasint,omitempty"` // to Capabilities, which may be empty
	Capabilities []capabilityRecord `cbor:"6,keyasint,omitempty"`
	Created      int64              `cbor:"7,keyasint,omitempty"` // Unix nanoseconds
	Expires      int64              `cbor:"8,keyasint,omitempty"` // Unix milliseconds, 0: never
	UserStamp    string             `cbor:"9,keyasint,omitempty"`
	ClusterStamp string             `cbor:"10,keyasint,omitempty"`
}

// useRecord is when an API token was last used, under kv.TokenUse(id).
type useRecord struct {
	kv.Extra `cbor:"-"`
	Used     int64 `cbor:"1,keyasint,omitempty"` // Unix seconds
}

type signingKey struct {
	kv.Extra `cbor:"-"`
	ID       string       `cbor:"1,keyasint,omitempty"` // "kid" of the tokens it signs
	Secret   sealedSecret `cbor:"2,keyasint,omitempty"`
	Created  int64        `cbor:"3,keyasint,omitempty"` // Unix nanoseconds
}

// sealedSecret is a secret as stored.
type sealedSecret struct {
	kv.Extra `cbor:"-"`
	Bytes    key  `cbor:"1,keyasint,omitempty"`
	Sealed   bool `cbor:"2,keyasint,omitempty"` // false: Bytes is the secret itself
}

// seal makes a secret ready to be stored.
func (s *Service) seal(plain key) (sealedSecret, error) {
	if s.sealer == nil {
		return sealedSecret{Bytes: plain}, nil
	}
	b, err := s.sealer.Seal(plain)
	if err != nil {
		return sealedSecret{}, fmt.Errorf("seal a secret: %w", err)
	}
	return sealedSecret{Bytes: b, Sealed: true}, nil
}

// open is the inverse of seal. What was stored while there was no sealer is
// taken as it is.
func (s *Service) open(stored sealedSecret) (key, error) {
	if !stored.Sealed {
		return stored.Bytes, nil
	}
	if s.sealer == nil {
		return nil, fmt.Errorf("%w: there is none", ErrSealed)
	}
	plain, err := s.sealer.Open(stored.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSealed, err)
	}
	return plain, nil
}

func (s *Service) users() kv.Table[userRecord] { return kv.Table[userRecord]{Store: s.kv} }
func (s *Service) roles() kv.Table[roleRecord] { return kv.Table[roleRecord]{Store: s.kv} }
func (s *Service) keys() kv.Table[keyRecord]   { return kv.Table[keyRecord]{Store: s.kv} }

func (s *Service) apiTokens() kv.Table[tokenRecord] { return kv.Table[tokenRecord]{Store: s.kv} }

func userKey(name string) kv.Key { return kv.Config(kindUser, name) }
func roleKey(name string) kv.Key { return kv.Config(kindRole, name) }
func jwtKey() kv.Key             { return kv.Config(kindKey, keyJWT) }
func tokenKey(id string) kv.Key  { return kv.Config(kindToken, id) }

// add writes a new record, or returns ErrExists.
func add[T any](ctx context.Context, t kv.Table[T], key kv.Key, rec T) error {
	_, err := t.Create(ctx, key, rec)
	if errors.Is(err, kv.ErrConflict) {
		return ErrExists
	}
	return err
}

// read returns a record and its version as they are now, or ErrNotFound.
func read[T any](ctx context.Context, t kv.Table[T], key kv.Key) (T, kv.Version, error) {
	rec, version, err := t.Get(ctx, key, kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) {
		err = ErrNotFound
	}
	return rec, version, err
}

// drop removes a record, or returns ErrNotFound.
func drop[T any](ctx context.Context, t kv.Table[T], key kv.Key) error {
	return again(ctx, func() error {
		_, version, err := read(ctx, t, key)
		if err != nil {
			return err
		}
		return t.Delete(ctx, key, version)
	})
}

// update changes a record, or returns ErrNotFound. change may be called again
// when somebody else was faster; its error ends the update.
func update[T any](ctx context.Context, t kv.Table[T], key kv.Key, change func(*T) error) (T, error) {
	return t.Update(ctx, key, func(rec T, exists bool) (T, error) {
		if !exists {
			return rec, ErrNotFound
		}
		return rec, change(&rec)
	})
}

// again calls f until it does not meet a conflict.
func again(ctx context.Context, f func() error) error {
	for try := 0; ; try++ {
		err := f()
		if !errors.Is(err, kv.ErrConflict) || try == maxTries {
			return err
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
	}
}

// maxTries bounds the repetitions of a swap. Who loses that often has met a
// store that is broken rather than busy.
const maxTries = 16

// pause waits before a further try, with full jitter.
func pause(ctx context.Context, try int) error {
	t := time.NewTimer(rand.N(time.Millisecond << min(try+2, 8)))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
