package auth

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestScopedTokens(t *testing.T) {
	s := newService(t, Options{})
	ask := func(token Secret, audience string) (Identity, error) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("Authorization", "Bearer "+string(token))
		return s.AuthenticateFor(t.Context(), r, audience)
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.SetBasicAuth(AdminUser, adminPassword)
	admin, err := s.Authenticate(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	admin.mustChange = false
	session, err := s.IssueScoped(admin, "images", []Scope{{Repository: "hub", Name: "app", Verbs: []string{"read"}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, audience := range []string{"", "other", "images", "other", "images"} { // also once it is remembered
		id, err := ask(session.Token, audience)
		if audience != "images" {
			if !errors.Is(err, ErrUnauthorized) {
				t.Errorf("for %q: %v", audience, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			verb, repository, name string
			want                   bool
		}{
			{"read", "hub", "app", true}, {"write", "hub", "app", false}, {"read", "hub", "other", false}, {"read", "elsewhere", "app", false},
		} {
			if got := id.CanOn(c.verb, c.repository, c.name); got != c.want {
				t.Errorf("%s on %s/%s: %v", c.verb, c.repository, c.name, got)
			}
			if !id.Owner().CanOn(c.verb, c.repository, c.name) {
				t.Errorf("the owner may not %s on %s/%s", c.verb, c.repository, c.name)
			}
		}
		if id.Can("read", "elsewhere") || id.Admin() || !id.Limited() || !id.Scoped() || id.Owner().Scoped() {
			t.Error("more than the scopes")
		}
	}
	all, err := s.Issue(admin)
	if err != nil {
		t.Fatal(err)
	}
	if id, err := ask(all.Token, "images"); err != nil || id.Scoped() || !id.CanOn("write", "hub", "app") {
		t.Errorf("a session is good everywhere: %v", err)
	}
	if err := s.RevokeAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := ask(session.Token, "images"); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("revoked: %v", err)
	}
}
