package integration_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"granary/integration/node"
)

// startClocked is a node whose clock the returned function moves.
func startClocked(t *testing.T) (n *node.Node, move func(offset string)) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "clock")
	move = func(offset string) {
		t.Helper()
		replace(t, file, []byte(offset), false) // the server reads it at any time
	}
	move("+0")
	return node.Start(t, node.Options{Env: []string{"TEST_CLOCK_FILE=" + file}}), move
}

// anonymous sends a request with the headers given and nothing else.
func anonymous(t *testing.T, method, address, body string, header ...string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	return res.StatusCode
}

// Whatever is wrong with a token, it is 401 on every surface, and never taken
// for anonymous.
func TestBadTokens(t *testing.T) {
	n, move := startClocked(t)
	n.Create(`{"name":"files","repo_type":"hosted","format":"raw"}`)
	n.Create(`{"name":"images","repo_type":"hosted","format":"docker"}`)
	// Anonymous may read, so that a token that is ignored is seen.
	n.Want(200, "PUT", "/api/v1/users/anonymous", strings.NewReader(`{"roles":["read-only"]}`), "Content-Type", jsonType)
	n.Want(201, "PUT", "/repository/files/x", strings.NewReader("x"))
	if got := anonymous(t, "GET", n.URL+"/repository/files/x", ""); got != 200 {
		t.Fatalf("anonymous: %d", got)
	}
	_, good := logIn(t, n, "admin", node.Password)
	parts := strings.Split(good, ".")
	b64 := base64.RawURLEncoding
	header := func(h string) string { return b64.EncodeToString([]byte(h)) }
	hs256 := func(first, second string, key []byte) string {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(first + "." + second)) //nolint:errcheck // never fails
		return first + "." + second + "." + b64.EncodeToString(m.Sum(nil))
	}
	var docker struct{ Token string }
	if err := json.Unmarshal(n.Want(200, "GET", "/v2/token?service=granary&scope=repository:images/a:pull", nil), &docker); err != nil {
		t.Fatal(err)
	}
	claims := b64.EncodeToString([]byte(fmt.Sprintf(`{"sub":"admin","iat":%d,"exp":%d}`, time.Now().Unix(), time.Now().Add(time.Hour).Unix())))
	bad := map[string]string{
		"alg none":          header(`{"alg":"none","typ":"JWT"}`) + "." + parts[1] + ".",
		"alg None":          header(`{"alg":"None"}`) + "." + parts[1] + "." + parts[2],
		"no signature":      parts[0] + "." + parts[1] + ".",
		"another's claims":  parts[0] + "." + claims + "." + parts[2],
		"an empty key":      hs256(parts[0], claims, nil),
		"a guessed key":     hs256(parts[0], claims, []byte("granary")),
		"the key's id":      hs256(parts[0], claims, []byte(parts[0])),
		"an unknown key id": hs256(header(`{"alg":"HS256","kid":"../../dev/null"}`), claims, nil),
		"for images only":   docker.Token,
		"an API token":      "grn_" + strings.Repeat("a", 56),
		"not a token":       "x",
		"very long":         strings.Repeat("x", 16<<10),
	}
	paths := []string{"/repository/files/x", "/api/v1/repositories", "/api/v1/users", "/service/rest/v1/repositories", "/api-docs/openapi.json", "/metrics"}
	for name, token := range bad {
		for _, path := range paths {
			if got := anonymous(t, "GET", n.URL+path, "", "Authorization", "Bearer "+token); got != 401 {
				t.Errorf("%s at %s: %d", name, path, got)
			}
		}
		if name == "for images only" {
			continue
		}
		if got := anonymous(t, "GET", n.URL+"/v2/", "", "Authorization", "Bearer "+token); got != 401 {
			t.Errorf("%s at /v2/: %d", name, got)
		}
	}
	for _, authorization := range []string{"Digest x", "Basic !", "Basic " + b64.EncodeToString([]byte("admin")), "Bearer", "Negotiate x"} {
		if got := anonymous(t, "GET", n.URL+"/repository/files/x", "", "Authorization", authorization); got != 401 {
			t.Errorf("%q: %d", authorization, got)
		}
	}

	i := startIssuer(t)
	n.Want(201, "POST", "/api/v1/users", strings.NewReader(`{"username":"robot","kind":"service","roles":["read-only"]}`), "Content-Type", jsonType)
	n.Want(200, "PUT", oidcSettings, strings.NewReader(fmt.Sprintf(
		`{"workloads":[{"issuer":%q,"audience":"granary","claims":{"ref":"main"},"username":"robot","expires_secs":600}]}`, i.URL)), "Content-Type", jsonType)
	now := time.Now()
	idToken := func(more jwt.MapClaims) string {
		c := jwt.MapClaims{"iss": i.URL, "aud": "granary", "sub": "ci", "ref": "main", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix()}
		for k, v := range more {
			c[k] = v
		}
		return i.sign(c)
	}
	exchange := func(token string) int {
		return anonymous(t, "POST", n.URL+"/api/v1/auth/oidc/exchange", `{"token":"`+token+`"}`, "Content-Type", jsonType)
	}
	once := idToken(nil)
	for _, tt := range []struct {
		name, token string
		want        int
	}{
		{"good", once, 200},
		{"replayed", once, 401},
		{"replayed with padding", once + "=", 401},
		{"wrong audience", idToken(jwt.MapClaims{"aud": "other"}), 401},
		{"expired", idToken(jwt.MapClaims{"exp": now.Add(-time.Minute).Unix()}), 401},
		{"another branch", idToken(jwt.MapClaims{"ref": "evil"}), 403},
		{"alg none", i.signWith(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, jwt.MapClaims{"iss": i.URL, "aud": "granary", "ref": "main", "exp": now.Add(time.Hour).Unix()}), 401},
	} {
		if got := exchange(tt.token); got != tt.want {
			t.Errorf("ID token, %s: %d, want %d", tt.name, got, tt.want)
		}
	}

	if got := bearer(t, n, good, "/api/v1/users"); got != 200 {
		t.Errorf("the good token: %d", got)
	}
	move("+25h")
	if got := bearer(t, n, good, "/repository/files/x"); got != 401 {
		t.Errorf("after its life of a day: %d", got)
	}
}

// Names, globs, passwords and addresses that nobody means well.
func TestBadIdentities(t *testing.T) {
	n := node.Start(t, node.Options{})
	quoted := func(s string) string {
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	post := func(want int, path, body string) {
		t.Helper()
		n.Want(want, "POST", path, strings.NewReader(body), "Content-Type", jsonType)
	}
	for _, name := range []string{"", "a\x00", "a\nb", "\x1b[2J", "a\u202eb", "a\u0085", "../admin", "a/b", "a b", "*", "admin\x7f", "ädmin", strings.Repeat("a", 129), ".a", "-a"} {
		post(400, "/api/v1/users", `{"username":`+quoted(name)+`,"password":"secret-secret"}`)
		post(400, "/api/v1/roles", `{"name":`+quoted(name)+`}`)
		if status, _ := logIn(t, n, name, "secret-secret"); status != 401 && status != 429 {
			t.Errorf("log-in of %q: %d", name, status)
		}
	}
	for _, glob := range []string{"", "a\x00*", "a\n", "\x1b[2J", "a/b", "[a-z]", "{a,b}", "a\u202e", strings.Repeat("*", 1000)} {
		post(400, "/api/v1/roles", `{"name":"r","capabilities":[{"capability":"read","repo":`+quoted(glob)+`}]}`)
		post(400, "/api/v1/tokens", `{"name":"t","capabilities":[{"capability":"read","repo":`+quoted(glob)+`}]}`)
	}
	for _, path := range []string{"", "/a", "../a", "a\x00", "a\nb", "a//b"} {
		post(400, "/api/v1/roles", `{"name":"r","capabilities":[{"capability":"read","repo":"*","paths":[`+quoted(path)+`]}]}`)
	}

	long := strings.Repeat("x", 1025)
	post(400, "/api/v1/users", `{"username":"ann","password":"`+long+`"}`)
	post(201, "/api/v1/users", `{"username":"ann","password":"`+long[:1024]+`"}`)
	if status, _ := logIn(t, n, "ann", long[:1024]); status != 200 {
		t.Errorf("a password of 1,024 bytes: %d", status)
	}
	for _, password := range []string{long, strings.Repeat("x", 60<<10), ""} {
		if status, _ := logIn(t, n, "ann", password); status != 401 {
			t.Errorf("a password of %d bytes: %d", len(password), status)
		}
	}
	if status, _ := logIn(t, n, "ann", strings.Repeat("x", 70<<10)); status != 413 {
		t.Errorf("a log-in of 70 KiB: %d", status)
	}

	// The last administrator stays, whichever way it is tried.
	n.Want(400, "PUT", "/api/v1/users/admin", strings.NewReader(`{"roles":[]}`), "Content-Type", jsonType)
	n.Want(400, "PUT", "/api/v1/users/admin", strings.NewReader(`{"roles":["read-only"]}`), "Content-Type", jsonType)
	n.Want(400, "DELETE", "/api/v1/users/admin", nil)
	n.Want(400, "DELETE", "/api/v1/roles/admin", nil)
	n.Do("PUT", "/api/v1/roles/admin", strings.NewReader(`{"capabilities":[]}`), "Content-Type", jsonType)
	n.Want(200, "GET", "/api/v1/users", nil)

	// Addresses of the cloud, of links and of nobody are never asked.
	for _, address := range []string{"http://169.254.169.254/", "http://[::ffff:169.254.169.254]/", "http://2852039166/", "http://0xa9fea9fe/", "http://0.0.0.0/", "http://[fe80::1]/"} {
		if res, body := n.Do("POST", "/api/v1/webhooks", strings.NewReader(`{"name":"w","url":"`+address+`"}`), "Content-Type", jsonType); res.StatusCode == 201 {
			var hook struct{ ID string }
			if err := json.Unmarshal(body, &hook); err != nil {
				t.Fatal(err)
			}
			_, answer := n.Do("POST", "/api/v1/webhooks/"+hook.ID+"/test", nil)
			// What keeps it is the guard, or that a number is no name, and no
			// lack of a server there.
			if text := string(answer); !strings.Contains(text, `"response_code":null`) || !strings.Contains(text, "address") && !strings.Contains(text, "no such host") {
				t.Errorf("webhook %s: %s", address, answer)
			}
			n.Want(204, "DELETE", "/api/v1/webhooks/"+hook.ID, nil)
		}
		n.Create(`{"name":"c","repo_type":"cache","format":"raw","upstream_url":"` + address + `"}`)
		if res, body := n.Do("GET", "/repository/c/latest/meta-data", nil); res.StatusCode != 502 || !strings.Contains(string(body), "UPSTREAM_ERROR") {
			t.Errorf("upstream %s: %d %s", address, res.StatusCode, body)
		}
		n.Want(204, "DELETE", "/api/v1/repositories/c", nil)
	}
	for _, address := range []string{"file:///etc/passwd", "gopher://127.0.0.1/", "ftp://127.0.0.1/", "javascript:alert(1)", "//x", "http://"} {
		post(400, "/api/v1/webhooks", `{"name":"w","url":"`+address+`"}`)
		post(400, "/api/v1/repositories", `{"name":"c","repo_type":"cache","format":"raw","upstream_url":"`+address+`"}`)
	}
}
