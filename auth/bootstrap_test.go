package auth

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"granary/kv"
	"granary/kv/mem"
)

func TestFirstStart(t *testing.T) {
	store := newStore(t)
	s, err := Open(Options{KV: store, Cost: cheap})
	if err != nil {
		t.Fatal(err)
	}
	first, err := s.Bootstrap(t.Context())
	if err != nil || len(first.Password) != 24 || first.Warning != "" {
		t.Fatalf("got %q, %q, %v", string(first.Password), first.Warning, err)
	}
	admin := identity(t, s, basic("admin", string(first.Password)))
	if !admin.MustChangePassword() || admin.Admin() || admin.Can("read", "x") {
		t.Errorf("with a generated password: %+v", admin)
	}
	var names []string
	for _, u := range s.Users() {
		names = append(names, u.Username)
		if want := u.Username == "admin"; u.MustChangePassword != want || slices.Contains(u.Roles, "admin") != want {
			t.Errorf("%+v", u)
		}
	}
	for _, r := range s.Roles() {
		names = append(names, r.Name)
	}
	if got := strings.Join(names, " "); got != "admin anonymous admin read-only" {
		t.Errorf("users and roles: %s", got)
	}

	again, err := s.Bootstrap(t.Context())
	if err != nil || again != (FirstStart{}) {
		t.Errorf("again: %+v, %v", again, err)
	}
	session, err := s.ChangePassword(t.Context(), admin, "admin", first.Password, "new secret")
	if err != nil || session.MustChangePassword {
		t.Fatalf("change the password: %+v, %v", session, err)
	}
	if id := identity(t, s, "Bearer "+string(session.Token)); !id.Admin() || id.MustChangePassword() {
		t.Errorf("after the change: %+v", id)
	}

	// A later start with a configured password changes nothing.
	later := newService(t, Options{KV: store, AdminPassword: "configured"})
	if _, err := ask(t, later, basic("admin", "configured")); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("configured on a later start: %v", err)
	}
	identity(t, later, basic("admin", "new secret"))
}

func TestFirstStartWithPassword(t *testing.T) {
	for _, tt := range []struct {
		password string
		warn     bool
	}{{"configured", false}, {"x", true}} {
		s, err := Open(Options{KV: newStore(t), Cost: cheap, AdminPassword: Secret(tt.password)})
		if err != nil {
			t.Fatal(err)
		}
		first, err := s.Bootstrap(t.Context())
		if err != nil || first.Password != "" || (first.Warning != "") != tt.warn {
			t.Errorf("%q: %+v, %v", tt.password, first, err)
		}
		if id := identity(t, s, basic("admin", tt.password)); !id.Admin() || id.MustChangePassword() {
			t.Errorf("%q: %+v", tt.password, id)
		}
	}
	s, err := Open(Options{KV: newStore(t), Cost: cheap, AdminPassword: Secret(strings.Repeat("x", maxPassword+1))})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Bootstrap(t.Context()); !errors.Is(err, ErrInvalid) {
		t.Errorf("a password that would never match: %v", err)
	}
}

func TestDeletedAdminStaysAway(t *testing.T) {
	store := newStore(t)
	s := newService(t, Options{KV: store})
	mustCreate(t, s, NewUser{Username: "root", Password: "secret", Roles: []string{"admin"}})
	if err := s.DeleteUser(t.Context(), "admin"); err != nil {
		t.Fatal(err)
	}
	later := newService(t, Options{KV: store})
	if _, err := later.User("admin"); !errors.Is(err, ErrNotFound) {
		t.Errorf("after another start: %v", err)
	}
}

func TestNodesStartTogether(t *testing.T) {
	store := newStore(t)
	nodes := make([]*Service, 8)
	firsts := make([]FirstStart, len(nodes))
	var group sync.WaitGroup
	for i := range nodes {
		s, err := Open(Options{KV: store, Cost: cheap})
		if err != nil {
			t.Fatal(err)
		}
		nodes[i] = s
		group.Go(func() {
			first, err := s.Bootstrap(t.Context())
			if err != nil {
				t.Error(err)
			}
			firsts[i] = first
		})
	}
	group.Wait()
	var password Secret
	for _, f := range firsts {
		if f.Password != "" && password != "" {
			t.Error("two nodes show a password")
		}
		password = max(password, f.Password)
	}
	for _, s := range nodes {
		identity(t, s, basic("admin", string(password)))
		identity(t, s, "Bearer "+string(login(t, nodes[0], "admin", string(password)).Token))
	}
}

// A first start that is cut off anywhere is completed by the next one.
func TestFirstStartCutOff(t *testing.T) {
	broken := errors.New("broken")
	for writes := range 5 {
		n, armed := 0, true
		store := mem.New(mem.Options{Misuse: func(err error) { t.Error(err) }, Before: func(op mem.Op) error {
			if !op.Write() || !armed {
				return nil
			}
			if n++; n > writes {
				return broken
			}
			return nil
		}})
		s, err := Open(Options{KV: store, Cost: cheap, AdminPassword: adminPassword})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Bootstrap(t.Context()); !errors.Is(err, broken) {
			t.Fatalf("after %d writes: %v", writes, err)
		}
		armed = false
		s = newService(t, Options{KV: store})
		if id := identity(t, s, basic("admin", adminPassword)); !id.Admin() || len(s.Users()) != 2 || len(s.Roles()) != 2 {
			t.Errorf("after %d writes and another start: %+v", writes, id)
		}
	}
}

func TestLoadFails(t *testing.T) {
	broken := errors.New("broken")
	var fail string
	store := mem.New(mem.Options{Before: func(op mem.Op) error {
		if op.Key.Partition == fail {
			return broken
		}
		return nil
	}})
	s := newService(t, Options{KV: store})
	for _, kind := range []string{kindUser, kindRole, kindKey} {
		fail = kv.ConfigPartition(kind)
		before := s.snapshot()
		if err := s.Load(t.Context()); !errors.Is(err, broken) {
			t.Errorf("%s: %v", kind, err)
		}
		if s.snapshot() != before {
			t.Errorf("%s: what was loaded before is gone", kind)
		}
	}
}
