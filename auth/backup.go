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
			Username: name, Source: u.record.Source, Roles: shown.Roles, MustChangePassword: shown.MustChangePassword,
			CreatedAt: shown.CreatedAt, UpdatedAt: shown.UpdatedAt, PasswordHash: string(u.record.Hash),
			TokenSecret: base64.StdEncoding.EncodeToString(u.secret),
		})
	}
	return out
}

// CheckRestore judges roles and users of a backup against what is here and each
// other, without a write.
func (s *Service) CheckRestore(roles []NewRole, users []BackupUser) error {
	snap := s.snapshot()
	known := map[string]bool{}
	for name := range snap.roles {
		known[name] = true
	}
	for i, r := range roles {
		if !validName.MatchString(r.Name) {
			return invalid(fmt.Sprintf("roles[%d].name", i), "must match %s", validName)
		}
		if err := checkDescription(r.Description); err != nil {
			return fmt.Errorf("roles[%d]: %w", i, err)
		}
		if _, err := checkCapabilities(r.Capabilities); err != nil {
			return fmt.Errorf("roles[%d]: %w", i, err)
		}
		known[r.Name] = true
	}
	admins := map[string]bool{}
	for name, u := range snap.users {
		admins[name] = slices.Contains(u.record.Roles, AdminRole)
	}
	for i, u := range users {
		if err := checkBackupUser(u, known); err != nil {
			return fmt.Errorf("users[%d]: %w", i, err)
		}
		admins[u.Username] = slices.Contains(u.Roles, AdminRole)
	}
	for _, admin := range admins {
		if admin {
			return nil
		}
	}
	return invalid("users", "nobody would be an administrator any more")
}

func checkBackupUser(u BackupUser, roles map[string]bool) error {
	if !validName.MatchString(u.Username) {
		return invalid("username", "must match %s", validName)
	}
	if u.Source != builtin && u.Source != service {
		return invalid("source", "must be %s or %s", builtin, service)
	}
	if len(u.Roles) > maxRoles {
		return invalid("roles", "more than %d", maxRoles)
	}
	for _, r := range u.Roles {
		if !roles[r] {
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
