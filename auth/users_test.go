package auth

import (
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestCreateUser(t *testing.T) {
	s := newService(t, Options{})
	mustCreate(t, s, NewUser{Username: "taken", Password: "secret"})
	for _, tt := range []struct {
		name  string
		user  NewUser
		want  error
		field string
	}{
		{"shortest password", NewUser{Username: "a", Password: "123456"}, nil, ""},
		{"longest password", NewUser{Username: "b", Password: Secret(strings.Repeat("x", 1024))}, nil, ""},
		{"all signs in the name", NewUser{Username: "A0._@-z", Password: "secret"}, nil, ""},
		{"longest name", NewUser{Username: strings.Repeat("n", 128), Password: "secret"}, nil, ""},
		{"role", NewUser{Username: "c", Password: "secret", Roles: []string{"read-only"}}, nil, ""},
		{"empty name", NewUser{Password: "secret"}, ErrInvalid, "username"},
		{"long name", NewUser{Username: strings.Repeat("n", 129), Password: "secret"}, ErrInvalid, "username"},
		{"leading dot", NewUser{Username: ".a", Password: "secret"}, ErrInvalid, "username"},
		{"newline", NewUser{Username: "a\n", Password: "secret"}, ErrInvalid, "username"},
		{"slash", NewUser{Username: "a/b", Password: "secret"}, ErrInvalid, "username"},
		{"empty password", NewUser{Username: "d"}, ErrInvalid, "password"},
		{"short password", NewUser{Username: "d", Password: "12345"}, ErrInvalid, "password"},
		{"long password", NewUser{Username: "d", Password: Secret(strings.Repeat("x", 1025))}, ErrInvalid, "password"},
		{"unknown role", NewUser{Username: "d", Password: "secret", Roles: []string{"read-only", "no"}}, ErrInvalid, "roles"},
		{"taken", NewUser{Username: "taken", Password: "secret"}, ErrExists, ""},
		{"taken and bad", NewUser{Username: "taken", Roles: []string{"no"}}, ErrExists, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u, err := s.CreateUser(t.Context(), tt.user)
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %+v, %v; want %v", u, err, tt.want)
			}
			var f *FieldError
			if errors.As(err, &f) && f.Field != tt.field {
				t.Errorf("field %q, want %q", f.Field, tt.field)
			}
			if err != nil {
				return
			}
			if got, err := s.User(tt.user.Username); err != nil || got.Username != u.Username || got.Roles == nil || got.CreatedAt.IsZero() {
				t.Errorf("stored %+v, %v", got, err)
			}
			identity(t, s, basic(tt.user.Username, string(tt.user.Password)))
		})
	}
}

func TestOneOfManyCreates(t *testing.T) {
	nodes := cluster(t, 4, Options{})
	var group sync.WaitGroup
	var mu sync.Mutex // protects made
	made := 0
	for _, s := range nodes {
		for range 3 {
			group.Go(func() {
				_, err := s.CreateUser(t.Context(), NewUser{Username: "ann", Password: "secret"})
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					made++
				} else if !errors.Is(err, ErrExists) {
					t.Error(err)
				}
			})
		}
	}
	group.Wait()
	if made != 1 {
		t.Errorf("%d succeeded", made)
	}
}

func ptr[T any](v T) *T { return &v }

func TestUpdateUser(t *testing.T) {
	c := newClock()
	s := newService(t, Options{Now: c.now})
	ctx := t.Context()
	mustCreate(t, s, NewUser{Username: "ann", Password: "secret", Roles: []string{"read-only"}})
	token := "Bearer " + string(login(t, s, "ann", "secret").Token)
	c.add(time.Second)

	u, err := s.UpdateUser(ctx, "ann", UserChange{MustChangePassword: ptr(true)})
	if err != nil || !u.MustChangePassword || len(u.Roles) != 1 || u.UpdatedAt.Sub(u.CreatedAt) != time.Second {
		t.Fatalf("got %+v, %v", u, err)
	}
	if id := identity(t, s, token); id.Can("read", "x") {
		t.Error("may read although the password must change")
	}
	u, err = s.UpdateUser(ctx, "ann", UserChange{Password: ptr(Secret("secret2")), MustChangePassword: ptr(false)})
	if err != nil || u.MustChangePassword || len(u.Roles) != 1 {
		t.Fatalf("got %+v, %v", u, err)
	}
	if _, err := ask(t, s, token); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("token after a new password: %v", err)
	}
	identity(t, s, basic("ann", "secret2"))
	if u, err = s.UpdateUser(ctx, "ann", UserChange{Roles: &[]string{}}); err != nil || len(u.Roles) != 0 {
		t.Errorf("no roles: %+v, %v", u, err)
	}
	for name, tt := range map[string]struct {
		user   string
		change UserChange
		want   error
	}{
		"unknown user":                     {"nobody", UserChange{}, ErrNotFound},
		"unknown role":                     {"ann", UserChange{Roles: &[]string{"no"}}, ErrInvalid},
		"empty password":                   {"ann", UserChange{Password: ptr(Secret(""))}, ErrInvalid},
		"short password":                   {"ann", UserChange{Password: ptr(Secret("12345"))}, ErrInvalid},
		"password of anonymous":            {"anonymous", UserChange{Password: ptr(Secret("secret"))}, ErrInvalid},
		"anonymous must change":            {"anonymous", UserChange{MustChangePassword: ptr(true)}, ErrInvalid},
		"last administrator":               {"admin", UserChange{Roles: &[]string{"read-only"}}, ErrInvalid},
		"last administrator without roles": {"admin", UserChange{Roles: &[]string{}}, ErrInvalid},
	} {
		if _, err := s.UpdateUser(ctx, tt.user, tt.change); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	if err := s.DeleteUser(ctx, "admin"); !errors.Is(err, ErrInvalid) {
		t.Errorf("delete the last administrator: %v", err)
	}
	if err := s.DeleteUser(ctx, "anonymous"); !errors.Is(err, ErrInvalid) {
		t.Errorf("delete anonymous: %v", err)
	}
	if err := s.DeleteUser(ctx, "nobody"); !errors.Is(err, ErrNotFound) {
		t.Errorf("delete nobody: %v", err)
	}
	identity(t, s, basic("admin", adminPassword))
	// Anonymous is not one who could log in and administer.
	if _, err := s.UpdateUser(ctx, "anonymous", UserChange{Roles: &[]string{"admin"}}); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteUser(ctx, "admin"); !errors.Is(err, ErrInvalid) {
		t.Errorf("delete the last one but anonymous: %v", err)
	}
}

func TestChangePassword(t *testing.T) {
	s := newService(t, Options{})
	ctx := t.Context()
	mustCreate(t, s, NewUser{Username: "ann", Password: "secret", MustChangePassword: true})
	admin := identity(t, s, basic("admin", adminPassword))
	ann := identity(t, s, basic("ann", "secret"))
	for name, tt := range map[string]struct {
		by                Identity
		user              string
		current, password Secret
		want              error
	}{
		"anonymous":              {identity(t, s), "ann", "secret", "secret2", ErrUnauthorized},
		"anonymous its own":      {identity(t, s), "anonymous", "", "secret2", ErrUnauthorized},
		"another's":              {ann, "admin", adminPassword, "secret2", ErrForbidden},
		"another's, unknown":     {ann, "nobody", "secret", "secret2", ErrForbidden},
		"wrong current":          {ann, "ann", "wrong", "secret2", ErrForbidden},
		"empty current":          {ann, "ann", "", "secret2", ErrForbidden},
		"admin's own, no":        {admin, "admin", "", "secret2", ErrForbidden},
		"short":                  {ann, "ann", "secret", "12345", ErrInvalid},
		"the same":               {ann, "ann", "secret", "secret", ErrInvalid},
		"unknown":                {admin, "nobody", "", "secret2", ErrNotFound},
		"of anonymous":           {admin, "anonymous", "", "secret2", ErrInvalid},
		"administrator must too": {Identity{Name: "root", mustChange: true, rights: rights{admin: true}}, "ann", "", "secret2", ErrForbidden},
	} {
		if _, err := s.ChangePassword(ctx, tt.by, tt.user, tt.current, tt.password); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
	}
	old := "Bearer " + string(login(t, s, "ann", "secret").Token)
	session, err := s.ChangePassword(ctx, ann, "ann", "secret", "secret2")
	if err != nil || session.MustChangePassword || session.Token == "" {
		t.Fatalf("own: %+v, %v", session, err)
	}
	if id := identity(t, s, "Bearer "+string(session.Token)); id.Name != "ann" || id.MustChangePassword() {
		t.Errorf("new token: %+v", id)
	}
	if _, err := ask(t, s, old); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("old token: %v", err)
	}
	session, err = s.ChangePassword(ctx, admin, "ann", "ignored", "secret3")
	if err != nil || session.Token != "" {
		t.Fatalf("by the administrator: %+v, %v", session, err)
	}
	identity(t, s, basic("ann", "secret3"))

	// Guessing the current password with a stolen token is slowed down too.
	for range freeFailures {
		if _, err = s.ChangePassword(ctx, ann, "ann", "wrong", "secret4"); err == nil {
			t.Fatal("a wrong password was taken")
		}
	}
	if _, err = s.ChangePassword(ctx, ann, "ann", "secret3", "secret4"); !errors.Is(err, ErrLocked) {
		t.Errorf("after many failures: %v", err)
	}
}

func TestUserOfAnotherSource(t *testing.T) {
	s := newService(t, Options{})
	ctx := t.Context()
	if err := s.addUser(ctx, &userRecord{Name: "dora", Source: "ldap"}, "secret"); err != nil {
		t.Fatal(err)
	}
	if err := s.Load(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, s, basic("dora", "secret")); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("password kept here: %v", err)
	}
	admin := identity(t, s, basic("admin", adminPassword))
	if _, err := s.ChangePassword(ctx, admin, "dora", "", "secret2"); !errors.Is(err, ErrInvalid) {
		t.Errorf("change the password: %v", err)
	}
	if _, err := s.UpdateUser(ctx, "dora", UserChange{Password: ptr(Secret("secret2"))}); !errors.Is(err, ErrInvalid) {
		t.Errorf("set the password: %v", err)
	}
	if _, err := s.UpdateUser(ctx, "dora", UserChange{Roles: &[]string{"admin"}}); !errors.Is(err, ErrInvalid) {
		t.Errorf("set the roles: %v", err)
	}
}

// However many administrators leave at once, on however many nodes, one stays.
func TestLastAdministrator(t *testing.T) {
	for range 20 {
		nodes := cluster(t, 3, Options{})
		names := []string{"admin", "ann", "bob", "cid"}
		for _, name := range names[1:] {
			mustCreate(t, nodes[0], NewUser{Username: name, Password: "secret", Roles: []string{"admin"}})
		}
		var group sync.WaitGroup
		for i, name := range names {
			s := nodes[i%len(nodes)]
			group.Go(func() {
				var err error
				if i%2 == 0 {
					err = s.DeleteUser(t.Context(), name)
				} else {
					_, err = s.UpdateUser(t.Context(), name, UserChange{Roles: &[]string{}})
				}
				if err != nil && !errors.Is(err, ErrInvalid) {
					t.Error(err)
				}
			})
		}
		group.Wait()
		admins := 0
		for _, u := range nodes[0].Users() {
			if len(u.Roles) > 0 && u.Roles[0] == "admin" {
				admins++
			}
		}
		if admins != 1 {
			t.Fatalf("%d administrators stayed", admins)
		}
	}
}

// A mark that a crash has left does not keep the others from leaving.
func TestMarkOfACrash(t *testing.T) {
	s := newService(t, Options{})
	ctx := t.Context()
	mustCreate(t, s, NewUser{Username: "ann", Password: "secret", Roles: []string{"admin"}})
	if _, err := update(ctx, s.users(), userKey("ann"), func(rec *userRecord) error { rec.Leaving = true; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteUser(ctx, "admin"); err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteUser(ctx, "ann"); !errors.Is(err, ErrInvalid) {
		t.Errorf("the last one: %v", err)
	}
	if id := identity(t, s, basic("ann", "secret")); !id.Admin() {
		t.Errorf("%+v", id)
	}
}

func TestUserAsJSON(t *testing.T) {
	c := newClock()
	s := newService(t, Options{Now: c.now})
	u, err := s.User("admin")
	if err != nil {
		t.Fatal(err)
	}
	got, err := json.Marshal(u)
	const want = `{"username":"admin","kind":"builtin","roles":["admin"],"must_change_password":false,` +
		`"created_at":"2026-11-22T10:00:00Z","updated_at":"2026-11-22T10:00:00Z"}`
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
}
