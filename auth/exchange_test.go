package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"granary/kv/mem"
)

// issuer is an OpenID Connect provider with discovery and keys.
type issuer struct {
	*httptest.Server
	t    *testing.T
	key  *ecdsa.PrivateKey
	asks atomic.Int32 // of discovery

	// Of the log-in that was authorised last.
	challenge, nonce, redirect string
	user                       map[string]any // claims
	now                        atomic.Int64   // Unix seconds
	signer                     func(jwt.MapClaims) string
	broken                     atomic.Bool // discovery fails
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &issuer{t: t, key: key}
	i.signer = func(c jwt.MapClaims) string { return i.sign(jwt.SigningMethodES256, i.key, c) }
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		i.asks.Add(1)
		if i.broken.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		i.answer(w, map[string]any{
			"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token",
			"id_token_signing_alg_values_supported": []string{"ES256"},
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		b64 := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.FillBytes(make([]byte, 32))) }
		i.answer(w, map[string]any{"keys": []any{map[string]any{
			"kty": "EC", "crv": "P-256", "kid": "k1", "alg": "ES256", "use": "sig", "x": b64(key.X), "y": b64(key.Y),
		}}})
	})
	mux.HandleFunc("GET /authorize", i.authorize)
	mux.HandleFunc("POST /token", i.token)
	i.Server = httptest.NewServer(mux)
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		i.t.Error(err)
	}
}

func (i *issuer) sign(m jwt.SigningMethod, key crypto.PrivateKey, claims jwt.MapClaims) string {
	i.t.Helper()
	token := jwt.NewWithClaims(m, claims)
	token.Header["kid"] = "k1"
	text, err := token.SignedString(key)
	if err != nil {
		i.t.Fatal(err)
	}
	return text
}

// number makes tokens differ.
var number atomic.Int64

// claims of a good token; more replaces some, nil removes.
func (i *issuer) claims(now time.Time, more map[string]any) jwt.MapClaims {
	c := jwt.MapClaims{
		"iss": i.URL, "aud": "granary", "sub": "repo:acme/app:ref:refs/heads/main", "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"repository": "acme/app", "ref": "refs/heads/main", "jti": fmt.Sprint(number.Add(1)), "groups": []string{"x", "ops"},
		"realm_access": map[string]any{"roles": []string{"publisher"}},
	}
	for k, v := range more {
		if v == nil {
			delete(c, k)
		} else {
			c[k] = v
		}
	}
	return c
}

func trusting(t *testing.T, c *clock, client *http.Client) (*Service, *issuer, Workload) {
	t.Helper()
	i := newIssuer(t)
	store := mem.New(mem.Options{Now: c.now, Misuse: func(err error) { t.Error(err) }})
	s := newService(t, Options{Now: c.now, Issuers: client, KV: store})
	if _, err := s.CreateRole(t.Context(), NewRole{Name: "robot", Capabilities: caps("write", "app-*")}); err != nil {
		t.Fatal(err)
	}
	mustCreate(t, s, NewUser{Username: "robot", Kind: ServiceAccount, Roles: []string{"robot"}})
	mustCreate(t, s, NewUser{Username: "ann", Password: "secret"})
	w := Workload{
		Issuer: i.URL, Audience: "granary", Username: "robot", Life: 10 * time.Minute,
		Claims: map[string]string{"repository": "acme/*", "ref": "refs/heads/main", "realm_access.roles": "publisher", "groups": "ops"},
	}
	if err := s.SetProviders(t.Context(), OIDC{Workloads: []Workload{w}}); err != nil {
		t.Fatal(err)
	}
	return s, i, w
}

func TestExchange(t *testing.T) {
	c := newClock()
	s, i, _ := trusting(t, c, http.DefaultClient)
	other := newIssuer(t)
	es256, now := jwt.SigningMethodES256, c.now()
	good := func(more map[string]any) string { return i.sign(es256, i.key, i.claims(now, more)) }
	for name, tt := range map[string]struct {
		token string
		want  error
	}{
		"good":                   {good(nil), nil},
		"one of its audiences":   {good(map[string]any{"aud": []string{"other", "granary"}}), nil},
		"another audience":       {good(map[string]any{"aud": "other"}), ErrUnauthorized},
		"no audience":            {good(map[string]any{"aud": nil}), ErrUnauthorized},
		"another issuer":         {other.sign(es256, other.key, other.claims(now, nil)), ErrUnauthorized},
		"another issuer's key":   {other.sign(es256, other.key, i.claims(now, nil)), ErrUnauthorized},
		"issuer with a slash":    {good(map[string]any{"iss": i.URL + "/"}), ErrUnauthorized},
		"expired":                {good(map[string]any{"exp": now.Add(-time.Second).Unix()}), ErrUnauthorized},
		"no expiry":              {good(map[string]any{"exp": nil}), ErrUnauthorized},
		"not yet good":           {good(map[string]any{"nbf": now.Add(time.Hour).Unix()}), ErrUnauthorized},
		"alg none":               {i.sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, i.claims(now, nil)), ErrUnauthorized},
		"HS256 with a known key": {i.sign(jwt.SigningMethodHS256, []byte("granary"), i.claims(now, nil)), ErrUnauthorized},
		"signature cut":          {strings.TrimRight(good(nil), "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"), ErrUnauthorized},
		"no token":               {"", ErrUnauthorized},
		"not a token":            {"a.b.c", ErrUnauthorized},
		"too long":               {good(map[string]any{"x": strings.Repeat("x", maxIDToken)}), ErrUnauthorized},
		"another repository":     {good(map[string]any{"repository": "evil/app"}), ErrForbidden},
		"no repository":          {good(map[string]any{"repository": nil}), ErrForbidden},
		"a repository in a list": {good(map[string]any{"repository": map[string]any{"acme/app": 1}}), ErrForbidden},
		"another branch":         {good(map[string]any{"ref": "refs/heads/main2"}), ErrForbidden},
		"no group":               {good(map[string]any{"groups": []string{"x"}}), ErrForbidden},
		"no nested role":         {good(map[string]any{"realm_access": "publisher"}), ErrForbidden},
	} {
		session, err := s.Exchange(t.Context(), Secret(tt.token))
		if !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", name, err, tt.want)
		}
		if err != nil {
			continue
		}
		id := identity(t, s, "Bearer "+string(session.Token))
		if id.Name != "robot" || !id.Can("write", "app-1") || id.Can("write", "x") || session.Life != 10*time.Minute {
			t.Errorf("%s: %+v for %v", name, id, session.Life)
		}
	}
}

func TestExchangeOnce(t *testing.T) {
	c := newClock()
	s, i, _ := trusting(t, c, http.DefaultClient)
	token := i.sign(jwt.SigningMethodES256, i.key, i.claims(c.now(), nil))
	session, err := s.Exchange(t.Context(), Secret(token))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Exchange(t.Context(), Secret(token)); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("a replay: %v", err)
	}
	c.add(10 * time.Minute)
	refused(t, s, "Bearer "+string(session.Token))
	if n := i.asks.Load(); n != 1 {
		t.Errorf("the issuer was asked %d times what it is", n)
	}
}

func TestExchangeEnds(t *testing.T) {
	c := newClock()
	for name, end := range map[string]func(s *Service) error{
		"settings removed":        func(s *Service) error { return s.RemoveProviders(t.Context()) },
		"service account deleted": func(s *Service) error { return s.DeleteUser(t.Context(), "robot") },
	} {
		s, i, _ := trusting(t, c, http.DefaultClient)
		if err := end(s); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Exchange(t.Context(), Secret(i.sign(jwt.SigningMethodES256, i.key, i.claims(c.now(), nil)))); err == nil {
			t.Errorf("%s: exchanged", name)
		}
	}
	s, i, _ := trusting(t, c, http.DefaultClient)
	session, err := s.Exchange(t.Context(), Secret(i.sign(jwt.SigningMethodES256, i.key, i.claims(c.now(), nil))))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.RevokeTokens(t.Context(), System(), "robot"); err != nil {
		t.Fatal(err)
	}
	refused(t, s, "Bearer "+string(session.Token))
}

// An issuer that can't be asked lets nobody in.
func TestIssuerDown(t *testing.T) {
	c := newClock()
	s, i, _ := trusting(t, c, http.DefaultClient)
	token := i.sign(jwt.SigningMethodES256, i.key, i.claims(c.now(), nil))
	i.Close()
	if _, err := s.Exchange(t.Context(), Secret(token)); !errors.Is(err, ErrUnauthorized) {
		t.Errorf("got %v", err)
	}
}

func TestWorkloadRules(t *testing.T) {
	c := newClock()
	s, _, w := trusting(t, c, http.DefaultClient)
	for field, change := range map[string]func(*Workload){
		"issuer":       func(w *Workload) { w.Issuer = "http://issuer.example.com" },
		"issuer ":      func(w *Workload) { w.Issuer = "file:///etc/passwd" },
		"issuer  ":     func(w *Workload) { w.Issuer = "https://u:p@issuer.example.com" },
		"issuer   ":    func(w *Workload) { w.Issuer = "https://issuer.example.com/?x" },
		"audience":     func(w *Workload) { w.Audience = "" },
		"claims":       func(w *Workload) { w.Claims = nil },
		"claims ":      func(w *Workload) { w.Claims = map[string]string{"ref": "a\nb"} },
		"username":     func(w *Workload) { w.Username = "ann" },
		"username ":    func(w *Workload) { w.Username = "nobody" },
		"expires_secs": func(w *Workload) { w.Life = time.Second },
	} {
		bad := w
		change(&bad)
		err := s.SetProviders(t.Context(), OIDC{Workloads: []Workload{bad}})
		var invalid *FieldError
		if !errors.As(err, &invalid) || invalid.Field != "workloads[0]."+strings.TrimSpace(field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

func FuzzUnverified(f *testing.F) {
	f.Add("a.b.c")
	f.Add("e30.eyJpc3MiOiJ4IiwiYXVkIjpbInkiXX0.")
	f.Add("e30.eyJhdWQiOjF9.x")
	f.Fuzz(func(t *testing.T, token string) {
		if _, audiences, err := unverified(token); err != nil && audiences != nil {
			t.Error("an error and yet audiences")
		}
	})
}
