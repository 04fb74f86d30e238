package auth

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"granary/kv"
)

// withRole makes a user who may do in repositories what grants say: verb,
// glob, verb, glob …
func withRole(t testing.TB, s *Service, name string, grants ...string) {
	t.Helper()
	if _, err := s.CreateRole(t.Context(), NewRole{Name: name, Capabilities: caps(grants...)}); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, s, NewUser{Username: name, Password: "secret", Roles: []string{name}})
}

func caps(grants ...string) []Capability {
	list := []Capability{}
	for i := 0; i < len(grants); i += 2 {
		list = append(list, Capability{Capability: grants[i], Repo: grants[i+1]})
	}
	return list
}

func mustToken(t testing.TB, s *Service, by Identity, n NewAPIToken) (APIToken, string) {
	t.Helper()
	if n.Name == "" {
		n.Name = "ci"
	}
	shown, text, err := s.CreateToken(t.Context(), by, n)
	if err != nil {
		t.Fatalf("CreateToken: %v", err)
	}
	return shown, string(text)
}

func refused(t testing.TB, s *Service, authorization string) {
	t.Helper()
	if id, err := ask(t, s, authorization); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("got %q, %v, want ErrUnauthorized", id.Name, err)
	}
}

func TestAPITokenIsAccepted(t *testing.T) {
	s := newService(t, Options{})
	withRole(t, s, "ann", "read", "*", "write", "ann-*")
	ann := identity(t, s, basic("ann", "secret"))
	shown, text := mustToken(t, s, ann, NewAPIToken{})
	if !strings.HasPrefix(text, "grn_"+shown.ID) || len(text) != tokenLength || shown.Username != "ann" {
		t.Fatalf("token of %d bytes, shown as %+v", len(text), shown)
	}
	for _, header := range []string{
		"Bearer " + text, "bearer  " + text + " ", basic("ann", text), basic("anybody", text), basic("", text), basic("__token__", text),
	} {
		id := identity(t, s, header)
		if id.Name != "ann" || id.Method != Token || id.Token != shown.ID || !id.Can("write", "ann-1") || id.Can("write", "x") || id.Limited() {
			t.Errorf("%.12q: %+v", header, id)
		}
	}
	last := text[len(text)-1:]
	other := "a"
	if last == other {
		other = "b"
	}
	for name, bad := range map[string]string{
		"last letter": text[:len(text)-1] + other,
		"other id":    "grn_" + strings.Repeat("a", tokenIDLength) + text[len("grn_")+tokenIDLength:],
		"cut short":   text[:len(text)-1],
		"longer":      text + "a",
		"capitals":    strings.ToUpper(text),
		"prefix only": "grn_",
		"id only":     "grn_" + shown.ID,
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, s, "Bearer "+bad)
			refused(t, s, basic("ann", bad))
		})
	}
	// Its text is not a password: it makes no session by itself.
	if _, err := s.Login(t.Context(), "192.0.2.1", "ann", Secret(text)); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("Login with a token: %v", err)
	}
	if _, err := s.ChangePassword(t.Context(), ann, "ann", "secret", Secret(text)); !errors.Is(err, ErrInvalid) {
		t.Errorf("a token as a new password: %v", err)
	}
}

func TestAPITokenIsStoredHashed(t *testing.T) {
	s := newService(t, Options{})
	_, text := mustToken(t, s, identity(t, s, basic("admin", adminPassword)), NewAPIToken{})
	n := 0
	for item, err := range s.kv.Query(t.Context(), kv.ConfigPartition(kindToken), "", "") {
		if err != nil {
			t.Fatal(err)
		}
		n++
		if secret := text[len("grn_")+tokenIDLength:]; strings.Contains(string(item.Value), secret) {
			t.Error("the token's secret is in the store")
		}
	}
	if n != 1 {
		t.Errorf("%d records", n)
	}
}

func TestAPITokenIsLimited(t *testing.T) {
	s := newService(t, Options{})
	withRole(t, s, "ann", "read", "*", "write", "ann-*")
	admin := identity(t, s, basic("admin", adminPassword))
	ann := identity(t, s, basic("ann", "secret"))
	for _, tt := range []struct {
		name   string
		by     Identity
		limits []Capability
		can    string // of read, write, delete in ann-1, read in x
		admin  bool
	}{
		{"all of ann's", ann, nil, "ann-1: read write, x: read", false},
		{"one of ann's", ann, caps("write", "*"), "ann-1: write", false},
		{"none", ann, caps(), "", false},
		{"more than ann has", ann, caps("delete", "*", "read", "ann-?"), "ann-1: read", false},
		{"all of admin's", admin, nil, "ann-1: read write delete, x: read", true},
		{"admin's limited", admin, caps("read", "*", "write", "*", "delete", "*"), "ann-1: read write delete, x: read", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := NewAPIToken{}
			if tt.limits != nil {
				n.Capabilities = &tt.limits
			}
			shown, text := mustToken(t, s, tt.by, n)
			if (shown.Capabilities == nil) != (tt.limits == nil) || len(shown.Capabilities) != len(tt.limits) {
				t.Errorf("shown as %+v", shown.Capabilities)
			}
			id := identity(t, s, "Bearer "+text)
			if got := rightsIn(id); got != tt.can {
				t.Errorf("it can %q, want %q", got, tt.can)
			}
			if id.Admin() != tt.admin {
				t.Errorf("Admin %v, want %v", id.Admin(), tt.admin)
			}
			// A session made with it has the same rights.
			session, err := s.Issue(id)
			if err != nil {
				t.Fatal(err)
			}
			again := identity(t, s, "Bearer "+string(session.Token))
			if got := rightsIn(again); got != tt.can || again.Admin() != tt.admin || again.Method != JWT {
				t.Errorf("its session can %q, want %q", got, tt.can)
			}
		})
	}
}

func rightsIn(id Identity) string {
	var parts []string
	for _, repo := range []string{"ann-1", "x"} {
		s := ""
		for _, verb := range []string{"read", "write", "delete"} {
			if id.Can(verb, repo) && (repo != "x" || verb == "read") {
				s += " " + verb
			}
		}
		if s != "" {
			parts = append(parts, repo+":"+s)
		}
	}
	return strings.Join(parts, ", ")
}

// A token never has more than its user has now.
func TestAPITokenFollowsItsUser(t *testing.T) {
	s := newService(t, Options{})
	withRole(t, s, "ann", "read", "*")
	limits := caps("read", "*", "write", "*")
	_, text := mustToken(t, s, identity(t, s, basic("ann", "secret")), NewAPIToken{Capabilities: &limits})
	if id := identity(t, s, "Bearer "+text); !id.Can("read", "x") || id.Can("write", "x") {
		t.Fatal("not the user's rights")
	}
	wide := caps("write", "*")
	if _, err := s.UpdateRole(t.Context(), "ann", RoleChange{Capabilities: &wide}); err != nil {
		t.Fatal(err)
	}
	if id := identity(t, s, "Bearer "+text); id.Can("read", "x") || !id.Can("write", "x") {
		t.Error("the user's new rights are not the token's")
	}
	yes := true
	if _, err := s.UpdateUser(t.Context(), "ann", UserChange{MustChangePassword: &yes}); err != nil {
		t.Fatal(err)
	}
	if id := identity(t, s, "Bearer "+text); id.Can("write", "x") || !id.MustChangePassword() {
		t.Error("a token of a user who must change the password works")
	}
}

func TestAPITokenEnds(t *testing.T) {
	c := newClock()
	for name, end := range map[string]func(t *testing.T, s *Service, shown APIToken){
		"deleted": func(t *testing.T, s *Service, shown APIToken) {
			if err := s.DeleteToken(t.Context(), identity(t, s, basic("ann", "secret")), shown.ID); err != nil {
				t.Fatal(err)
			}
		},
		"deleted by an administrator": func(t *testing.T, s *Service, shown APIToken) {
			if err := s.DeleteToken(t.Context(), System(), shown.ID); err != nil {
				t.Fatal(err)
			}
		},
		"expired": func(*testing.T, *Service, APIToken) { c.add(time.Hour) },
		"user's tokens revoked": func(t *testing.T, s *Service, _ APIToken) {
			if err := s.RevokeTokens(t.Context(), System(), "ann"); err != nil {
				t.Fatal(err)
			}
		},
		"all revoked": func(t *testing.T, s *Service, _ APIToken) {
			if err := s.RevokeAll(t.Context()); err != nil {
				t.Fatal(err)
			}
		},
		"user deleted": func(t *testing.T, s *Service, _ APIToken) {
			if err := s.DeleteUser(t.Context(), "ann"); err != nil {
				t.Fatal(err)
			}
		},
		"user made anew": func(t *testing.T, s *Service, _ APIToken) {
			if err := s.DeleteUser(t.Context(), "ann"); err != nil {
				t.Fatal(err)
			}
			mustCreate(t, s, NewUser{Username: "ann", Password: "secret", Roles: []string{"ann"}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t, Options{Now: c.now})
			withRole(t, s, "ann", "read", "*")
			ann := identity(t, s, basic("ann", "secret"))
			shown, text := mustToken(t, s, ann, NewAPIToken{ExpiresAt: c.now().Add(time.Hour)})
			id := identity(t, s, "Bearer "+text)
			session, err := s.Issue(id)
			if err != nil {
				t.Fatal(err)
			}
			if session.Life > time.Hour {
				t.Errorf("the session outlives its token: %v", session.Life)
			}
			identity(t, s, "Bearer "+string(session.Token))
			end(t, s, shown)
			refused(t, s, "Bearer "+text)
			refused(t, s, "Bearer "+string(session.Token))
			if _, err := s.Issue(id); err == nil {
				t.Error("a session is made for a token that has ended")
			}
		})
	}
}

// A password is changed for other reasons; who must end the tokens as well
// revokes them.
func TestAPITokenOutlivesThePassword(t *testing.T) {
	s := newService(t, Options{})
	withRole(t, s, "ann", "read", "*")
	ann := identity(t, s, basic("ann", "secret"))
	_, text := mustToken(t, s, ann, NewAPIToken{})
	if _, err := s.ChangePassword(t.Context(), ann, "ann", "secret", "another"); err != nil {
		t.Fatal(err)
	}
	identity(t, s, "Bearer "+text)
}

func TestWhoMakesAPITokens(t *testing.T) {
	c := newClock()
	s := newService(t, Options{Now: c.now})
	withRole(t, s, "ann", "read", "*")
	withRole(t, s, "bob", "read", "*")
	mustCreate(t, s, NewUser{Username: "must", Password: "secret", MustChangePassword: true})
	mustCreate(t, s, NewUser{Username: "robot", Kind: ServiceAccount, Roles: []string{"ann"}})
	admin := identity(t, s, basic("admin", adminPassword))
	ann := identity(t, s, basic("ann", "secret"))
	_, whole := mustToken(t, s, ann, NewAPIToken{ExpiresAt: c.now().Add(time.Hour)})
	none := caps("read", "*")
	_, limited := mustToken(t, s, ann, NewAPIToken{Capabilities: &none})
	byWhole, byLimited := identity(t, s, "Bearer "+whole), identity(t, s, "Bearer "+limited)
	for _, tt := range []struct {
		name string
		by   Identity
		n    NewAPIToken
		want error
	}{
		{"own", ann, NewAPIToken{}, nil},
		{"own, named", ann, NewAPIToken{Username: "ann"}, nil},
		{"another's", ann, NewAPIToken{Username: "bob"}, ErrForbidden},
		{"nobody's", ann, NewAPIToken{Username: "nobody"}, ErrForbidden},
		{"a service account's", ann, NewAPIToken{Username: "robot"}, ErrForbidden},
		{"admin for a service account", admin, NewAPIToken{Username: "robot"}, nil},
		{"admin for a user", admin, NewAPIToken{Username: "ann"}, ErrInvalid},
		{"admin for nobody", admin, NewAPIToken{Username: "nobody"}, ErrNotFound},
		{"anonymous", identity(t, s), NewAPIToken{}, ErrUnauthorized},
		{"password not changed", identity(t, s, basic("must", "secret")), NewAPIToken{}, ErrForbidden},
		{"by a token", byWhole, NewAPIToken{}, nil},
		{"by a token, outliving it", byWhole, NewAPIToken{ExpiresAt: c.now().Add(2 * time.Hour)}, ErrInvalid},
		{"by a limited token", byLimited, NewAPIToken{}, ErrForbidden},
		{"in the past", ann, NewAPIToken{ExpiresAt: c.now()}, ErrInvalid},
		{"in the year 9999", ann, NewAPIToken{ExpiresAt: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)}, nil},
		{"name with a newline", ann, NewAPIToken{Name: "a\nb"}, ErrInvalid},
		{"name with an escape", ann, NewAPIToken{Name: "a\x1b[31m"}, ErrInvalid},
		{"name too long", ann, NewAPIToken{Name: strings.Repeat("x", 129)}, ErrInvalid},
		{"unknown verb", ann, NewAPIToken{Capabilities: &[]Capability{{Capability: "own", Repo: "*"}}}, ErrInvalid},
		{"glob with a newline", ann, NewAPIToken{Capabilities: &[]Capability{{Capability: "read", Repo: "a\n*"}}}, ErrInvalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.n.Name == "" {
				tt.n.Name = "ci"
			}
			shown, _, err := s.CreateToken(t.Context(), tt.by, tt.n)
			if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
			if tt.name == "by a token" && !shown.ExpiresAt.Equal(c.now().Add(time.Hour)) {
				t.Errorf("expires at %v, not with the token that made it", shown.ExpiresAt)
			}
		})
	}
}

func TestWhoSeesAPITokens(t *testing.T) {
	s := newService(t, Options{})
	withRole(t, s, "ann", "read", "*")
	withRole(t, s, "bob", "read", "*")
	ann, bob := identity(t, s, basic("ann", "secret")), identity(t, s, basic("bob", "secret"))
	admin := identity(t, s, basic("admin", adminPassword))
	limits := caps("read", "*")
	shown, text := mustToken(t, s, ann, NewAPIToken{Capabilities: &limits})
	limited := identity(t, s, "Bearer "+text)
	other, _ := mustToken(t, s, ann, NewAPIToken{})
	for _, tt := range []struct {
		name string
		by   Identity
		list error
		drop error
	}{
		{"anonymous", identity(t, s), ErrUnauthorized, ErrUnauthorized},
		{"another", bob, ErrForbidden, ErrNotFound},
		{"limited", limited, ErrForbidden, ErrForbidden},
		{"own", ann, nil, nil},
		{"admin", admin, nil, ErrNotFound}, // deleted by the one before
	} {
		if list, err := s.Tokens(t.Context(), tt.by, "ann"); !errors.Is(err, tt.list) {
			t.Errorf("%s: Tokens: %v, want %v", tt.name, err, tt.list)
		} else if err == nil && !strings.Contains(fmt.Sprintf("%+v", list), shown.ID) {
			t.Errorf("%s: the token is not in %+v", tt.name, list)
		}
		if err := s.DeleteToken(t.Context(), tt.by, other.ID); !errors.Is(err, tt.drop) {
			t.Errorf("%s: DeleteToken: %v, want %v", tt.name, err, tt.drop)
		}
	}
	if err := s.DeleteToken(t.Context(), limited, shown.ID); err != nil {
		t.Errorf("a limited token can't end itself: %v", err)
	}
	refused(t, s, "Bearer "+text)
}

func TestAPITokensAreCounted(t *testing.T) {
	s := newService(t, Options{})
	withRole(t, s, "ann", "read", "*")
	ann := identity(t, s, basic("ann", "secret"))
	for range maxTokens {
		mustToken(t, s, ann, NewAPIToken{})
	}
	if _, _, err := s.CreateToken(t.Context(), ann, NewAPIToken{Name: "x"}); !errors.Is(err, ErrInvalid) {
		t.Errorf("one more: %v", err)
	}
}

func TestServiceAccounts(t *testing.T) {
	s := newService(t, Options{})
	for name, n := range map[string]NewUser{
		"with a password":     {Username: "robot", Kind: ServiceAccount, Password: "secret"},
		"with one to change":  {Username: "robot", Kind: ServiceAccount, MustChangePassword: true},
		"of an unknown kind":  {Username: "robot", Kind: "person", Password: "secret"},
		"without a password":  {Username: "robot"},
		"name with a newline": {Username: "ro\nbot", Kind: ServiceAccount},
	} {
		if _, err := s.CreateUser(t.Context(), n); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	mustCreate(t, s, NewUser{Username: "robot", Kind: ServiceAccount, Roles: []string{AdminRole}})
	if u, err := s.User("robot"); err != nil || u.Kind != ServiceAccount {
		t.Errorf("%+v, %v", u, err)
	}
	for _, password := range []string{"", "secret", "robot"} {
		refused(t, s, basic("robot", password))
	}
	if _, err := s.ChangePassword(t.Context(), System(), "robot", "", "secret"); !errors.Is(err, ErrInvalid) {
		t.Errorf("a password for it: %v", err)
	}
	// It is no administrator who can log in.
	if err := s.DeleteUser(t.Context(), AdminUser); !errors.Is(err, ErrInvalid) {
		t.Errorf("the last administrator with a password is deleted: %v", err)
	}
	_, text := mustToken(t, s, System(), NewAPIToken{Username: "robot"})
	if id := identity(t, s, "Bearer "+text); !id.Admin() || id.Name != "robot" {
		t.Errorf("%+v", id)
	}
}

func TestTokenInAnotherHeader(t *testing.T) {
	s := newService(t, Options{})
	_, text := mustToken(t, s, identity(t, s, basic("admin", adminPassword)), NewAPIToken{})
	session := string(login(t, s, "admin", adminPassword).Token)
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, token := range []string{text, session} {
		if id, err := s.AuthenticateToken(t.Context(), r, Secret(token)); err != nil || !id.Admin() {
			t.Errorf("%+v, %v", id, err)
		}
	}
	for _, token := range []string{"", "x", adminPassword, text + "x", strings.Repeat("x", maxCredential+1)} {
		if _, err := s.AuthenticateToken(t.Context(), r, Secret(token)); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("%.20q: %v", token, err)
		}
	}
}

func FuzzIsAPIToken(f *testing.F) {
	f.Add("grn_")
	f.Add("grn_" + strings.Repeat("a", 56))
	f.Add("grn_" + strings.Repeat("1", 56))
	s := newService(f, Options{})
	f.Fuzz(func(t *testing.T, text string) {
		if isAPIToken(Secret(text)) && len(text) != tokenLength {
			t.Errorf("%q is taken for a token", text)
		}
		if id, err := ask(t, s, "Bearer "+text); err == nil {
			t.Errorf("%q is %s", text, id.Name)
		}
	})
}
