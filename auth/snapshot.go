package auth

import (
	"context"
	"fmt"
	"time"

	"granary/kv"
)

// snapshot is all users, roles, keys and API tokens at one time. It is never changed once
// it can be seen.
type snapshot struct {
	users map[string]*user
	roles map[string]*roleRecord
	keys  []loadedKey // the current one first; empty before the first start is done
	// tokens are the API tokens by id, also those that have ended; stamp is
	// what all of them must have.
	tokens map[string]*apiToken
	stamp  string
	ldap   *loadedLDAP // nil: there is no directory
	oidc   *OIDC       // nil: no provider is trusted
}

func (s *snapshot) hasRole(name string) bool { return s.roles[name] != nil }

// hasService tells whether there is a service account of a name.
func (s *snapshot) hasService(name string) bool {
	u := s.users[name]
	return u != nil && u.record.Source == service
}

// homeless tells whether nobody who knows the user is asked any more.
func (s *snapshot) homeless(u *user) bool {
	switch u.record.Source {
	case directory:
		return s.ldap == nil
	case provider:
		return s.oidc == nil || s.oidc.Login == nil || !s.oidc.Login.knows(u.record.Subject)
	}
	return false
}

// user is a user with its rights worked out.
type user struct {
	record  *userRecord
	version kv.Version
	secret  key
	rights  rights
}

func (u *user) identity(m Method, peer string) Identity {
	return Identity{
		Name: u.record.Name, Roles: u.record.Roles, Method: m, Peer: peer,
		// Nobody can change a password that anonymous doesn't have.
		mustChange: u.record.MustChange && u.record.Name != AnonymousUser,
		rights:     u.rights,
	}
}

type loadedKey struct {
	id      string
	secret  key
	created time.Time
}

func (s *snapshot) current() *loadedKey {
	if len(s.keys) == 0 {
		return nil
	}
	return &s.keys[0]
}

func (s *snapshot) key(id string) *loadedKey {
	for i := range s.keys {
		if s.keys[i].id == id {
			return &s.keys[i]
		}
	}
	return nil
}

// Load reads users, roles, keys and API tokens as they are now; the cluster's watch calls
// it whenever configuration has changed. On error what was loaded before stays
// in force.
func (s *Service) Load(ctx context.Context) error {
	s.loading.Lock() // a later read must not be replaced by an earlier one
	defer s.loading.Unlock()
	old := s.snapshot()
	snap := &snapshot{users: make(map[string]*user, len(old.users))}
	var err error
	if snap.keys, snap.stamp, err = s.loadKeys(ctx); err != nil {
		return fmt.Errorf("load signing keys: %w", err)
	}
	if snap.ldap, err = s.loadLDAP(ctx); err != nil {
		return fmt.Errorf("load the LDAP settings: %w", err)
	}
	if snap.oidc, err = s.loadOIDC(ctx); err != nil {
		return fmt.Errorf("load the OIDC settings: %w", err)
	}
	if snap.roles, err = s.loadRoles(ctx); err != nil {
		return fmt.Errorf("load roles: %w", err)
	}
	if snap.tokens, err = s.loadTokens(ctx, old); err != nil {
		return fmt.Errorf("load API tokens: %w", err)
	}
	for item, err := range s.kv.Query(ctx, kv.ConfigPartition(kindUser), "", "", kv.Consistent) {
		if err != nil {
			return fmt.Errorf("load users: %w", err)
		}
		u, err := s.loadUser(item, old)
		if err != nil {
			return fmt.Errorf("load user %q: %w", item.Sort, err)
		}
		u.rights = rightsOf(u.record.Roles, snap.roles)
		snap.users[item.Sort] = u
	}
	s.loaded.Store(snap)
	return nil
}

// loadUser decodes a user, unless the old snapshot has it in this version.
func (s *Service) loadUser(item kv.Item, old *snapshot) (*user, error) {
	if u := old.users[item.Sort]; u != nil && u.version == item.Version {
		return &user{record: u.record, version: u.version, secret: u.secret}, nil
	}
	rec := new(userRecord)
	if err := kv.Unmarshal(item.Value, rec); err != nil {
		return nil, err
	}
	secret, err := s.open(rec.Token)
	rec.Name = item.Sort // the key decides
	return &user{record: rec, version: item.Version, secret: secret}, err
}

func (s *Service) loadRoles(ctx context.Context) (map[string]*roleRecord, error) {
	roles := map[string]*roleRecord{}
	for item, err := range s.kv.Query(ctx, kv.ConfigPartition(kindRole), "", "", kv.Consistent) {
		if err != nil {
			return nil, err
		}
		rec := new(roleRecord)
		if err := kv.Unmarshal(item.Value, rec); err != nil {
			return nil, fmt.Errorf("role %q: %w", item.Sort, err)
		}
		rec.Name = item.Sort
		roles[item.Sort] = rec
	}
	return roles, nil
}
