package auth

import (
	"bytes"
	"errors"
	"testing"

	"granary/auth/ldap"
)

// keyed is a sealer whose key is a byte; it opens what any of its keys sealed.
type keyed []byte

func (k keyed) Seal(plain []byte) ([]byte, error) { return append([]byte{k[0]}, plain...), nil }

func (k keyed) Open(sealed []byte) ([]byte, error) {
	if len(sealed) == 0 || !bytes.Contains(k, sealed[:1]) {
		return nil, errors.New("another key")
	}
	return sealed[1:], nil
}

func TestKeyRotation(t *testing.T) {
	store := newStore(t)
	s := newService(t, Options{KV: store, Sealer: keyed("a")})
	if _, err := s.SetDirectory(t.Context(), LDAP{Settings: ldap.Settings{
		URL: "ldap://localhost", BindDN: "cn=search,dc=x", BindPassword: "bind-secret", UserBase: "dc=x",
	}, Fallback: true}); err != nil {
		t.Fatal(err)
	}
	if err := s.SetProviders(t.Context(), OIDC{Login: &ProviderLogin{Issuer: "https://id.example.com", ClientID: "granary", ClientSecret: "client-secret"}}); err != nil {
		t.Fatal(err)
	}
	if rec, _, err := read(t.Context(), s.oidcTable(), oidcKey()); err != nil || !rec.Login.ClientSecret.Sealed {
		t.Errorf("the client secret is stored in the clear: %v", err)
	}
	if _, err := s.Rotate(t.Context(), 0); err != nil { // there is a previous key then
		t.Fatal(err)
	}
	session := string(login(t, s, "admin", adminPassword).Token)
	_, token := mustToken(t, s, identity(t, s, basic("admin", adminPassword)), NewAPIToken{})
	both := newService(t, Options{KV: store, Sealer: keyed("ba")})
	for range 2 {
		if n, err := both.Reseal(t.Context()); err != nil || n != 5 { // admin, anonymous, keys, LDAP, OIDC
			t.Fatalf("Reseal wrote %d, %v", n, err)
		}
	}
	next := newService(t, Options{KV: store, Sealer: keyed("b")})
	for _, credential := range []string{"Bearer " + session, "Bearer " + token, basic("admin", adminPassword)} {
		if id := identity(t, next, credential); !id.Admin() {
			t.Errorf("%.12s: %+v", credential, id)
		}
	}
	if d, ok := next.Directory(); !ok || d.BindPassword != "bind-secret" {
		t.Error("the bind password is lost")
	}
	if o, ok := next.Providers(); !ok || o.Login == nil || o.Login.ClientSecret != "client-secret" {
		t.Error("the client secret is lost")
	}
	old, err := Open(Options{KV: store, Sealer: keyed("a"), Cost: cheap})
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Load(t.Context()); !errors.Is(err, ErrSealed) {
		t.Errorf("with the old key alone: %v", err)
	}
	clear := newService(t, Options{})
	if _, err := clear.Reseal(t.Context()); !errors.Is(err, ErrInvalid) {
		t.Errorf("without a key: %v", err)
	}
}
