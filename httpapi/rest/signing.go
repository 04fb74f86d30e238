package rest

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"granary/formats"
	"granary/httpapi/exchange"
	"granary/repo"
	"granary/repo/signing"
)

// SigningKey is a key that a repository signs its documents with.
type SigningKey struct {
	Fingerprint string    `json:"fingerprint" doc:"In upper-case hex."`
	Algorithm   string    `json:"algorithm"`
	CreatedAt   Timestamp `json:"created_at"`
	Until       Timestamp `json:"until" doc:"When it ceases to sign beside the key in force; null for that one."`
}

// SigningKeyRequest is the body that puts a new key in force.
type SigningKeyRequest struct {
	Algorithm   optional[string] `json:"algorithm,omitempty" doc:"ed25519 (the default) or rsa4096."`
	PrivateKey  optional[string] `json:"private_key,omitempty" doc:"An armored OpenPGP key to use instead of a new one."`
	Passphrase  optional[string] `json:"passphrase,omitempty" doc:"What opens private_key; it is not kept."`
	OverlapDays optional[int64]  `json:"overlap_days,omitempty" doc:"For how long the keys before go on to sign beside it; 90 unless given."`
}

// oneSigningKey is the input of an operation on a key.
type oneSigningKey struct {
	Name        string `path:"name"`
	Fingerprint string `path:"fingerprint"`
}

// Overlaps of keys in days.
const (
	defaultOverlap = 90
	maxOverlap     = 3650
)

func (a *api) signingKeys() {
	const tag = "signing keys"
	register(a, operation{
		id: "list-signing-keys", method: http.MethodGet, path: "/repositories/{name}/signing-keys", tag: tag,
		summary: "List the keys that sign the documents of a repository, the one in force first",
	}, a.listSigningKeys)
	register(a, operation{
		id: "rotate-signing-key", method: http.MethodPost, path: "/repositories/{name}/signing-keys", tag: tag,
		summary: "Put a new or an imported key in force", status: http.StatusCreated, reads: reflect.TypeFor[SigningKeyRequest](),
	}, a.rotateSigningKey)
	register(a, operation{
		id: "end-signing-key", method: http.MethodDelete, path: "/repositories/{name}/signing-keys/{fingerprint}", tag: tag,
		summary: "Make an earlier key sign no more", status: http.StatusNoContent,
	}, a.endSigningKey)
}

func showSigningKey(k repo.SigningKey) SigningKey {
	return SigningKey{Fingerprint: k.Fingerprint, Algorithm: k.Algorithm, CreatedAt: Timestamp(k.Created), Until: Timestamp(k.Until)}
}

func (a *api) listSigningKeys(ctx context.Context, x *exchange.Exchange, in *named) (*answer[[]SigningKey], error) {
	name, err := allowed(x, formats.VerbRead, in.Name)
	if err != nil {
		return nil, err
	}
	keys, err := a.Repositories.SigningKeys(ctx, name)
	if err != nil {
		return nil, err
	}
	out := make([]SigningKey, len(keys))
	for i, k := range keys {
		out[i] = showSigningKey(k)
	}
	return &answer[[]SigningKey]{out}, nil
}

func (a *api) rotateSigningKey(ctx context.Context, x *exchange.Exchange, in *named) (*answer[SigningKey], error) {
	name, err := administered(x, in.Name)
	if err != nil {
		return nil, err
	}
	p, err := a.read(x, maxBody)
	if err != nil {
		return nil, err
	}
	var body SigningKeyRequest
	if err := p.decode(&body); err != nil {
		return nil, err
	}
	days := int64(defaultOverlap)
	plain(body.OverlapDays, &days, days)
	if days < 0 || days > maxOverlap {
		return nil, formats.BadRequest("overlap_days: must be between 0 and %d", maxOverlap)
	}
	key, err := a.Repositories.RotateSigningKey(ctx, name, repo.NewKey{
		Algorithm: signing.Algorithm(body.Algorithm.value), Private: body.PrivateKey.value, Passphrase: body.Passphrase.value,
		Overlap: time.Duration(days) * 24 * time.Hour,
	})
	if err != nil {
		return nil, err
	}
	return &answer[SigningKey]{showSigningKey(key)}, nil
}

func (a *api) endSigningKey(ctx context.Context, x *exchange.Exchange, in *oneSigningKey) (*none, error) {
	name, err := administered(x, in.Name)
	if err != nil {
		return nil, err
	}
	fingerprint, err := segment(in.Fingerprint)
	if err != nil {
		return nil, err
	}
	return nil, a.Repositories.EndSigningKey(ctx, name, fingerprint)
}
