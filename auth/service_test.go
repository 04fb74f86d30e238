package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	"granary/kv"
	"granary/kv/mem"
)

// cheap keeps tests fast; what it costs is not what they test.
var cheap = Cost{Memory: 64, Time: 1, Threads: 1}

const adminPassword = "correct horse"

// clock is a time that tests set.
type clock struct {
	mu sync.Mutex // protects t
	t  time.Time
}

func newClock() *clock { return &clock{t: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

func newStore(t testing.TB) kv.Store {
	t.Helper()
	return mem.New(mem.Options{Misuse: func(err error) { t.Error(err) }})
}

// newService returns a bootstrapped service with the user admin and
// adminPassword.
func newService(t testing.TB, o Options) *Service {
	t.Helper()
	if o.KV == nil {
		o.KV = newStore(t)
	}
	if o.Cost == (Cost{}) {
		o.Cost = cheap
	}
	if o.AdminPassword == "" {
		o.AdminPassword = adminPassword
	}
	s, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func basic(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

// ask authenticates a request with the Authorization headers given.
func ask(t testing.TB, s *Service, authorization ...string) (Identity, error) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, a := range authorization {
		r.Header.Add("Authorization", a)
	}
	return s.Authenticate(t.Context(), r)
}

func login(t testing.TB, s *Service, name, password string) Session {
	t.Helper()
	session, err := s.Login(t.Context(), "192.0.2.1", name, Secret(password))
	if err != nil {
		t.Fatalf("Login(%q): %v", name, err)
	}
	return session
}

func mustCreate(t testing.TB, s *Service, n NewUser) {
	t.Helper()
	if _, err := s.CreateUser(t.Context(), n); err != nil {
		t.Fatalf("CreateUser(%q): %v", n.Username, err)
	}
}

func identity(t testing.TB, s *Service, authorization ...string) Identity {
	t.Helper()
	id, err := ask(t, s, authorization...)
	if err != nil {
		t.Fatalf("Authenticate: %v", err)
	}
	return id
}

func TestAuthenticate(t *testing.T) {
	s := newService(t, Options{})
	token := string(login(t, s, "admin", adminPassword).Token)
	for _, tt := range []struct {
		name          string
		authorization []string
		user          string
		method        Method // of the identity or of the error
	}{
		{"none", nil, "anonymous", Anonymous},
		{"basic", []string{basic("admin", adminPassword)}, "admin", Basic},
		{"scheme in capitals", []string{"BASIC" + basic("admin", adminPassword)[5:]}, "admin", Basic},
		{"wrong password", []string{basic("admin", "correct horsf")}, "", Basic},
		{"empty password", []string{basic("admin", "")}, "", Basic},
		{"anonymous with empty password", []string{basic("anonymous", "")}, "", Basic},
		{"anonymous with a password", []string{basic("anonymous", "secret")}, "", Basic},
		{"unknown user", []string{basic("nobody", adminPassword)}, "", Basic},
		{"other case", []string{basic("Admin", adminPassword)}, "", Basic},
		{"no user", []string{basic("", "")}, "", Basic},
		{"NUL", []string{basic("admin\x00", adminPassword)}, "", Basic},
		{"no colon", []string{"Basic " + base64.StdEncoding.EncodeToString([]byte("admin"))}, "", Basic},
		{"not base64", []string{"Basic !!!"}, "", Basic},
		{"nothing after Basic", []string{"Basic"}, "", Basic},
		{"bearer", []string{"Bearer " + token}, "admin", JWT},
		{"bearer in lower case", []string{"bearer " + token}, "admin", JWT},
		{"session as password", []string{basic("__token__", token)}, "admin", JWT},
		{"session cut short as password", []string{basic("admin", token[:len(token)-2])}, "", JWT},
		{"another's token as password", []string{basic("admin", "eyJhbGciOiJFUzI1NiJ9.e30.x")}, "", Basic},
		{"token cut short", []string{"Bearer " + token[:len(token)-2]}, "", JWT},
		{"garbage token", []string{"Bearer a.b.c"}, "", JWT},
		{"nothing after Bearer", []string{"Bearer "}, "", JWT},
		{"other scheme", []string{"Digest username=admin"}, "", Unknown},
		{"token alone", []string{token}, "", Unknown},
		{"empty header", []string{""}, "", Unknown},
		{"two headers", []string{basic("admin", adminPassword), basic("admin", adminPassword)}, "", Unknown},
		{"endless header", []string{"Bearer " + string(make([]byte, 1<<20))}, "", Unknown},
	} {
		t.Run(tt.name, func(t *testing.T) {
			id, err := ask(t, s, tt.authorization...)
			if tt.user != "" {
				if err != nil || id.Name != tt.user || id.Method != tt.method {
					t.Fatalf("got %v, %v; want %s by %s", id, err, tt.user, tt.method)
				}
				return
			}
			var c *CredentialError
			if !errors.Is(err, ErrUnauthorized) || !errors.As(err, &c) || c.Method != tt.method {
				t.Fatalf("got %v, %v; want ErrUnauthorized by %s", id, err, tt.method)
			}
			if id.Name != "" || id.Admin() || id.Can("read", "x") {
				t.Errorf("refused, and yet %+v", id)
			}
		})
	}
}

func TestNobodyBeforeLoad(t *testing.T) {
	store := newStore(t)
	newService(t, Options{KV: store})
	s, err := Open(Options{KV: store, Cost: cheap})
	if err != nil {
		t.Fatal(err)
	}
	if id := identity(t, s); id.Can("read", "x") || id.Admin() || !id.Anonymous() {
		t.Errorf("before Load: %+v", id)
	}
	if _, err := ask(t, s, basic("admin", adminPassword)); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("before Load: %v", err)
	}
	if err := s.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if id := identity(t, s, basic("admin", adminPassword)); !id.Admin() {
		t.Errorf("after Load: %+v", id)
	}
}

func TestRights(t *testing.T) {
	s := newService(t, Options{})
	ctx := t.Context()
	_, err := s.CreateRole(ctx, NewRole{Name: "team", Capabilities: []Capability{
		{Capability: "read", Repo: "*"}, {Capability: "write", Repo: "team-*"}, {Capability: "delete", Repo: "docker-?"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	mustCreate(t, s, NewUser{Username: "ann", Password: "secret", Roles: []string{"team", "read-only", "team"}})
	mustCreate(t, s, NewUser{Username: "bob", Password: "secret"})
	ann, bob := identity(t, s, basic("ann", "secret")), identity(t, s, basic("bob", "secret"))
	admin, anonymous := identity(t, s, basic("admin", adminPassword)), identity(t, s)
	for _, tt := range []struct {
		id               Identity
		verb, repository string
		want             bool
	}{
		{ann, "read", "raw", true},
		{ann, "write", "team-a", true},
		{ann, "write", "team", false},
		{ann, "write", "a-team-", false},
		{ann, "delete", "docker-1", true},
		{ann, "delete", "docker-10", false},
		{ann, "delete", "team-a", false},
		{ann, "administer", "team-a", false},
		{ann, "", "raw", false},
		{bob, "read", "raw", false},
		{anonymous, "read", "raw", false},
		{admin, "delete", "raw", true},
		{Identity{}, "read", "raw", false},
	} {
		if got := tt.id.Can(tt.verb, tt.repository); got != tt.want {
			t.Errorf("%s: Can(%q, %q) = %v", tt.id.Name, tt.verb, tt.repository, got)
		}
	}
	if ann.Admin() || bob.Admin() || anonymous.Admin() || !admin.Admin() {
		t.Error("wrong administrators")
	}
	if len(ann.Roles) != 2 {
		t.Errorf("roles %q, want each once", ann.Roles)
	}

	// Giving anonymous a role opens the door; the identity of an earlier
	// request stays as it was.
	if _, err := s.UpdateUser(ctx, "anonymous", UserChange{Roles: &[]string{"read-only"}}); err != nil {
		t.Fatal(err)
	}
	if anonymous.Can("read", "raw") || !identity(t, s).Can("read", "raw") || identity(t, s).Can("write", "raw") {
		t.Error("anonymous has other rights than its role")
	}
}

func TestPasswordIsRemembered(t *testing.T) {
	c := newClock()
	s := newService(t, Options{Now: c.now})
	identity(t, s, basic("admin", adminPassword))
	release := block(s)
	identity(t, s, basic("admin", adminPassword))
	if _, err := ask(t, s, basic("admin", "other password")); !errors.Is(err, ErrBusy) {
		t.Errorf("another password: %v, want ErrBusy", err)
	}
	c.add(verifiedFor)
	if _, err := ask(t, s, basic("admin", adminPassword)); !errors.Is(err, ErrBusy) {
		t.Errorf("after a minute: %v, want ErrBusy", err)
	}
	release()
	identity(t, s, basic("admin", adminPassword))
	if _, err := s.UpdateUser(t.Context(), "admin", UserChange{Roles: &[]string{"admin", "read-only"}}); err != nil {
		t.Fatal(err)
	}
	release = block(s)
	defer release()
	if _, err := ask(t, s, basic("admin", adminPassword)); !errors.Is(err, ErrBusy) {
		t.Errorf("after a change of the user: %v, want ErrBusy", err)
	}
}

// block lets whatever needs a password hashed fail with ErrBusy.
func block(s *Service) (release func()) {
	for range cap(s.hasher.turn) {
		s.hasher.turn <- struct{}{}
	}
	s.hasher.waiting.Add(maxWaiting)
	return func() {
		s.hasher.waiting.Add(-maxWaiting)
		for range cap(s.hasher.turn) {
			<-s.hasher.turn
		}
	}
}

// A name that nobody has, or that has no password, costs a hash as well.
func TestUnknownNamesCostAsMuch(t *testing.T) {
	s := newService(t, Options{})
	defer block(s)()
	for _, name := range []string{"admin", "nobody", "anonymous", ""} {
		if _, err := ask(t, s, basic(name, "wrong")); !errors.Is(err, ErrBusy) {
			t.Errorf("%q: %v, want that a hash was asked for", name, err)
		}
	}
	if s.hasher.decoy.cost != s.hasher.cost {
		t.Errorf("the hash for nobody costs %+v", s.hasher.decoy.cost)
	}
}

func TestVerifiedIsBounded(t *testing.T) {
	c := newClock()
	s := newService(t, Options{Now: c.now})
	var last fingerprint
	for i := range 2*maxVerified + 10 {
		last = s.verified.fingerprint("u", strconv.Itoa(i), "p")
		s.verified.add(last, struct{}{})
	}
	if n := len(s.verified.entries); n > maxVerified {
		t.Errorf("%d remembered, want at most %d", n, maxVerified)
	}
	if _, ok := s.verified.find(last); !ok {
		t.Error("the last one is not remembered")
	}
}

// cluster returns services on one store that tell each other of changes.
func cluster(t *testing.T, n int, o Options) []*Service {
	t.Helper()
	o.KV = newStore(t)
	nodes := make([]*Service, n)
	o.Notify = func(ctx context.Context) error {
		for _, s := range nodes {
			if err := s.Load(ctx); err != nil {
				return err
			}
		}
		return nil
	}
	for i := range nodes {
		nodes[i] = newService(t, o)
	}
	return nodes
}

func TestChangesHoldEverywhere(t *testing.T) {
	nodes := cluster(t, 2, Options{})
	a, b := nodes[0], nodes[1]
	mustCreate(t, a, NewUser{Username: "ann", Password: "secret", Roles: []string{"read-only"}})
	id := identity(t, b, basic("ann", "secret"))
	if !id.Can("read", "x") {
		t.Fatal("the role is not known on the other node")
	}
	token := login(t, b, "ann", "secret").Token
	if _, err := a.ChangePassword(t.Context(), identity(t, a, basic("admin", adminPassword)), "ann", "", "secret2"); err != nil {
		t.Fatal(err)
	}
	for name, authorization := range map[string]string{"password": basic("ann", "secret"), "token": "Bearer " + string(token)} {
		if _, err := ask(t, b, authorization); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("the old %s on the other node: %v", name, err)
		}
	}
	if err := a.DeleteUser(t.Context(), "ann"); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(t, b, basic("ann", "secret2")); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("deleted user on the other node: %v", err)
	}
}

func TestNotifyFails(t *testing.T) {
	lost := errors.New("lost")
	fail := false
	s := newService(t, Options{Notify: func(context.Context) error {
		if fail {
			return lost
		}
		return nil
	}})
	fail = true
	_, err := s.CreateUser(t.Context(), NewUser{Username: "ann", Password: "secret"})
	if !errors.Is(err, lost) {
		t.Errorf("got %v, want that other nodes were not told", err)
	}
	identity(t, s, basic("ann", "secret")) // stored all the same
}
