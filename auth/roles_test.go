package auth

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

func TestRoles(t *testing.T) {
	s := newService(t, Options{})
	ctx := t.Context()
	read := []Capability{{Capability: "read", Repo: "*"}}
	for name, tt := range map[string]struct {
		role NewRole
		want error
	}{
		"good":               {NewRole{Name: "good", Description: "x", Capabilities: read}, nil},
		"empty":              {NewRole{Name: "empty"}, nil},
		"no name":            {NewRole{}, ErrInvalid},
		"bad name":           {NewRole{Name: "a b"}, ErrInvalid},
		"taken":              {NewRole{Name: "read-only", Capabilities: []Capability{{Capability: "x", Repo: "*"}}}, ErrExists},
		"unknown capability": {NewRole{Name: "x", Capabilities: []Capability{{Capability: "administer", Repo: "*"}}}, ErrInvalid},
		"no glob":            {NewRole{Name: "x", Capabilities: []Capability{{Capability: "read", Repo: ""}}}, ErrInvalid},
		"control character":  {NewRole{Name: "x", Capabilities: []Capability{{Capability: "read", Repo: "a\x00*"}}}, ErrInvalid},
		"long description":   {NewRole{Name: "x", Description: strings.Repeat("x", maxDescription+1)}, ErrInvalid},
		"too many":           {NewRole{Name: "x", Capabilities: slices.Repeat(read, maxCapabilities+1)}, ErrInvalid},
	} {
		if _, err := s.CreateRole(ctx, tt.role); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if r, err := s.Role("empty"); err != nil || r.Capabilities == nil {
		t.Errorf("got %+v, %v", r, err)
	}
	if _, err := s.Role("x"); !errors.Is(err, ErrNotFound) {
		t.Errorf("a refused role: %v", err)
	}
	largest := NewRole{Name: "largest", Capabilities: slices.Repeat([]Capability{{Capability: "delete", Repo: strings.Repeat("x", maxGlob)}}, maxCapabilities)}
	if _, err := s.CreateRole(ctx, largest); err != nil {
		t.Errorf("the largest role: %v", err)
	}

	mustCreate(t, s, NewUser{Username: "ann", Password: "secret", Roles: []string{"good", "empty"}})
	if !identity(t, s, basic("ann", "secret")).Can("read", "x") {
		t.Error("the role grants nothing")
	}
	r, err := s.UpdateRole(ctx, "good", RoleChange{Capabilities: &[]Capability{{Capability: "write", Repo: "x"}}})
	if err != nil || r.Description != "x" {
		t.Errorf("got %+v, %v", r, err)
	}
	if id := identity(t, s, basic("ann", "secret")); id.Can("read", "x") || !id.Can("write", "x") {
		t.Error("the change is not in force")
	}
	if r, err = s.UpdateRole(ctx, "good", RoleChange{Description: ptr("y")}); err != nil || len(r.Capabilities) != 1 || r.Description != "y" {
		t.Errorf("got %+v, %v", r, err)
	}
	if _, err := s.UpdateRole(ctx, "good", RoleChange{Capabilities: &[]Capability{{}}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("bad capability: %v", err)
	}
	if _, err := s.UpdateRole(ctx, "no", RoleChange{}); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown role: %v", err)
	}
}

func TestDeleteRole(t *testing.T) {
	s := newService(t, Options{})
	ctx := t.Context()
	if err := s.DeleteRole(ctx, "admin"); !errors.Is(err, ErrInvalid) {
		t.Errorf("admin: %v", err)
	}
	if err := s.DeleteRole(ctx, "no"); !errors.Is(err, ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
	mustCreate(t, s, NewUser{Username: "ann", Password: "secret", Roles: []string{"read-only"}})
	if err := s.DeleteRole(ctx, "read-only"); err != nil {
		t.Fatal(err)
	}
	// A new role of the name is not what ann was given.
	if _, err := s.CreateRole(ctx, NewRole{Name: "read-only", Capabilities: []Capability{{Capability: "delete", Repo: "*"}}}); err != nil {
		t.Fatal(err)
	}
	if id := identity(t, s, basic("ann", "secret")); id.Can("delete", "x") || len(id.Roles) != 0 {
		t.Errorf("%+v", id)
	}
}
