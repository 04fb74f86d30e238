package config

import (
	"context"
	"errors"
	"time"

	"granary/kv"
)

// Signing are the keys that a repository signs its documents with.
type Signing struct {
	kv.Extra `cbor:"-"`

	// Keys in the order in which they came into force; the last one that is not
	// retired is in force.
	Keys []SigningKey `cbor:"1,keyasint"`
}

// SigningKey is an OpenPGP key.
type SigningKey struct {
	kv.Extra `cbor:"-"`

	Fingerprint string    `cbor:"1,keyasint"` // upper-case hex
	Algorithm   string    `cbor:"2,keyasint"` // "ed25519", "rsa4096", or what was imported
	Private     Secret    `cbor:"3,keyasint"` // armored, without a passphrase
	Created     time.Time `cbor:"4,keyasint"`
	// Until is when the key ceases to sign; zero: not yet known. Until then
	// documents carry a signature of it beside that of the key in force.
	Until time.Time `cbor:"5,keyasint,omitzero"`
}

func (s *Signing) secrets() []*Secret {
	out := make([]*Secret, len(s.Keys))
	for i := range s.Keys {
		out[i] = &s.Keys[i].Private
	}
	return out
}

// SigningLoaded returns the keys of a repository as they are in memory, nil if
// none are. What UpdateSigning changed is in the memory of every node.
func (r *Registry) SigningLoaded(repositoryID string) *Signing {
	return r.current.Load().signing[repositoryID].value
}

// Signing returns the keys of a repository. Keys that are not in memory are
// looked up consistently before the answer is ErrNotFound.
func (r *Registry) Signing(ctx context.Context, repositoryID string) (*Signing, error) {
	if s := r.SigningLoaded(repositoryID); s != nil {
		return s, nil
	}
	s, _, err := get(ctx, r, kv.Config(kindSigning, repositoryID), Signing{})
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, notFound("signing keys of repository", repositoryID)
	}
	return s, nil
}

// CreateSigning stores the first keys of a repository. If another node was
// faster, its keys are returned: a repository never has two first keys. Nobody
// is told, since who misses keys looks them up.
func (r *Registry) CreateSigning(ctx context.Context, repositoryID string, s *Signing) (*Signing, error) {
	key := kv.Config(kindSigning, repositoryID)
	item, err := encode(r, key, s)
	if err != nil {
		return nil, err
	}
	err = r.put(ctx, item, "")
	if errors.Is(err, kv.ErrConflict) {
		return r.Signing(ctx, repositoryID)
	}
	return s, err
}

// UpdateSigning changes the keys of a repository on every node. change gets a
// copy of its own and may be called again when another writer was faster.
func (r *Registry) UpdateSigning(ctx context.Context, repositoryID string, change func(*Signing) error) (*Signing, error) {
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	key := kv.Config(kindSigning, repositoryID)
	var s *Signing
	err := again(ctx, func() error {
		var item kv.Item
		var err error
		if s, item, err = get(ctx, r, key, Signing{}); err != nil {
			return err
		}
		if s == nil {
			s = &Signing{}
		}
		if err := change(s); err != nil {
			return err
		}
		next, err := encode(r, key, s)
		if err != nil {
			return err
		}
		return r.put(ctx, next, item.Version)
	})
	if err != nil {
		return nil, err
	}
	return s, r.changed(ctx)
}
