package auth

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

const (
	maxDescription  = 4096 // bytes
	maxCapabilities = 512  // so that a role stays within kv.MaxValue
)

// verbAdmin is the capability to configure a repository. It includes the
// others.
const verbAdmin = "admin"

// verbs are the capabilities that a role can grant.
var verbs = []string{"read", "write", "delete", verbAdmin}

// Capability is a right on the repositories whose name fits a glob.
type Capability struct {
	Capability string `json:"capability"` // read, write, delete or admin
	Repo       string `json:"repo"`       // "*" any characters, "?" one
	// Paths, unless nil, are globs that limit the right to paths below the
	// repositories: "*" any characters but "/", "?" one, "**" any. "/**" at the
	// end is a directory and all below it.
	Paths []string `json:"paths,omitempty"`
}

// Role is a role as clients see it.
type Role struct {
	Name         string       `json:"name"`
	Description  string       `json:"description"`
	Capabilities []Capability `json:"capabilities"`
	CreatedAt    time.Time    `json:"created_at"`
	UpdatedAt    time.Time    `json:"updated_at"`
}

// NewRole describes a role to be made.
type NewRole struct {
	Name         string
	Description  string
	Capabilities []Capability
}

// RoleChange says what of a role changes; nil keeps.
type RoleChange struct {
	// Check judges the role as it is before the change; its error is the
	// change's. Optional.
	Check        func(Role) error
	Description  *string
	Capabilities *[]Capability
}

func (rec *roleRecord) show() Role {
	r := Role{
		Name: rec.Name, Description: rec.Description, Capabilities: show(rec.Capabilities),
		CreatedAt: time.Unix(0, rec.Created).UTC(), UpdatedAt: time.Unix(0, rec.Updated).UTC(),
	}
	return r
}

func show(list []capabilityRecord) []Capability {
	out := make([]Capability, len(list))
	for i, c := range list {
		out[i] = Capability{c.Capability, c.Repository, slices.Clone(c.Paths)}
	}
	return out
}

// Roles returns all roles in order of their names.
func (s *Service) Roles() []Role {
	roles := s.snapshot().roles
	list := make([]Role, 0, len(roles))
	for _, name := range slices.Sorted(maps.Keys(roles)) {
		list = append(list, roles[name].show())
	}
	return list
}

// Role returns a role, or ErrNotFound.
func (s *Service) Role(name string) (Role, error) {
	rec := s.snapshot().roles[name]
	if rec == nil {
		return Role{}, fmt.Errorf("role %q: %w", name, ErrNotFound)
	}
	return rec.show(), nil
}

// CreateRole makes a role. A taken name is ErrExists whatever else is wrong.
func (s *Service) CreateRole(ctx context.Context, n NewRole) (Role, error) {
	if !validName.MatchString(n.Name) {
		return Role{}, invalid("name", "must match %s", validName)
	}
	if s.snapshot().roles[n.Name] != nil {
		return Role{}, fmt.Errorf("role %q: %w", n.Name, ErrExists)
	}
	if err := checkDescription(n.Description); err != nil {
		return Role{}, err
	}
	capabilities, err := checkCapabilities(n.Capabilities)
	if err != nil {
		return Role{}, err
	}
	rec := &roleRecord{Name: n.Name, Description: n.Description, Capabilities: capabilities}
	if err := s.addRole(ctx, rec); err != nil {
		return Role{}, fmt.Errorf("create role %q: %w", n.Name, err)
	}
	return rec.show(), s.changed(ctx)
}

func (s *Service) addRole(ctx context.Context, rec *roleRecord) error {
	rec.Created = s.now().UnixNano()
	rec.Updated = rec.Created
	return add(ctx, s.roles(), roleKey(rec.Name), *rec)
}

func checkDescription(s string) error {
	if len(s) > maxDescription {
		return invalid("description", "more than %d bytes", maxDescription)
	}
	return nil
}

func checkCapabilities(list []Capability) ([]capabilityRecord, error) {
	if len(list) > maxCapabilities {
		return nil, invalid("capabilities", "more than %d", maxCapabilities)
	}
	records := make([]capabilityRecord, len(list))
	for i, c := range list {
		if !slices.Contains(verbs, c.Capability) {
			return nil, invalid(fmt.Sprintf("capabilities[%d].capability", i), "must be one of %v", verbs)
		}
		if !checkGlob(c.Repo) {
			return nil, invalid(fmt.Sprintf("capabilities[%d].repo", i),
				"must be a repository name in which * and ? may stand for characters")
		}
		if err := checkPaths(fmt.Sprintf("capabilities[%d].paths", i), c); err != nil {
			return nil, err
		}
		records[i] = capabilityRecord{Capability: c.Capability, Repository: c.Repo, Paths: slices.Clone(c.Paths)}
	}
	return records, nil
}

func checkPaths(field string, c Capability) error {
	switch {
	case c.Paths == nil:
		return nil
	case c.Capability == verbAdmin:
		return invalid(field, "a repository is administered as a whole")
	case len(c.Paths) == 0 || len(c.Paths) > maxPaths:
		return invalid(field, "must have 1 to %d elements; without the field all paths are meant", maxPaths)
	}
	for _, glob := range c.Paths {
		if !checkPathGlob(glob) {
			return invalid(field, "must be paths in which *, ** and ? may stand for characters")
		}
	}
	return nil
}

// UpdateRole changes a role.
func (s *Service) UpdateRole(ctx context.Context, name string, c RoleChange) (Role, error) {
	if s.snapshot().roles[name] == nil {
		return Role{}, fmt.Errorf("role %q: %w", name, ErrNotFound)
	}
	var capabilities []capabilityRecord
	if c.Capabilities != nil {
		var err error
		if capabilities, err = checkCapabilities(*c.Capabilities); err != nil {
			return Role{}, err
		}
	}
	if c.Description != nil {
		if err := checkDescription(*c.Description); err != nil {
			return Role{}, err
		}
	}
	rec, err := update(ctx, s.roles(), roleKey(name), func(rec *roleRecord) error {
		if c.Check != nil {
			if err := c.Check(rec.show()); err != nil {
				return err
			}
		}
		if c.Capabilities != nil {
			rec.Capabilities = capabilities
		}
		if c.Description != nil {
			rec.Description = *c.Description
		}
		rec.Updated = s.now().UnixNano()
		return nil
	})
	if err != nil {
		return Role{}, fmt.Errorf("update role %q: %w", name, err)
	}
	return rec.show(), s.changed(ctx)
}

// DeleteRole removes a role, also from the users that have it. The role admin
// can't be deleted (ErrInvalid).
func (s *Service) DeleteRole(ctx context.Context, name string) error {
	if name == AdminRole {
		return invalid("name", "the role %s can't be deleted", name)
	}
	if s.snapshot().roles[name] == nil {
		return fmt.Errorf("role %q: %w", name, ErrNotFound)
	}
	// The role goes first: from then on it grants nothing, whoever still
	// names it.
	if err := drop(ctx, s.roles(), roleKey(name)); err != nil {
		return fmt.Errorf("delete role %q: %w", name, err)
	}
	if err := s.stripRole(ctx, name); err != nil {
		return fmt.Errorf("delete role %q from users: %w", name, err)
	}
	return s.changed(ctx)
}

// stripRole takes a role that is gone from its users, so that they don't have
// it again when another one of that name is made.
func (s *Service) stripRole(ctx context.Context, name string) error {
	for user, u := range s.snapshot().users {
		if !slices.Contains(u.record.Roles, name) {
			continue
		}
		_, err := update(ctx, s.users(), userKey(user), func(rec *userRecord) error {
			rec.Roles = slices.DeleteFunc(rec.Roles, func(r string) bool { return r == name })
			rec.Updated = s.now().UnixNano()
			return nil
		})
		if err != nil && !errors.Is(err, ErrNotFound) {
			return err
		}
	}
	return nil
}
