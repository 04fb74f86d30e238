package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"granary/auth/ldap"
	"granary/kv"
)

const (
	kindIdentity = "identity" // of documents: where users come from
	idLDAP       = "ldap"

	directory = "ldap" // source of users whose password the directory has

	maxMappings     = 1024
	atDirectoryOnce = 16 // questions to the directory at the same time
)

// DirectoryUser is the kind of users whom the LDAP directory knows.
const DirectoryUser UserKind = directory

// LDAP is the directory in which users are looked up who are not built in.
type LDAP struct {
	ldap.Settings
	// GroupRoles maps groups, by name or DN and in any case, to roles.
	GroupRoles map[string]string
	// Fallback: built-in users may log in with their passwords too. Those who
	// have the role admin always may.
	Fallback bool
}

// ldapRecord is LDAP as stored under kv.Config("identity", "ldap").
type ldapRecord struct {
	kv.Extra     `cbor:"-"`
	URL          string            `cbor:"1,keyasint,omitempty"`
	BindDN       string            `cbor:"2,keyasint,omitempty"`
	BindPassword sealedSecret      `cbor:"3,keyasint,omitempty"`
	UserBase     string            `cbor:"4,keyasint,omitempty"`
	UserFilter   string            `cbor:"5,keyasint,omitempty"`
	GroupBase    string            `cbor:"6,keyasint,omitempty"`
	GroupFilter  string            `cbor:"7,keyasint,omitempty"`
	GroupName    string            `cbor:"8,keyasint,omitempty"`
	GroupRoles   map[string]string `cbor:"9,keyasint,omitempty"`
	StartTLS     bool              `cbor:"10,keyasint,omitempty"`
	SkipVerify   bool              `cbor:"11,keyasint,omitempty"`
	CA           string            `cbor:"12,keyasint,omitempty"`
	Fallback     bool              `cbor:"13,keyasint,omitempty"`
}

// loadedLDAP is LDAP with the version that it was read at.
type loadedLDAP struct {
	LDAP
	version kv.Version
}

func ldapKey() kv.Key { return kv.Config(kindIdentity, idLDAP) }

func (s *Service) ldapTable() kv.Table[ldapRecord] { return kv.Table[ldapRecord]{Store: s.kv} }

func (s *Service) loadLDAP(ctx context.Context) (*loadedLDAP, error) {
	rec, version, err := read(ctx, s.ldapTable(), ldapKey())
	if errors.Is(err, ErrNotFound) {
		return nil, nil //nolint:nilnil // no directory is a valid state
	}
	if err != nil {
		return nil, err
	}
	password, err := s.open(rec.BindPassword)
	if err != nil {
		return nil, err
	}
	return &loadedLDAP{version: version, LDAP: LDAP{
		Settings: ldap.Settings{
			URL: rec.URL, BindDN: rec.BindDN, BindPassword: string(password), UserBase: rec.UserBase, UserFilter: rec.UserFilter,
			GroupBase: rec.GroupBase, GroupFilter: rec.GroupFilter, GroupName: rec.GroupName,
			StartTLS: rec.StartTLS, SkipVerify: rec.SkipVerify, CA: rec.CA,
		},
		GroupRoles: rec.GroupRoles, Fallback: rec.Fallback,
	}}, nil
}

// Directory returns the LDAP settings, with the bind password; false if there
// are none.
func (s *Service) Directory() (LDAP, bool) {
	d := s.snapshot().ldap
	if d == nil {
		return LDAP{}, false
	}
	return d.LDAP, true
}

// SetDirectory replaces the LDAP settings. What is wrong with them is a
// FieldError.
func (s *Service) SetDirectory(ctx context.Context, d LDAP) (LDAP, error) {
	if err := d.complete(s.snapshot().hasRole); err != nil {
		return LDAP{}, err
	}
	password, err := s.seal(key(d.BindPassword))
	if err != nil {
		return LDAP{}, err
	}
	_, err = s.ldapTable().Update(ctx, ldapKey(), func(rec ldapRecord, _ bool) (ldapRecord, error) {
		return ldapRecord{
			Extra: rec.Extra, URL: d.URL, BindDN: d.BindDN, BindPassword: password, UserBase: d.UserBase, UserFilter: d.UserFilter,
			GroupBase: d.GroupBase, GroupFilter: d.GroupFilter, GroupName: d.GroupName, GroupRoles: d.GroupRoles,
			StartTLS: d.StartTLS, SkipVerify: d.SkipVerify, CA: d.CA, Fallback: d.Fallback,
		}, nil
	})
	if err != nil {
		return LDAP{}, fmt.Errorf("store the LDAP settings: %w", err)
	}
	return d, s.changed(ctx)
}

// complete fills in defaults and checks the rules.
func (d *LDAP) complete(hasRole func(string) bool) error {
	if err := d.Validate(); err != nil {
		var field *ldap.InvalidError
		if errors.As(err, &field) {
			return invalid(field.Field, "%s", field.Problem)
		}
		return err
	}
	return checkMapping("group_role_mapping", d.GroupRoles, hasRole)
}

// RemoveDirectory removes the LDAP settings; its users can't use any of their
// credentials from then on. There being none is no error.
func (s *Service) RemoveDirectory(ctx context.Context) error {
	if err := drop(ctx, s.ldapTable(), ldapKey()); err != nil && !errors.Is(err, ErrNotFound) {
		return fmt.Errorf("remove the LDAP settings: %w", err)
	}
	return s.changed(ctx)
}

// checkMapping checks what maps groups to roles.
func checkMapping(field string, m map[string]string, hasRole func(string) bool) error {
	if len(m) > maxMappings {
		return invalid(field, "more than %d groups", maxMappings)
	}
	for _, group := range slices.Sorted(maps.Keys(m)) {
		if !printable(group, 1024) {
			return invalid(field, "a group has no name that can be shown")
		}
		if !hasRole(m[group]) {
			return invalid(field, "there is no role %q", m[group])
		}
	}
	return nil
}

// mapped returns the roles, each once, that groups lead to.
func mapped(m map[string]string, groups ...string) []string {
	var roles []string
	for group, role := range m {
		if slices.ContainsFunc(groups, func(g string) bool { return strings.EqualFold(g, group) }) && !slices.Contains(roles, role) {
			roles = append(roles, role)
		}
	}
	slices.Sort(roles)
	return roles
}

func (d *LDAP) roles(p ldap.Person) []string {
	var groups []string
	for _, g := range p.Groups {
		groups = append(groups, g.DN, g.Name)
	}
	return mapped(d.GroupRoles, groups...)
}

// DirectoryAnswer is what a question to the directory brought.
type DirectoryAnswer struct {
	DN            string
	Groups, Roles []string
}

// TestDirectory connects with the settings in force and, if a name is given,
// looks the user up, with the password if there is one. The error is for
// administrators.
func (s *Service) TestDirectory(ctx context.Context, name string, password Secret) (DirectoryAnswer, error) {
	d, ok := s.Directory()
	if !ok {
		return DirectoryAnswer{}, errors.New("LDAP is not configured")
	}
	if name == "" {
		return DirectoryAnswer{}, d.Check(ctx)
	}
	var p ldap.Person
	var err error
	if password != "" {
		p, err = d.Login(ctx, name, string(password))
	} else {
		p, err = d.Find(ctx, name)
	}
	a := DirectoryAnswer{DN: p.DN, Roles: d.roles(p)}
	for _, g := range p.Groups {
		a.Groups = append(a.Groups, g.Name)
	}
	return a, err
}

// inDirectory tells whether a user who shows a password is looked up in the
// directory.
func inDirectory(snap *snapshot, u *user) bool {
	return snap.ldap != nil && (u == nil || u.record.Source == directory)
}

// verifyInDirectory is verify for users of the directory. Their names are in
// lower case here: directories don't tell case apart.
func (s *Service) verifyInDirectory(ctx context.Context, snap *snapshot, peer, name string, password Secret) (*user, error) {
	d, lower := snap.ldap, strings.ToLower(name)
	u := snap.users[lower]
	if !validName.MatchString(name) || password == "" || len(password) > maxPassword || !inDirectory(snap, u) {
		return nil, s.refuse(name, peer)
	}
	print := func(u *user) fingerprint {
		version := kv.Version("")
		if u != nil {
			version = u.version
		}
		return s.verified.fingerprint(lower, string(version), string(d.version), string(password))
	}
	f := print(u)
	if _, known := s.verified.find(f); !known || u == nil {
		roles, err := s.askDirectory(ctx, d, f, lower, password)
		switch {
		case errors.Is(err, ldap.ErrCredentials):
			return nil, s.refuse(name, peer)
		case errors.Is(err, ldap.ErrUnavailable):
			// Not the user's fault: it does not count as a failure.
			s.log.WarnContext(ctx, "log-in of a user of the directory", "error", err)
			return nil, &CredentialError{Basic, wrongPassword}
		case err != nil:
			return nil, err
		}
		if u, err = s.admit(ctx, lower, directory, "", roles); err != nil {
			return nil, err
		}
		s.verified.add(print(u), struct{}{})
	}
	s.lockout.succeeded(name, peer)
	return u, nil
}

// askDirectory returns the roles of a user whose password is right. Requests
// that bring the same share a question.
func (s *Service) askDirectory(ctx context.Context, d *loadedLDAP, f fingerprint, name string, password Secret) ([]string, error) {
	roles, err, _ := s.checks.Do(string(f[:]), func() (any, error) {
		select {
		case s.asking <- struct{}{}:
			defer func() { <-s.asking }()
		default:
			return nil, ErrBusy
		}
		p, err := d.Login(context.WithoutCancel(ctx), name, string(password))
		return d.roles(p), err
	})
	if err != nil {
		return nil, err
	}
	return roles.([]string), nil
}

// admit makes the record of a user whom somebody else has recognised, or brings
// its roles up to date. A name that is another source's, or another subject's of
// the same source, is ErrUnauthorized.
func (s *Service) admit(ctx context.Context, name, source, subject string, roles []string) (*user, error) {
	snap := s.snapshot()
	roles = slices.DeleteFunc(slices.Clone(roles), func(role string) bool { return snap.roles[role] == nil })
	if u := snap.users[name]; u != nil && u.record.Source == source && u.record.Subject == subject && slices.Equal(u.record.Roles, roles) {
		return u, nil
	}
	err := s.addUser(ctx, &userRecord{Name: name, Source: source, Subject: subject, Roles: roles}, "")
	if errors.Is(err, ErrExists) {
		_, err = update(ctx, s.users(), userKey(name), func(rec *userRecord) error {
			if rec.Source != source || rec.Subject != subject {
				return &CredentialError{Basic, wrongPassword}
			}
			rec.Roles, rec.Updated = roles, s.now().UnixNano()
			return nil
		})
	}
	if err != nil {
		return nil, fmt.Errorf("store the user %q: %w", name, err)
	}
	if err := s.changed(ctx); err != nil {
		return nil, err
	}
	if u := s.snapshot().users[name]; u != nil && u.record.Source == source {
		return u, nil
	}
	return nil, &CredentialError{Basic, wrongPassword} // deleted in this moment
}
