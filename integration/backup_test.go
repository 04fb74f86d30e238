package integration_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"granary/integration/node"
)

// The configuration of one server is put in force on another one, with another
// secret key: passwords, API tokens, the log-in with a provider and signing keys
// go on to work.
func TestBackupToAnotherServer(t *testing.T) {
	const passphrase = "correct horse battery"
	a, i := startLogin(t)
	b := node.Start(t, node.Options{Env: []string{"GRANARY_SECRET_KEY=another key of sixteen bytes"}})
	i.set(func() { i.redirects[b.URL+oidcCallback] = true })
	a.Create(`{"name":"debs","repo_type":"hosted","format":"apt"}`)
	a.Create(`{"name":"cached","repo_type":"cache","format":"golang","upstream_url":"https://upstream.example.com/","block_patterns":["^evil"],"minimum_age_days":7}`)
	a.Want(201, "POST", "/api/v1/users", strings.NewReader(`{"username":"ann","password":"ann-secret","roles":["read-only"]}`), "Content-Type", jsonType)
	a.Want(201, "POST", "/api/v1/webhooks", strings.NewReader(`{"name":"hook","url":"https://example.com/","secret":"hook-secret"}`), "Content-Type", jsonType)
	a.Want(200, "PUT", "/api/v1/settings", strings.NewReader(`{"gc_interval_secs":7200}`), "Content-Type", jsonType)
	var token struct{ Token string }
	if err := json.Unmarshal(a.Want(201, "POST", "/api/v1/tokens", strings.NewReader(
		`{"name":"ci","capabilities":[{"capability":"read","repo":"files"}]}`), "Content-Type", jsonType), &token); err != nil {
		t.Fatal(err)
	}
	if status, _ := i.logsIn(newBrowser(t, a), a.URL, person("olga", "1", "bosses")); status != 200 {
		t.Fatalf("olga: %d", status)
	}
	key := a.Want(200, "GET", "/repository/debs/public.key", nil)

	saved := a.Want(200, "GET", "/api/v1/backup", nil, "X-Backup-Passphrase", passphrase)
	for _, secret := range []string{"hook-secret", clientSecret, "argon2id$", "PRIVATE KEY"} {
		if bytes.Contains(saved, []byte(secret)) {
			t.Errorf("the backup shows %s", secret)
		}
	}
	restore := func(want int, document []byte, query, passphrase string) {
		t.Helper()
		b.Want(want, "POST", "/api/v1/restore"+query, bytes.NewReader(document), "Content-Type", jsonType, "X-Backup-Passphrase", passphrase)
	}
	before := b.Want(200, "GET", "/api/v1/repositories", nil)
	restore(400, saved[:len(saved)/2], "", passphrase)
	restore(400, saved, "", "another passphrase")
	restore(400, bytes.Replace(saved, []byte(`"version":1`), []byte(`"version":2`), 1), "", passphrase)
	restore(422, []byte(`{"kind":"List","apiVersion":"v1","items":[]}`), "", passphrase)
	restore(400, bytes.Replace(saved, []byte(`"ann"`), []byte(`"bob"`), 1), "", passphrase) // a secret is bound to its name
	restore(200, saved, "?dry_run=true", passphrase)
	if after := b.Want(200, "GET", "/api/v1/repositories", nil); !bytes.Equal(before, after) {
		t.Errorf("refused or dry, and yet written: %s", after)
	}
	b.Want(404, "GET", "/api/v1/users/ann", nil)

	for range 2 { // again changes nothing
		restore(200, saved, "", passphrase)
		if got := bearer(t, b, token.Token, "/repository/files/x"); got != 404 {
			t.Errorf("the API token: %d", got)
		}
		if got := bearer(t, b, token.Token, "/repository/debs/x"); got != 403 {
			t.Errorf("its limits: %d", got)
		}
		if status, _ := logIn(t, b, "ann", "ann-secret"); status != 200 {
			t.Errorf("a password: %d", status)
		}
		if got := b.Want(200, "GET", "/repository/debs/public.key", nil); !bytes.Equal(got, key) {
			t.Errorf("the repository signs with another key:\n%s", got)
		}
		status, session := i.logsIn(newBrowser(t, b), b.URL, person("olga", "1", "bosses"))
		if status != 200 || bearer(t, b, session, "/api/v1/users") != 200 {
			t.Errorf("log-in with the provider: %d", status)
		}
	}
	for path, want := range map[string]string{
		"/api/v1/repositories/cached": `"minimum_age_days":7`, "/api/v1/webhooks": `"name":"hook"`, "/api/v1/settings": `"gc_interval_secs":7200`,
		oidcSettings: `"client_id":"granary"`,
	} {
		if got := b.Want(200, http.MethodGet, path, nil); !bytes.Contains(got, []byte(want)) {
			t.Errorf("%s lacks %s: %s", path, want, got)
		}
	}
	// It holds after a start, under the key of its own.
	b.Stop()
	b.Restart()
	if got := bearer(t, b, token.Token, "/repository/files/x"); got != 404 {
		t.Errorf("the API token after a start: %d", got)
	}
}
