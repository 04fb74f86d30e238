package integration_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"granary/integration/node"
)

const (
	oidcLogin    = "/api/v1/auth/oidc/login"
	oidcCallback = "/api/v1/auth/oidc/callback"
	oidcSettings = "/api/v1/settings/oidc"
)

// newBrowser has cookies and follows redirects.
func newBrowser(t *testing.T, n *node.Node) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(n.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	tr := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: tr, Timeout: time.Minute}
}

// open is a browser at an address, with what it ends up with.
func open(t *testing.T, b *http.Client, address string) (res *http.Response, body []byte) {
	t.Helper()
	res, err := b.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err = io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	return res, body
}

// stopAt lets the browser follow redirects until the one to a path.
func stopAt(b *http.Client, path string) *http.Client {
	stops := *b
	stops.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
		if r.URL.Path == path {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return &stops
}

// comesBack is the address that the provider sends the browser back to, not yet
// opened.
func comesBack(t *testing.T, b *http.Client, n *node.Node) string {
	t.Helper()
	res, body := open(t, stopAt(b, oidcCallback), n.URL+oidcLogin)
	back, err := res.Location()
	if err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	return back.String()
}

func (i *issuer) settings(more map[string]any) io.Reader {
	login := map[string]any{
		"issuer": i.URL, "client_id": clientID, "client_secret": clientSecret, "scopes": []string{"groups"},
		"group_role_mapping": map[string]string{"readers": "read-only", "bosses": "admin"},
	}
	for k, v := range more {
		login[k] = v
	}
	b, err := json.Marshal(map[string]any{"login": login})
	if err != nil {
		i.t.Fatal(err)
	}
	return bytes.NewReader(b)
}

// startLogin is a node that lets people in with an issuer.
func startLogin(t *testing.T) (*node.Node, *issuer) {
	t.Helper()
	n := node.Start(t, node.Options{Env: []string{"GRANARY_SECRET_KEY=a key of sixteen bytes or more"}})
	i := startIssuer(t, n.URL+oidcCallback, n.TLS+oidcCallback)
	n.Create(`{"name":"files","repo_type":"hosted","format":"raw"}`)
	if b := n.Want(200, "PUT", oidcSettings, i.settings(nil), "Content-Type", jsonType); bytes.Contains(b, []byte(clientSecret)) {
		t.Errorf("the answer has the secret: %s", b)
	}
	return n, i
}

func person(name, sub string, groups ...string) jwt.MapClaims {
	return jwt.MapClaims{"preferred_username": name, "sub": sub, "groups": groups}
}

// logsIn opens the log-in of a server, as a user of the issuer.
func (i *issuer) logsIn(b *http.Client, server string, user jwt.MapClaims) (status int, token string) {
	i.t.Helper()
	i.set(func() { i.user = user })
	t := i.t.(*testing.T)
	res, body := open(t, b, server+oidcLogin)
	var s struct {
		Token string
		Must  *bool `json:"must_change_password"`
	}
	if res.StatusCode == 200 {
		if err := json.Unmarshal(body, &s); err != nil || s.Must == nil || *s.Must || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s, %v, %v", body, err, res.Header)
		}
	} else if res.Header.Get("Www-Authenticate") == `Basic realm="granary"` {
		t.Error("the browser would ask for a password")
	}
	return res.StatusCode, s.Token
}

func TestOIDCLogin(t *testing.T) {
	n, i := startLogin(t)
	for _, server := range []string{n.URL, n.TLS} {
		b := newBrowser(t, n)
		status, token := i.logsIn(b, server, person("olga", "1", "others", "readers"))
		if status != 200 || bearer(t, n, token, "/repository/files/x") != 404 || bearer(t, n, token, "/api/v1/users") != 403 {
			t.Fatalf("%s: %d, and the token does not fit the role", server, status)
		}
		at, err := url.Parse(server)
		if err != nil {
			t.Fatal(err)
		}
		if left := b.Jar.Cookies(at); len(left) != 0 {
			t.Errorf("%s: cookies after the log-in: %v", server, left)
		}
		if c := strings.ToLower(string(n.Want(200, "GET", "/api/v1/users/olga", nil))); !strings.Contains(c, `"kind":"oidc"`) || !strings.Contains(c, `"roles":["read-only"]`) {
			t.Errorf("user %s", c)
		}
	}

	t.Run("cookie", func(t *testing.T) {
		for server, want := range map[string]string{n.URL: "granary_oidc=", n.TLS: "__Host-granary_oidc="} {
			res, _ := open(t, stopAt(newBrowser(t, n), "/authorize"), server+oidcLogin)
			c := res.Header.Get("Set-Cookie")
			if res.StatusCode != 302 || !strings.HasPrefix(c, want) || !strings.Contains(c, "HttpOnly") || !strings.Contains(c, "SameSite=Lax") ||
				strings.Contains(c, "Secure") != strings.HasPrefix(server, "https") {
				t.Errorf("%s: %d, cookie %q", server, res.StatusCode, c)
			}
		}
	})

	t.Run("groups", func(t *testing.T) {
		b := newBrowser(t, n)
		_, boss := i.logsIn(b, n.URL, person("bert", "2", "bosses"))
		if got := bearer(t, n, boss, "/api/v1/users"); got != 200 {
			t.Errorf("a boss lists users: %d", got)
		}
		for _, groups := range [][]string{{}, {"Bosses"}, {"bosses "}, {"boss"}} {
			if status, _ := i.logsIn(b, n.URL, person("bert", "2", groups...)); status != 403 {
				t.Errorf("groups %q: %d", groups, status)
			}
		}
		if got := bearer(t, n, boss, "/api/v1/users"); got != 403 {
			t.Errorf("after the group was taken away: %d", got)
		}
		if status, _ := i.logsIn(b, n.URL, person("gus", "3")); status != 403 {
			t.Errorf("without a group: %d", status)
		}
		n.Want(404, "GET", "/api/v1/users/gus", nil)
	})

	t.Run("keys are rotated", func(t *testing.T) {
		for _, keep := range []bool{true, false} {
			i.set(func() { i.rotate(keep) })
			if status, _ := i.logsIn(newBrowser(t, n), n.URL, person("olga", "1", "readers")); status != 200 {
				t.Errorf("the old key is kept: %v: %d", keep, status)
			}
		}
	})

	t.Run("log-out", func(t *testing.T) {
		_, token := i.logsIn(newBrowser(t, n), n.URL, person("olga", "1", "readers"))
		if res, body := n.Do("POST", "/api/v1/users/olga/revoke-tokens", nil, "Authorization", "Bearer "+token); res.StatusCode != 204 {
			t.Errorf("%d %s", res.StatusCode, body)
		}
		if got := bearer(t, n, token, "/repository/files/x"); got != 401 {
			t.Errorf("after the log-out: %d", got)
		}
		_, token = i.logsIn(newBrowser(t, n), n.URL, person("olga", "1", "readers"))
		n.Want(204, "POST", "/api/v1/users/olga/revoke-tokens", nil)
		if got := bearer(t, n, token, "/repository/files/x"); got != 401 {
			t.Errorf("after an administrator revoked: %d", got)
		}
	})

	t.Run("restart", func(t *testing.T) {
		_, token := i.logsIn(newBrowser(t, n), n.URL, person("olga", "1", "readers"))
		n.Stop()
		n.Restart()
		if got := bearer(t, n, token, "/repository/files/x"); got != 404 {
			t.Errorf("a session from before: %d", got)
		}
		if b := n.Want(200, "GET", oidcSettings, nil); !bytes.Contains(b, []byte(`"client_secret":"********"`)) || bytes.Contains(b, []byte(clientSecret)) {
			t.Errorf("settings %s", b)
		}
		n.Want(200, "PUT", oidcSettings, i.settings(map[string]any{"client_secret": "********"}), "Content-Type", jsonType)
		if status, _ := i.logsIn(newBrowser(t, n), n.URL, person("olga", "1", "readers")); status != 200 {
			t.Errorf("with the secret that was kept: %d", status)
		}
	})

	t.Run("audit", func(t *testing.T) {
		var page struct {
			Entries []struct {
				Username, Action, Path string
				Status                 int
			}
		}
		seen := func(name string, status int) bool {
			body := n.Want(200, "GET", "/api/v1/audit?action=finish-oidc&limit=1000", nil)
			if err := json.Unmarshal(body, &page); err != nil {
				t.Fatal(err)
			}
			for _, e := range page.Entries {
				if strings.ContainsAny(e.Path, "?=") {
					t.Errorf("the log has a query: %s", e.Path)
				}
				if e.Username == name && e.Status == status {
					return true
				}
			}
			return false
		}
		// Entries are written once a second.
		for deadline := time.Now().Add(time.Minute); !seen("olga", 200) || !seen("gus", 403) || !seen("bert", 403); time.Sleep(200 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("entries %+v", page.Entries)
			}
		}
	})

	t.Run("settings removed", func(t *testing.T) {
		_, token := i.logsIn(newBrowser(t, n), n.URL, person("olga", "1", "readers"))
		n.Want(204, "DELETE", oidcSettings, nil)
		if got := bearer(t, n, token, "/repository/files/x"); got != 401 {
			t.Errorf("a session of a provider that is gone: %d", got)
		}
		if res, _ := open(t, newBrowser(t, n), n.URL+oidcLogin); res.StatusCode != 404 {
			t.Errorf("log-in without a provider: %d", res.StatusCode)
		}
	})
}

func TestOIDCBadInput(t *testing.T) {
	n, i := startLogin(t)
	olga := person("olga", "1", "readers")
	if status, _ := i.logsIn(newBrowser(t, n), n.URL, olga); status != 200 {
		t.Fatalf("a good log-in: %d", status)
	}

	t.Run("ID tokens", func(t *testing.T) {
		other := startIssuer(t)
		with := func(name string, value any) func(jwt.MapClaims) string {
			return func(c jwt.MapClaims) string {
				c[name] = value
				return i.sign(c)
			}
		}
		for name, forge := range map[string]func(jwt.MapClaims) string{
			"alg none": func(c jwt.MapClaims) string {
				return i.signWith(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, c)
			},
			"HS256, client secret": func(c jwt.MapClaims) string { return i.signWith(jwt.SigningMethodHS256, []byte(clientSecret), c) },
			"a stranger's key":     func(c jwt.MapClaims) string { return i.signWith(jwt.SigningMethodES256, other.keys[0].key, c) },
			"another audience":     with("aud", "another"),
			"another's besides":    with("aud", []string{clientID, "another"}),
			"another client":       with("azp", "another"),
			"another issuer":       with("iss", other.URL),
			"another nonce":        with("nonce", "another"),
			"expired":              with("exp", time.Now().Add(-time.Minute).Unix()),
			"not yet":              with("nbf", time.Now().Add(time.Hour).Unix()),
			"another subject":      with("sub", "2"),
			"a built-in name":      with("preferred_username", "admin"),
			"control characters":   with("preferred_username", "olga\x00"),
			"a long name":          with("preferred_username", strings.Repeat("o", 5000)),
			"no token":             func(jwt.MapClaims) string { return "" },
			"no JWT":               func(jwt.MapClaims) string { return "a.b.c" },
			"a huge token":         with("more", strings.Repeat("o", 1<<20)),
		} {
			i.set(func() { i.forge = forge })
			if status, token := i.logsIn(newBrowser(t, n), n.URL, olga); status != 401 && status != 502 || token != "" {
				t.Errorf("%s: %d", name, status)
			}
		}
		i.set(func() { i.forge = nil })
	})

	t.Run("states", func(t *testing.T) {
		i.set(func() { i.user = olga })
		b := newBrowser(t, n)
		back := comesBack(t, b, n)
		change := func(address, name, value string) string {
			u, err := url.Parse(address)
			if err != nil {
				t.Fatal(err)
			}
			q := u.Query()
			q.Set(name, value)
			u.RawQuery = q.Encode()
			return u.String()
		}
		refused := func(name string, b *http.Client, address string, want int) {
			t.Helper()
			if res, body := open(t, b, address); res.StatusCode != want || bytes.Contains(body, []byte("token\":")) {
				t.Errorf("%s: %d %s, want %d", name, res.StatusCode, body, want)
			}
		}
		refused("log-in CSRF: a victim's browser", newBrowser(t, n), back, 400)
		if res, _ := open(t, b, back); res.StatusCode != 200 {
			t.Errorf("the browser's own: %d", res.StatusCode)
		}
		refused("replayed, the cookie is gone", b, back, 400)

		b = newBrowser(t, n)
		back = comesBack(t, b, n)
		at, err := url.Parse(n.URL)
		if err != nil {
			t.Fatal(err)
		}
		kept := b.Jar.Cookies(at)
		keep := func() *http.Client { b.Jar.SetCookies(at, kept); return b }
		refused("a forged state", keep(), change(back, "state", "x"), 400)
		refused("no state", keep(), change(back, "state", ""), 400)
		refused("mix-up: another provider's answer", keep(), change(back, "iss", "https://evil.example.com"), 401)
		refused("mix-up: nobody's answer", keep(), change(back, "iss", ""), 401)
		b = newBrowser(t, n)
		back = comesBack(t, b, n)
		kept = b.Jar.Cookies(at)
		if res, _ := open(t, keep(), back); res.StatusCode != 200 {
			t.Errorf("a further log-in: %d", res.StatusCode)
		}
		refused("replayed with the cookie", keep(), back, 400)

		// A code of somebody else's log-in is bound to a verifier of that one.
		victim, attacker := newBrowser(t, n), newBrowser(t, n)
		stolen, err := url.Parse(comesBack(t, victim, n))
		if err != nil {
			t.Fatal(err)
		}
		refused("a stolen code", attacker, change(comesBack(t, attacker, n), "code", stolen.Query().Get("code")), 401)
		refused("a code that was tried by another", victim, stolen.String(), 401)

		b = newBrowser(t, n)
		comesBack(t, b, n)
		b.Jar.SetCookies(at, []*http.Cookie{{Name: "granary_oidc", Value: "e30.e30.e30", Path: "/"}})
		refused("a forged cookie", b, back, 400)

		i.set(func() { i.refuse = true })
		if status, _ := i.logsIn(newBrowser(t, n), n.URL, olga); status != 401 {
			t.Errorf("the user says no: %d", status)
		}
		i.set(func() { i.refuse = false })
	})

	// The issuer's description of itself is judged like an address of the
	// settings.
	t.Run("addresses", func(t *testing.T) {
		for name, say := range map[string]func(map[string]any){
			"token endpoint of a cloud's metadata": func(d map[string]any) { d["token_endpoint"] = "https://169.254.169.254/token" },
			"the same in other words":              func(d map[string]any) { d["token_endpoint"] = "https://[::ffff:a9fe:a9fe]/token" },
			"token endpoint without TLS":           func(d map[string]any) { d["token_endpoint"] = "http://id.example.com/token" },
			"keys of a cloud's metadata":           func(d map[string]any) { d["jwks_uri"] = "http://169.254.169.254/keys" },
			"keys in a file":                       func(d map[string]any) { d["jwks_uri"] = "file:///etc/passwd" },
			"a script to log in at":                func(d map[string]any) { d["authorization_endpoint"] = "javascript:alert(1)" },
			"another issuer's":                     func(d map[string]any) { d["issuer"] = "https://id.example.com" },
			"nowhere to log in":                    func(d map[string]any) { delete(d, "authorization_endpoint") },
			"a description without end":            func(d map[string]any) { d["more"] = strings.Repeat("o", 2<<20) },
		} {
			bad := startIssuer(t, n.URL+oidcCallback)
			bad.say = say
			n.Want(200, "PUT", oidcSettings, bad.settings(nil), "Content-Type", jsonType)
			if status, _ := bad.logsIn(newBrowser(t, n), n.URL, olga); status != 502 && status != 401 {
				t.Errorf("%s: %d", name, status)
			}
		}
		for _, issuer := range []string{"http://id.example.com", "file:///etc/passwd", "https://u:p@id.example.com", "https://", ""} {
			n.Want(400, "PUT", oidcSettings, i.settings(map[string]any{"issuer": issuer}), "Content-Type", jsonType)
		}
		for _, issuer := range []string{"https://169.254.169.254", "https://0.0.0.0", "https://[fe80::1]", "https://2852039166"} {
			n.Want(200, "PUT", oidcSettings, i.settings(map[string]any{"issuer": issuer}), "Content-Type", jsonType)
			if res, body := open(t, newBrowser(t, n), n.URL+oidcLogin); res.StatusCode != 502 {
				t.Errorf("issuer %s: %d %s", issuer, res.StatusCode, body)
			}
		}
		n.Want(400, "PUT", oidcSettings, i.settings(map[string]any{"issuer": "https://id.example.com", "client_secret": "********"}), "Content-Type", jsonType)
	})

	t.Run("provider down", func(t *testing.T) {
		n.Want(200, "PUT", oidcSettings, i.settings(nil), "Content-Type", jsonType)
		b := newBrowser(t, n)
		i.set(func() { i.user = olga })
		back := comesBack(t, b, n)
		i.CloseClientConnections()
		i.Close()
		if res, body := open(t, b, back); res.StatusCode != 502 {
			t.Errorf("%d %s", res.StatusCode, body)
		}
		if got := as(t, n, "admin", node.Password, "/api/v1/users"); got != 200 {
			t.Errorf("built-in users: %d", got)
		}
	})
	if strings.Contains(n.Output(), clientSecret) || strings.Contains(n.Output(), "panic") {
		t.Errorf("the log says too much:\n%s", n.Output())
	}
}
