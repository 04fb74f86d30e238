package auth

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// forge signs claims with a method and key, naming the current key id.
func forge(t *testing.T, s *Service, m jwt.SigningMethod, c jwt.MapClaims, signKey any) string {
	t.Helper()
	token := jwt.NewWithClaims(m, c)
	token.Header["kid"] = s.snapshot().current().id
	signed, err := token.SignedString(signKey)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestTokens(t *testing.T) {
	c := newClock()
	s := newService(t, Options{Now: c.now})
	mustCreate(t, s, NewUser{Username: "ann", Password: "secret"})
	snap := s.snapshot()
	good := signing(snap.current().secret, "admin", snap.users["admin"].secret)
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	now := c.now().Unix()
	claimsOf := func(sub any, exp any) jwt.MapClaims {
		return jwt.MapClaims{"sub": sub, "iat": now, "exp": exp}
	}
	hs256 := jwt.SigningMethodHS256
	for name, tt := range map[string]struct {
		token string
		want  bool
	}{
		"good":            {forge(t, s, hs256, claimsOf("admin", now+60), good), true},
		"other claims":    {forge(t, s, hs256, jwt.MapClaims{"sub": "admin", "exp": now + 60, "x": []int{1}}, good), true},
		"expired":         {forge(t, s, hs256, claimsOf("admin", now-1), good), false},
		"expires now":     {forge(t, s, hs256, claimsOf("admin", now), good), false},
		"no expiry":       {forge(t, s, hs256, jwt.MapClaims{"sub": "admin", "iat": now}, good), false},
		"negative expiry": {forge(t, s, hs256, claimsOf("admin", -1), good), false},
		"text as expiry":  {forge(t, s, hs256, claimsOf("admin", "tomorrow"), good), false},
		"endless expiry":  {forge(t, s, hs256, claimsOf("admin", int64(1)<<62), good), false},
		"alg none":        {forge(t, s, jwt.SigningMethodNone, claimsOf("admin", now+60), jwt.UnsafeAllowNoneSignatureType), false},
		"HS512":           {forge(t, s, jwt.SigningMethodHS512, claimsOf("admin", now+60), good), false},
		"RS256":           {forge(t, s, jwt.SigningMethodRS256, claimsOf("admin", now+60), rsaKey), false},
		"cluster key":     {forge(t, s, hs256, claimsOf("admin", now+60), []byte(snap.current().secret)), false},
		"user secret":     {forge(t, s, hs256, claimsOf("admin", now+60), []byte(snap.users["admin"].secret)), false},
		"empty key":       {forge(t, s, hs256, claimsOf("admin", now+60), []byte{}), false},
		"key of another":  {forge(t, s, hs256, claimsOf("ann", now+60), good), false},
		"unknown user":    {forge(t, s, hs256, claimsOf("nobody", now+60), good), false},
		"nobody's secret": {forge(t, s, hs256, claimsOf("nobody", now+60), signing(snap.current().secret, "", nil)), false},
		"no subject":      {forge(t, s, hs256, jwt.MapClaims{"exp": now + 60}, good), false},
		"number as user":  {forge(t, s, hs256, claimsOf(1, now+60), good), false},
		"for something":   {forge(t, s, hs256, jwt.MapClaims{"sub": "admin", "exp": now + 60, "aud": "docker"}, good), false},
	} {
		t.Run(name, func(t *testing.T) {
			id, err := ask(t, s, "Bearer "+tt.token)
			if tt.want {
				if err != nil || id.Name != "admin" {
					t.Errorf("got %v, %v", id.Name, err)
				}
				return
			}
			var ce *CredentialError
			if !errors.As(err, &ce) || ce.Method != JWT {
				t.Fatalf("got %v, %v; want ErrUnauthorized", id, err)
			}
			if wantExpired := strings.HasPrefix(name, "expire"); wantExpired != strings.Contains(ce.Reason, "expired") {
				t.Errorf("reason %q", ce.Reason)
			}
		})
	}
}

// Whatever bit of a token changes, it is refused.
func TestTokenWithAnyBitChanged(t *testing.T) {
	s := newService(t, Options{})
	token := []byte(login(t, s, "admin", adminPassword).Token)
	for i := range token {
		changed := append([]byte(nil), token...)
		changed[i] ^= 1
		if _, err := ask(t, s, "Bearer "+string(changed)); !errors.Is(err, ErrUnauthorized) {
			t.Fatalf("byte %d changed: %v", i, err)
		}
	}
}

func TestTokenExpires(t *testing.T) {
	c := newClock()
	life := time.Hour
	s := newService(t, Options{Now: c.now, Expiry: func() time.Duration { return life }})
	session := login(t, s, "admin", adminPassword)
	if session.Life != time.Hour || session.MustChangePassword {
		t.Errorf("%+v", session)
	}
	life = time.Minute // for later tokens only
	c.add(time.Hour - time.Second)
	identity(t, s, "Bearer "+string(session.Token))
	c.add(time.Second)
	if _, err := ask(t, s, "Bearer "+string(session.Token)); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("expired: %v", err)
	}
}

func TestRotate(t *testing.T) {
	c := newClock()
	o := Options{Now: c.now, KV: newStore(t)}
	a, b := newService(t, o), newService(t, o) // that don't tell each other
	first := "Bearer " + string(login(t, a, "admin", adminPassword).Token)
	const week = 7 * 24 * time.Hour
	rotate := func(s *Service, want bool) {
		t.Helper()
		if done, err := s.Rotate(t.Context(), week); err != nil || done != want {
			t.Fatalf("Rotate = %v, %v; want %v", done, err, want)
		}
	}
	rotate(a, false)
	c.add(week)
	rotate(a, true)
	rotate(a, false)
	rotate(b, false) // it sees that another node was faster
	c.add(-week)     // so that the first token has not expired
	second := "Bearer " + string(login(t, a, "admin", adminPassword).Token)
	for _, s := range []*Service{a, b} {
		identity(t, s, first)
		identity(t, s, second)
	}
	c.add(2 * week)
	rotate(a, true)
	c.add(-2 * week)
	third := "Bearer " + string(login(t, a, "admin", adminPassword).Token)
	identity(t, b, third) // b does not know its key and loads
	identity(t, b, second)
	for _, s := range []*Service{a, b} {
		if _, err := ask(t, s, first); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("two rotations later: %v", err)
		}
	}
}

func TestUnknownKeyLoadsOnceASecond(t *testing.T) {
	c := newClock()
	s := newService(t, Options{Now: c.now})
	token := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "admin", "exp": c.now().Unix() + 60})
	token.Header["kid"] = "made up"
	forged, err := token.SignedString([]byte("x"))
	if err != nil {
		t.Fatal(err)
	}
	loads := func() int {
		n := 0
		for range 10 {
			before := s.snapshot()
			if _, err := ask(t, s, "Bearer "+forged); !errors.Is(err, ErrUnauthorized) {
				t.Fatal(err)
			}
			if s.snapshot() != before {
				n++
			}
		}
		return n
	}
	if n := loads(); n != 1 {
		t.Errorf("%d loads, want 1", n)
	}
	c.add(time.Second)
	if n := loads(); n != 1 {
		t.Errorf("%d loads a second later, want 1", n)
	}
}

func TestRevoke(t *testing.T) {
	nodes := cluster(t, 2, Options{})
	s, other := nodes[0], nodes[1]
	mustCreate(t, s, NewUser{Username: "ann", Password: "secret"})
	mustCreate(t, s, NewUser{Username: "bob", Password: "secret"})
	token := func(name, password string) string { return "Bearer " + string(login(t, s, name, password).Token) }
	admin, ann, bob := token("admin", adminPassword), token("ann", "secret"), token("bob", "secret")
	dead := func(what string, tokens ...string) {
		t.Helper()
		for _, tok := range tokens {
			if _, err := ask(t, other, tok); !errors.Is(err, ErrUnauthorized) {
				t.Errorf("%s: %v", what, err)
			}
		}
	}
	annID := identity(t, s, ann)
	if err := s.RevokeTokens(t.Context(), annID, "bob"); !errors.Is(err, ErrForbidden) {
		t.Errorf("tokens of another: %v", err)
	}
	if err := s.RevokeTokens(t.Context(), identity(t, s), "anonymous"); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("by anonymous: %v", err)
	}
	if err := s.RevokeTokens(t.Context(), identity(t, s, admin), "nobody"); !errors.Is(err, ErrNotFound) {
		t.Errorf("of nobody: %v", err)
	}
	if err := s.RevokeTokens(t.Context(), annID, "ann"); err != nil {
		t.Fatal(err)
	}
	dead("after revoke", ann)
	identity(t, other, bob)
	identity(t, other, basic("ann", "secret"))
	ann = token("ann", "secret")
	if err := s.RevokeTokens(t.Context(), identity(t, s, admin), "ann"); err != nil {
		t.Fatal(err)
	}
	dead("after the administrator's revoke", ann)

	if _, err := s.Rotate(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	identity(t, other, bob)
	if err := s.RevokeAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	dead("after revoke-all", admin, ann, bob)
	identity(t, other, token("bob", "secret"))

	// A user of the same name is somebody else.
	bob = token("bob", "secret")
	if err := s.DeleteUser(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, s, NewUser{Username: "bob", Password: "secret"})
	dead("of an earlier user", bob)
}

func TestTokenIsWhatClientsExpect(t *testing.T) {
	s := newService(t, Options{})
	parts := strings.Split(string(login(t, s, "admin", adminPassword).Token), ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	header, _ := base64.RawURLEncoding.DecodeString(parts[0])
	body, _ := base64.RawURLEncoding.DecodeString(parts[1])
	if !strings.Contains(string(header), `"alg":"HS256"`) {
		t.Errorf("header %s", header)
	}
	for _, claim := range []string{`"sub":"admin"`, `"iat":`, `"exp":`} {
		if !strings.Contains(string(body), claim) {
			t.Errorf("claims %s lack %s", body, claim)
		}
	}
	anonymous, err := s.Issue(identity(t, s))
	if err != nil {
		t.Fatal(err)
	}
	if id := identity(t, s, "Bearer "+string(anonymous.Token)); !id.Anonymous() {
		t.Errorf("token of anonymous: %+v", id)
	}
}

func BenchmarkBearer(b *testing.B) {
	s := newService(b, Options{})
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", "Bearer "+string(login(b, s, "admin", adminPassword).Token))
	benchmark(b, s, r)
}

func BenchmarkBearerFirstSeen(b *testing.B) {
	s := newService(b, Options{})
	token := login(b, s, "admin", adminPassword).Token
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.prove(s.snapshot(), token, ""); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkBasic(b *testing.B) {
	s := newService(b, Options{Cost: DefaultCost})
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("Authorization", basic("admin", adminPassword))
	benchmark(b, s, r)
}

func BenchmarkAnonymous(b *testing.B) {
	benchmark(b, newService(b, Options{}), httptest.NewRequest(http.MethodGet, "/", nil))
}

func benchmark(b *testing.B, s *Service, r *http.Request) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Authenticate(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}
