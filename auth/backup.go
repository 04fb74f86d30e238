package auth

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"time"
)

// BackupUser is a user with everything that makes it one, as backups carry it.
// Its secrets are plain strings: it is for that and nothing else.
type BackupUser struct {
	Username           string    `json:"username"`
	Source             string    `json:"source"`
	Roles              []string  `json:"roles"`
	MustChangePassword bool      `json:"must_change_password"`
	CreatedAt          time.Time `json:"created_at"`
	UpdatedAt          time.Time `json:"updated_at"`
	// Subject is who the user is at an OIDC provider.
	Subject string `json:"subject,omitempty"`
	// PasswordHash is in PHC format, TokenSecret base64. Empty: not in the
	// backup, or there is none.
	PasswordHash string `json:"password_hash,omitempty"`
	TokenSecret  string `json:"token_secret,omitempty"`
}

// BackupUsers returns all users; API tokens are not part of them.
func (s *Service) BackupUsers() []BackupUser {
	users := s.snapshot().users
	out := make([]BackupUser, 0, len(users))
	for _, name := range slices.Sorted(maps.Keys(users)) {
		u := users[name]
		shown := u.record.show()
		out = append(out, BackupUser{
			Username: name, Source: u.record.Source, Subject: u.record.Subject, Roles: shown.Roles, MustChangePassword: shown.MustChangePassword,
			CreatedAt: shown.CreatedAt, UpdatedAt: shown.UpdatedAt, PasswordHash: string(u.record.Hash),
			TokenSecret: base64.StdEncoding.EncodeToString(u.secret),
		})
	}
	return out
}

// Restored is what a backup has of this package's. What it does not have stays
// as it is.
type Restored struct {
	Roles     []NewRole
	Users     []BackupUser
	Tokens    []BackupToken
	Directory *LDAP // with defaults filled in by CheckRestore, as Providers
	Providers *OIDC
}

// CheckRestore judges what a backup has against what is here and each other,
// without a write.
func (s *Service) CheckRestore(r *Restored) error {
	snap := s.snapshot()
	roles := map[string]bool{}
	for i, r := range r.Roles {
		if !validName.MatchString(r.Name) {
			return invalid(fmt.Sprintf("roles[%d].name", i), "must match %s", validName)
		}
		if err := checkDescription(r.Description); err != nil {
			return fmt.Errorf("roles[%d]: %w", i, err)
		}
		if _, err := checkCapabilities(r.Capabilities); err != nil {
			return fmt.Errorf("roles[%d]: %w", i, err)
		}
		roles[r.Name] = true
	}
	hasRole := func(name string) bool { return roles[name] || snap.hasRole(name) }
	sources, err := s.checkUsers(r.Users, hasRole)
	if err != nil {
		return err
	}
	if err := s.checkBackupTokens(r.Tokens, sources); err != nil {
		return err
	}
	if r.Directory != nil {
		if err := r.Directory.complete(hasRole); err != nil {
			return fmt.Errorf("ldap_config: %w", err)
		}
	}
	if r.Providers != nil {
		if err := r.Providers.complete(hasRole, func(name string) bool { return sources[name] == service }); err != nil {
			return fmt.Errorf("oidc_config: %w", err)
		}
	}
	return nil
}

// checkUsers returns the sources of all users that there will be.
func (s *Service) checkUsers(users []BackupUser, hasRole func(string) bool) (map[string]string, error) {
	sources, admins := map[string]string{}, map[string]bool{}
	for name, u := range s.snapshot().users {
		sources[name], admins[name] = u.record.Source, counts(u.record)
	}
	for i, u := range users {
		if err := checkBackupUser(u, hasRole); err != nil {
			return nil, fmt.Errorf("users[%d]: %w", i, err)
		}
		if here := sources[u.Username]; here != "" && here != u.Source {
			return nil, invalid(fmt.Sprintf("users[%d].source", i), "the user %q who is here is of another kind", u.Username)
		}
		sources[u.Username] = u.Source
		admins[u.Username] = counts(&userRecord{Name: u.Username, Source: u.Source, Roles: u.Roles})
	}
	for _, admin := range admins {
		if admin {
			return sources, nil
		}
	}
	return nil, invalid("users", "nobody would be an administrator any more")
}

func checkBackupUser(u BackupUser, hasRole func(string) bool) error {
	if !validName.MatchString(u.Username) {
		return invalid("username", "must match %s", validName)
	}
	if sources := []string{builtin, service, directory, provider}; !slices.Contains(sources, u.Source) {
		return invalid("source", "must be one of %v", sources)
	}
	if (u.Source == provider) != (u.Subject != "") || u.Subject != "" && !printable(u.Subject, 2*maxClaim) {
		return invalid("subject", "is of users of a provider, and of them only")
	}
	if u.Source != builtin && u.PasswordHash != "" {
		return invalid("password_hash", "is of built-in users only")
	}
	if len(u.Roles) > maxRoles {
		return invalid("roles", "more than %d", maxRoles)
	}
	for _, r := range u.Roles {
		if !hasRole(r) {
			return invalid("roles", "there is no role %q", r)
		}
	}
	if u.PasswordHash != "" {
		if _, err := parseHash(u.PasswordHash); err != nil {
			return invalid("password_hash", "is %v", err)
		}
	}
	if b, err := base64.StdEncoding.DecodeString(u.TokenSecret); err != nil || len(b) != 0 && len(b) != secretSize {
		return invalid("token_secret", "must be %d bytes in base64", secretSize)
	}
	return nil
}

// RestoreRole makes a role, or gives one that is there the same rights.
func (s *Service) RestoreRole(ctx context.Context, r NewRole) error {
	if s.snapshot().roles[r.Name] == nil {
		_, err := s.CreateRole(ctx, r)
		return err
	}
	_, err := s.UpdateRole(ctx, r.Name, RoleChange{Description: &r.Description, Capabilities: &r.Capabilities})
	return err
}

// RestoreUser makes a user, or changes one that is there. Secrets that the
// backup lacks stay as they are; a new user without them can't log in until it
// gets a password.
func (s *Service) RestoreUser(ctx context.Context, b BackupUser) error {
	change := func(rec *userRecord) error {
		rec.Roles, rec.MustChange, rec.Leaving, rec.Updated = slices.Clone(b.Roles), b.MustChangePassword, false, s.now().UnixNano()
		rec.Subject = b.Subject
		if b.PasswordHash != "" {
			rec.Hash = Secret(b.PasswordHash)
		}
		secret, err := base64.StdEncoding.DecodeString(b.TokenSecret)
		if err != nil || len(secret) == 0 {
			return err
		}
		rec.Token, err = s.seal(secret)
		return err
	}
	var err error
	switch {
	case s.snapshot().users[b.Username] == nil:
		rec := &userRecord{Name: b.Username, Source: b.Source}
		if err = s.addUser(ctx, rec, ""); err == nil {
			_, err = update(ctx, s.users(), userKey(b.Username), change)
		}
	case slices.Contains(b.Roles, AdminRole):
		_, err = update(ctx, s.users(), userKey(b.Username), change)
	default:
		_, err = s.demote(ctx, b.Username, change)
	}
	if err != nil {
		return fmt.Errorf("restore user %q: %w", b.Username, err)
	}
	return s.changed(ctx)
}
