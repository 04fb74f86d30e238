package auth

import (
	"context"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"time"
)

// validName is the rule for names of users and roles.
var validName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._@-]{0,127}$`)

// maxRoles is the most roles a user can have.
const maxRoles = 256

// UserKind is where a user comes from.
type UserKind string

// The kinds of users.
const (
	Builtin        UserKind = builtin // has a password that is kept here
	ServiceAccount UserKind = service // a machine's: no password, API tokens only
)

// User is a user as clients see it.
type User struct {
	Username           string    `json:"username"`
	Kind               UserKind  `json:"kind"`
	Roles              []string  `json:"roles"`
	MustChangePassword bool      `json:"must_change_password"`
	CreatedAt          time.Time `json:"created_at"`
	UpdatedAt          time.Time `json:"updated_at"`
}

// NewUser describes a user to be made.
type NewUser struct {
	Username string
	// Kind is Builtin, or ServiceAccount: without a password. "": Builtin.
	Kind               UserKind
	Password           Secret
	Roles              []string
	MustChangePassword bool
}

// UserChange says what of a user changes; nil keeps. A new password ends the
// user's tokens.
type UserChange struct {
	// Check judges the user as it is before the change; its error is the
	// change's. Optional.
	Check              func(User) error
	Password           *Secret
	Roles              *[]string
	MustChangePassword *bool
}

func (rec *userRecord) show() User {
	return User{
		Username: rec.Name, Kind: UserKind(rec.Source), Roles: append([]string{}, rec.Roles...), MustChangePassword: rec.MustChange,
		CreatedAt: time.Unix(0, rec.Created).UTC(), UpdatedAt: time.Unix(0, rec.Updated).UTC(),
	}
}

// Users returns all users in order of their names.
func (s *Service) Users() []User {
	users := s.snapshot().users
	list := make([]User, 0, len(users))
	for _, name := range slices.Sorted(maps.Keys(users)) {
		list = append(list, users[name].record.show())
	}
	return list
}

// User returns a user, or ErrNotFound.
func (s *Service) User(name string) (User, error) {
	u := s.snapshot().users[name]
	if u == nil {
		return User{}, fmt.Errorf("user %q: %w", name, ErrNotFound)
	}
	return u.record.show(), nil
}

// CreateUser makes a user. A taken name is ErrExists whatever else is wrong.
func (s *Service) CreateUser(ctx context.Context, n NewUser) (User, error) {
	if !validName.MatchString(n.Username) {
		return User{}, invalid("username", "must match %s", validName)
	}
	snap := s.snapshot()
	if snap.users[n.Username] != nil {
		return User{}, fmt.Errorf("user %q: %w", n.Username, ErrExists)
	}
	if err := checkKind(&n); err != nil {
		return User{}, err
	}
	roles, err := checkRoles(n.Roles, snap)
	if err != nil {
		return User{}, err
	}
	rec := &userRecord{Name: n.Username, Source: string(n.Kind), Roles: roles, MustChange: n.MustChangePassword}
	if err := s.addUser(ctx, rec, n.Password); err != nil {
		return User{}, fmt.Errorf("create user %q: %w", n.Username, err)
	}
	return rec.show(), s.changed(ctx)
}

// checkKind fills in the kind and checks what depends on it.
func checkKind(n *NewUser) error {
	switch n.Kind {
	case "", Builtin:
		n.Kind = Builtin
		return checkPassword("password", string(n.Password))
	case ServiceAccount:
		if n.Password != "" {
			return invalid("password", "a service account has none")
		}
		if n.MustChangePassword {
			return invalid("must_change_password", "a service account has no password")
		}
		return nil
	}
	return invalid("kind", "must be %s or %s", Builtin, ServiceAccount)
}

// addUser completes a record and writes it unless the name is taken. Without
// a password no password will match.
func (s *Service) addUser(ctx context.Context, rec *userRecord, password Secret) error {
	var err error
	if rec.Token, err = s.newTokenSecret(); err != nil {
		return err
	}
	if rec.Stamp, err = s.newStamp(); err != nil {
		return err
	}
	if password != "" {
		h, err := s.hasher.make(ctx, string(password))
		if err != nil {
			return err
		}
		rec.Hash = Secret(h.String())
	}
	rec.Created = s.now().UnixNano()
	rec.Updated = rec.Created
	return add(ctx, s.users(), userKey(rec.Name), *rec)
}

// checkRoles returns the roles in the order given, each once, if all exist.
func checkRoles(names []string, snap *snapshot) ([]string, error) {
	var roles []string
	for _, name := range names {
		if snap.roles[name] == nil {
			return nil, invalid("roles", "there is no role %q", name)
		}
		if !slices.Contains(roles, name) {
			roles = append(roles, name)
		}
	}
	if len(roles) > maxRoles {
		return nil, invalid("roles", "more than %d", maxRoles)
	}
	return roles, nil
}

// UpdateUser changes a user. Taking the role admin from the last one who has
// it is ErrInvalid.
func (s *Service) UpdateUser(ctx context.Context, name string, c UserChange) (User, error) {
	u := s.snapshot().users[name]
	if u == nil {
		return User{}, fmt.Errorf("user %q: %w", name, ErrNotFound)
	}
	change, err := s.planChange(ctx, u.record, c)
	if err != nil {
		return User{}, err
	}
	var rec userRecord
	if c.Roles != nil && !slices.Contains(*c.Roles, AdminRole) {
		rec, err = s.demote(ctx, name, change)
	} else {
		rec, err = update(ctx, s.users(), userKey(name), change)
	}
	if err != nil {
		return User{}, fmt.Errorf("update user %q: %w", name, err)
	}
	return rec.show(), s.changed(ctx)
}

// planChange checks a change and returns what applies it.
func (s *Service) planChange(ctx context.Context, old *userRecord, c UserChange) (func(*userRecord) error, error) {
	var roles []string
	var err error
	if c.Roles != nil {
		if old.Source != builtin && old.Source != service {
			return nil, invalid("roles", "come from the user's groups")
		}
		if roles, err = checkRoles(*c.Roles, s.snapshot()); err != nil {
			return nil, err
		}
	}
	if c.MustChangePassword != nil && *c.MustChangePassword && !hasPassword(old) {
		return nil, invalid("must_change_password", "this user has no password here")
	}
	password := func(*userRecord) error { return nil }
	if c.Password != nil {
		if !hasPassword(old) {
			return nil, invalid("password", "this user has no password here")
		}
		if err := checkPassword("password", string(*c.Password)); err != nil {
			return nil, err
		}
		if password, err = s.newPassword(ctx, *c.Password); err != nil {
			return nil, err
		}
	}
	return func(rec *userRecord) error {
		if c.Check != nil {
			if err := c.Check(rec.show()); err != nil {
				return err
			}
		}
		rec.Leaving = false
		rec.Updated = s.now().UnixNano()
		if c.Roles != nil {
			rec.Roles = roles
		}
		if c.MustChangePassword != nil {
			rec.MustChange = *c.MustChangePassword
		}
		return password(rec)
	}, nil
}

// DeleteUser removes a user and with it all tokens. The last administrator
// and the user anonymous can't be deleted (ErrInvalid).
func (s *Service) DeleteUser(ctx context.Context, name string) error {
	if s.snapshot().users[name] == nil {
		return fmt.Errorf("user %q: %w", name, ErrNotFound)
	}
	if name == AnonymousUser {
		return invalid("username", "%s stands for requests without credentials and can't be deleted", name)
	}
	if err := s.removeUser(ctx, name); err != nil {
		return fmt.Errorf("delete user %q: %w", name, err)
	}
	return s.changed(ctx)
}
