package integration_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	clientID     = "granary"
	clientSecret = "client secret: with +/% in it"
)

// issuer is an OpenID Connect provider as strict as the specifications let one
// be: redirect URIs are registered, PKCE with S256 is required, a code is good
// once, for the client and redirect URI that it was given for. Who comes to its
// log-in page is logged in as user.
type issuer struct {
	*httptest.Server
	t testing.TB

	mu        sync.Mutex // protects the fields below
	redirects map[string]bool
	keys      []signer // the first one signs
	codes     map[string]grant
	user      jwt.MapClaims
	refuse    bool                       // the user says no
	forge     func(jwt.MapClaims) string // "": signs as it should
	say       func(map[string]any)       // changes the discovery document
	back      func(url.Values)           // changes what the browser brings back
	asked     map[string]int             // by path
}

type signer struct {
	id  string
	key *ecdsa.PrivateKey
}

// grant is what a code is good for.
type grant struct {
	redirect, challenge, nonce string
	user                       jwt.MapClaims
}

func startIssuer(t testing.TB, redirects ...string) *issuer {
	t.Helper()
	i := &issuer{t: t, redirects: map[string]bool{}, codes: map[string]grant{}, asked: map[string]int{}}
	for _, r := range redirects {
		i.redirects[r] = true
	}
	i.rotate(true)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", i.discovery)
	mux.HandleFunc("GET /keys", i.jwks)
	mux.HandleFunc("GET /authorize", i.authorize)
	mux.HandleFunc("POST /token", i.token)
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.mu.Lock()
		defer i.mu.Unlock()
		i.asked[r.URL.Path]++
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(i.Close)
	return i
}

// set changes the issuer between requests.
func (i *issuer) set(change func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	change()
}

// rotate signs with a new key from now on; the old one goes unless it is kept.
func (i *issuer) rotate(keep bool) {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	old := i.keys
	if !keep {
		old = nil
	}
	i.keys = append([]signer{{fmt.Sprintf("key-%d", time.Now().UnixNano()), key}}, old...)
}

func (i *issuer) answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(v); err != nil {
		i.t.Error(err)
	}
}

func (i *issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	doc := map[string]any{
		"issuer": i.URL, "jwks_uri": i.URL + "/keys", "authorization_endpoint": i.URL + "/authorize", "token_endpoint": i.URL + "/token",
		"response_types_supported": []string{"code"}, "code_challenge_methods_supported": []string{"S256"},
		"id_token_signing_alg_values_supported": []string{"ES256"}, "authorization_response_iss_parameter_supported": true,
	}
	if i.say != nil {
		i.say(doc)
	}
	i.answer(w, http.StatusOK, doc)
}

func (i *issuer) jwks(w http.ResponseWriter, _ *http.Request) {
	var keys []any
	for _, k := range i.keys {
		point, err := k.key.PublicKey.Bytes() // 4, X, Y
		if err != nil {
			i.t.Error(err)
		}
		keys = append(keys, map[string]any{
			"kty": "EC", "crv": "P-256", "kid": k.id, "alg": "ES256", "use": "sig",
			"x": base64.RawURLEncoding.EncodeToString(point[1:33]), "y": base64.RawURLEncoding.EncodeToString(point[33:]),
		})
	}
	i.answer(w, http.StatusOK, map[string]any{"keys": keys})
}

func (i *issuer) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	challenge, err := base64.RawURLEncoding.DecodeString(q.Get("code_challenge"))
	if q.Get("client_id") != clientID || q.Get("response_type") != "code" || !i.redirects[q.Get("redirect_uri")] || q.Get("scope") != "openid groups" ||
		q.Get("code_challenge_method") != "S256" || err != nil || len(challenge) != sha256.Size || len(q.Get("state")) < 32 || len(q.Get("nonce")) < 32 {
		i.answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_request", "query": r.URL.RawQuery})
		return
	}
	back := url.Values{"state": {q.Get("state")}, "iss": {i.URL}}
	if i.refuse {
		back.Set("error", "access_denied")
	} else {
		code := rand.Text()
		i.codes[code] = grant{q.Get("redirect_uri"), q.Get("code_challenge"), q.Get("nonce"), maps.Clone(i.user)}
		back.Set("code", code)
	}
	if i.back != nil {
		i.back(back)
	}
	http.Redirect(w, r, q.Get("redirect_uri")+"?"+back.Encode(), http.StatusFound)
}

func (i *issuer) token(w http.ResponseWriter, r *http.Request) {
	id, secret, _ := r.BasicAuth()
	id, _ = url.QueryUnescape(id) // RFC 6749, 2.3.1
	secret, _ = url.QueryUnescape(secret)
	g, ok := i.codes[r.PostFormValue("code")]
	delete(i.codes, r.PostFormValue("code"))
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	switch {
	case id != clientID || secret != clientSecret:
		i.answer(w, http.StatusUnauthorized, map[string]string{"error": "invalid_client"})
		return
	case !ok || r.PostFormValue("grant_type") != "authorization_code" || r.PostFormValue("redirect_uri") != g.redirect ||
		base64.RawURLEncoding.EncodeToString(sum[:]) != g.challenge:
		i.answer(w, http.StatusBadRequest, map[string]string{"error": "invalid_grant"})
		return
	}
	claims := jwt.MapClaims{
		"iss": i.URL, "aud": clientID, "nonce": g.nonce, "iat": time.Now().Unix(), "exp": time.Now().Add(5 * time.Minute).Unix(),
	}
	maps.Copy(claims, g.user)
	forge := i.forge
	if forge == nil {
		forge = i.sign
	}
	i.answer(w, http.StatusOK, map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "expires_in": 60, "id_token": forge(claims)})
}

func (i *issuer) sign(c jwt.MapClaims) string {
	return i.signWith(jwt.SigningMethodES256, i.keys[0].key, c)
}

func (i *issuer) signWith(m jwt.SigningMethod, key any, c jwt.MapClaims) string {
	t := jwt.NewWithClaims(m, c)
	t.Header["kid"] = i.keys[0].id
	text, err := t.SignedString(key)
	if err != nil {
		i.t.Error(err)
	}
	return text
}
