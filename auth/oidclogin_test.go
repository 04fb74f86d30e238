package auth

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const callbackURL = "https://granary.example.com/api/v1/auth/oidc/callback"

// authorize plays the user who logs in and agrees.
func (i *issuer) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("client_id") != "granary" || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" {
		i.t.Errorf("authorize %v", q)
	}
	i.challenge, i.nonce, i.redirect = q.Get("code_challenge"), q.Get("nonce"), q.Get("redirect_uri")
	back := url.Values{"code": {"the-code"}, "state": {q.Get("state")}}
	w.Header().Set("Location", i.redirect+"?"+back.Encode())
	w.WriteHeader(http.StatusFound)
}

func (i *issuer) token(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	if id == "" {
		id, secret = r.FormValue("client_id"), r.FormValue("client_secret")
	}
	sum := sha256.Sum256([]byte(r.FormValue("code_verifier")))
	if id != "granary" || secret != "client-secret" || r.FormValue("code") != "the-code" || r.FormValue("redirect_uri") != i.redirect ||
		base64.RawURLEncoding.EncodeToString(sum[:]) != i.challenge {
		w.WriteHeader(http.StatusBadRequest)
		i.answer(w, map[string]string{"error": "invalid_grant"})
		return
	}
	claims := i.claims(time.Unix(i.now.Load(), 0), i.user)
	if _, ok := claims["nonce"]; !ok {
		claims["nonce"] = i.nonce
	}
	i.answer(w, map[string]any{
		"access_token": "x", "token_type": "Bearer", "expires_in": 60, "id_token": i.signer(claims),
	})
}

// visit follows a browser through the provider.
func visit(t *testing.T, to string) (code, state string) {
	t.Helper()
	c := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := c.Get(to)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	back, err := res.Location()
	if err != nil {
		t.Fatal(err)
	}
	return back.Query().Get("code"), back.Query().Get("state")
}

// loggingIn is a service that lets people in with an issuer.
type loggingIn struct {
	*Service
	*issuer
	t *testing.T
}

func newLoggingIn(t *testing.T, c *clock) *loggingIn {
	s, i, _ := trusting(t, c, http.DefaultClient)
	i.now.Store(c.now().Unix())
	l := &loggingIn{s, i, t}
	l.set(func(*ProviderLogin) {})
	return l
}

func (l *loggingIn) set(change func(*ProviderLogin)) {
	l.t.Helper()
	p := ProviderLogin{
		Issuer: l.URL, ClientID: "granary", ClientSecret: "client-secret", GroupRoles: map[string]string{"ops": "robot", "bosses": AdminRole},
	}
	change(&p)
	if err := l.SetProviders(l.t.Context(), OIDC{Login: &p}); err != nil {
		l.t.Fatal(err)
	}
}

func (l *loggingIn) begin() (Secret, Returned) {
	l.t.Helper()
	to, state, err := l.BeginLogin(l.t.Context(), callbackURL)
	if err != nil {
		l.t.Fatal(err)
	}
	code, returned := visit(l.t, to)
	return state, Returned{Code: code, State: returned}
}

// finish logs a user of the claims in; more replaces those of a good one.
func (l *loggingIn) finish(user map[string]any) (Session, error) {
	l.t.Helper()
	l.user = user
	state, back := l.begin()
	return l.FinishLogin(l.t.Context(), state, back, callbackURL)
}

func TestProviderLogin(t *testing.T) {
	l := newLoggingIn(t, newClock())
	session, err := l.finish(map[string]any{"preferred_username": "olga", "sub": "1"})
	if err != nil {
		t.Fatal(err)
	}
	id := identity(t, l.Service, "Bearer "+string(session.Token))
	if id.Name != "olga" || !id.Can("write", "app-1") || id.Can("write", "x") || id.Admin() {
		t.Errorf("%+v", id)
	}
	if u, err := l.User("olga"); err != nil || u.Kind != ProviderUser {
		t.Errorf("%+v, %v", u, err)
	}
	refused(t, l.Service, basic("olga", ""))
	refused(t, l.Service, basic("olga", "secret"))
	if _, err := l.finish(map[string]any{"preferred_username": "olga", "sub": "1", "groups": []string{"bosses"}}); err != nil {
		t.Fatal(err)
	}
	if id := identity(t, l.Service, "Bearer "+string(session.Token)); !id.Admin() {
		t.Errorf("new groups do not hold for a session from before: %+v", id)
	}
	for _, groups := range []any{nil, []string{}, []string{"Ops", "OPS"}, "bosse", map[string]any{"ops": true}} {
		s, err := l.finish(map[string]any{"preferred_username": "olga", "sub": "1", "groups": groups})
		if !errors.Is(err, ErrForbidden) || s.Token != "" || s.Username != "olga" {
			t.Errorf("groups %v: %v", groups, err)
		}
	}
	if id := identity(t, l.Service, "Bearer "+string(session.Token)); id.Admin() || id.Can("read", "app-1") {
		t.Errorf("rights outlive the groups: %+v", id)
	}
	if _, err := l.finish(map[string]any{"preferred_username": "gus", "sub": "9", "groups": nil}); !errors.Is(err, ErrForbidden) {
		t.Error(err)
	}
	if _, err := l.User("gus"); err == nil {
		t.Error("who was not let in has a record")
	}
}

func TestProviderTokens(t *testing.T) {
	c := newClock()
	l := newLoggingIn(t, c)
	if _, err := l.finish(map[string]any{"preferred_username": "olga", "sub": "1"}); err != nil {
		t.Fatal(err)
	}
	other := newIssuer(t)
	for name, user := range map[string]map[string]any{
		"another subject of the name": {"preferred_username": "olga", "sub": "2"},
		"name of a built-in user":     {"preferred_username": "admin", "sub": "3"},
		"name that none can have":     {"preferred_username": "a b", "sub": "4"},
		"control characters":          {"preferred_username": "a\nb", "sub": "4"},
		"no name":                     {"sub": "5"},
		"many names":                  {"preferred_username": []string{"pia", "admin"}, "sub": "5"},
		"another audience":            {"preferred_username": "pia", "sub": "6", "aud": "other"},
		"another client's":            {"preferred_username": "pia", "sub": "6", "aud": []string{"granary", "other"}, "azp": "other"},
		"of nobody in particular":     {"preferred_username": "pia", "sub": "6", "aud": []string{"granary", "other"}},
		"another issuer":              {"preferred_username": "pia", "sub": "6", "iss": other.URL},
		"another nonce":               {"preferred_username": "pia", "sub": "6", "nonce": "x"},
		"no nonce":                    {"preferred_username": "pia", "sub": "6", "nonce": ""},
		"expired":                     {"preferred_username": "pia", "sub": "6", "exp": c.now().Add(-time.Minute).Unix()},
		"not yet good":                {"preferred_username": "pia", "sub": "6", "nbf": c.now().Add(time.Hour).Unix()},
	} {
		if _, err := l.finish(user); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("%s: %v", name, err)
		}
	}
	good := l.signer
	for name, signer := range map[string]func(jwt.MapClaims) string{
		"alg none": func(c jwt.MapClaims) string {
			return l.issuer.sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, c)
		},
		"the secret as key":    func(c jwt.MapClaims) string { return l.issuer.sign(jwt.SigningMethodHS256, []byte("client-secret"), c) },
		"another issuer's key": func(c jwt.MapClaims) string { return l.issuer.sign(jwt.SigningMethodES256, other.key, c) },
		"no token":             func(jwt.MapClaims) string { return "" },
	} {
		l.signer = signer
		if _, err := l.finish(map[string]any{"preferred_username": "pia", "sub": "6"}); !errors.Is(err, ErrUnauthorized) {
			t.Errorf("%s: %v", name, err)
		}
	}
	l.signer = good
	l.set(func(p *ProviderLogin) { p.UsernameClaim = "email" })
	for verified, want := range map[any]error{false: ErrUnauthorized, "true": ErrUnauthorized, true: nil, nil: nil} {
		if _, err := l.finish(map[string]any{"email": "pia@example.com", "sub": "6", "email_verified": verified}); !errors.Is(err, want) {
			t.Errorf("an address with email_verified %v: %v", verified, err)
		}
	}
}

func TestProviderStates(t *testing.T) {
	c := newClock()
	l := newLoggingIn(t, c)
	session, err := l.finish(map[string]any{"preferred_username": "pia", "sub": "6"})
	if err != nil {
		t.Fatal(err)
	}
	state, back := l.begin()
	other, otherBack := l.begin() // the issuer knows this challenge
	with := func(change func(*Returned)) Returned {
		b := back
		change(&b)
		return b
	}
	for _, tt := range []struct {
		name string
		kept Secret
		back Returned
		want error
	}{
		{"no state", "", back, ErrInvalid},
		{"a session as a state", session.Token, back, ErrInvalid},
		{"of another browser", state, otherBack, ErrInvalid},
		{"forged", state, with(func(b *Returned) { b.State = "x" }), ErrInvalid},
		{"changed", state[:len(state)-8] + "AAAAAAAA", back, ErrInvalid},
		{"another provider's answer", state, with(func(b *Returned) { b.Issuer = "https://evil.example.com" }), ErrUnauthorized},
		{"the provider refuses", state, with(func(b *Returned) { b.Code, b.Error = "", "access_denied" }), ErrUnauthorized},
		{"no code", state, with(func(b *Returned) { b.Code = "" }), ErrUnauthorized},
		{"another's verifier", state, back, ErrUnauthorized},
		{"a second time", state, back, ErrInvalid},
		{"another code", other, Returned{Code: "stolen", State: otherBack.State}, ErrUnauthorized},
	} {
		if _, err := l.FinishLogin(t.Context(), tt.kept, tt.back, callbackURL); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	state, back = l.begin()
	refused(t, l.Service, "Bearer "+string(state)) // is no session
	if _, err := l.FinishLogin(t.Context(), state, back, callbackURL); err != nil {
		t.Error(err)
	}
	if _, err := l.FinishLogin(t.Context(), state, back, callbackURL); !errors.Is(err, ErrInvalid) {
		t.Errorf("a replay: %v", err)
	}
	state, back = l.begin()
	c.add(loginLife)
	if _, err := l.FinishLogin(t.Context(), state, back, callbackURL); !errors.Is(err, ErrInvalid) {
		t.Errorf("after ten minutes: %v", err)
	}
}

// Any node ends what another one began, once.
func TestProviderLoginOverNodes(t *testing.T) {
	c := newClock()
	l := newLoggingIn(t, c)
	l.user = map[string]any{"preferred_username": "pia", "sub": "6"}
	other := newService(t, Options{KV: l.kv, Now: c.now})
	state, back := l.begin()
	session, err := other.FinishLogin(t.Context(), state, back, callbackURL)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if id := identity(t, l.Service, "Bearer "+string(session.Token)); id.Name != "pia" {
		t.Errorf("%+v", id)
	}
	if _, err := l.FinishLogin(t.Context(), state, back, callbackURL); !errors.Is(err, ErrInvalid) {
		t.Errorf("a second time, on the first node: %v", err)
	}
}

// A log-in that began with one provider does not end with another, and users of
// a provider that is gone have no credentials.
func TestProviderChanges(t *testing.T) {
	c := newClock()
	l := newLoggingIn(t, c)
	session, err := l.finish(map[string]any{"preferred_username": "pia", "sub": "6"})
	if err != nil {
		t.Fatal(err)
	}
	state, back := l.begin()
	other := newIssuer(t)
	other.now.Store(c.now().Unix())
	l.set(func(p *ProviderLogin) { p.Issuer = other.URL })
	if _, err := l.FinishLogin(t.Context(), state, back, callbackURL); !errors.Is(err, ErrInvalid) {
		t.Errorf("begun with another provider: %v", err)
	}
	refused(t, l.Service, "Bearer "+string(session.Token))
	l.set(func(*ProviderLogin) {})
	if id := identity(t, l.Service, "Bearer "+string(session.Token)); id.Name != "pia" {
		t.Errorf("%+v", id)
	}
	if err := l.RemoveProviders(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused(t, l.Service, "Bearer "+string(session.Token))
	if _, _, err := l.BeginLogin(t.Context(), callbackURL); !errors.Is(err, ErrNotFound) {
		t.Errorf("without a provider: %v", err)
	}
}

// What begins log-ins can be done by everybody, so that an issuer that does not
// answer is not asked each time.
func TestProviderDown(t *testing.T) {
	c := newClock()
	l := newLoggingIn(t, c)
	l.broken.Store(true)
	for range 3 {
		if _, _, err := l.BeginLogin(t.Context(), callbackURL); !errors.Is(err, ErrProviderDown) {
			t.Errorf("got %v", err)
		}
	}
	if n := l.asks.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	l.broken.Store(false)
	c.add(failureLife)
	l.begin()
}

func TestProviderEndpoints(t *testing.T) {
	for endpoint, want := range map[string]bool{
		"": true, "https://id.example.com/token": true, "http://127.0.0.1:1/token": true,
		"http://id.example.com/token": false, "javascript:alert(1)": false, "https:///token": false, "file:///etc/passwd": false, "//x": false, "%": false,
	} {
		if got := safeEndpoint(endpoint); got != want {
			t.Errorf("%q: %v", endpoint, got)
		}
	}
}

func TestLoginRules(t *testing.T) {
	s, i, _ := trusting(t, newClock(), http.DefaultClient)
	for field, change := range map[string]func(*ProviderLogin){
		"issuer":             func(l *ProviderLogin) { l.Issuer = "http://id.example.com" },
		"issuer ":            func(l *ProviderLogin) { l.Issuer = "" },
		"client_id":          func(l *ProviderLogin) { l.ClientID = "" },
		"client_secret":      func(l *ProviderLogin) { l.ClientSecret = "a\x00" },
		"username_claim":     func(l *ProviderLogin) { l.UsernameClaim = "a\nb" },
		"groups_claim":       func(l *ProviderLogin) { l.GroupsClaim = "a\nb" },
		"scopes":             func(l *ProviderLogin) { l.Scopes = []string{"a b"} },
		"group_role_mapping": func(l *ProviderLogin) { l.GroupRoles = map[string]string{"x": "nobody"} },
	} {
		l := ProviderLogin{Issuer: i.URL, ClientID: "granary"}
		change(&l)
		err := s.SetProviders(t.Context(), OIDC{Login: &l})
		var invalid *FieldError
		if !errors.As(err, &invalid) || invalid.Field != "login."+strings.TrimSpace(field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	secret := ProviderLogin{Issuer: i.URL, ClientID: "granary", ClientSecret: "client-secret"}
	if text := fmt.Sprintf("%v %+v %#v", secret, &secret, OIDC{Login: &secret}); strings.Contains(text, "client-secret") {
		t.Errorf("the secret is printed: %s", text)
	}
}
