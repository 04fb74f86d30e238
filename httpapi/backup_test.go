package httpapi

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"granary/repo/config"
)

const restorePath = "/api/v1/restore"

// furnished has something of everything.
func furnished(t *testing.T) *rig {
	r := newRig(t)
	for _, body := range []string{
		`{"name":"files","repo_type":"hosted","format":"raw","quota_bytes":1000,"quota_artifacts":7,"conflict_policy":"deny","history_days":3,"content_disposition":"inline","cleanup_max_age_days":9}`,
		`{"name":"cached","repo_type":"cache","format":"raw","upstream_url":"https://upstream.example.com/","upstream_auth":{"username":"u","password":"up-secret"},
		  "cache_ttl_secs":-1,"negative_ttl_secs":7,"block_patterns":["^bad"],"allow_patterns":["."],"mutable_patterns":["x"],"immutable_patterns":["y"],"minimum_age_days":4,"upstream_realms":["auth.example.com"]}`,
		`{"name":"inner","repo_type":"proxy","format":"raw","members":["files"],"write_member":"files","claim_names":false}`,
		`{"name":"debs","repo_type":"hosted","format":"apt","apt_components":["main"],"valid_until_days":5}`,
		`{"name":"a-group","repo_type":"proxy","format":"raw","members":["inner","cached"]}`,
	} {
		r.json("admin", "POST", "/api/v1/repositories", body).status(201)
	}
	r.json("admin", "POST", "/api/v1/stores", `{"name":"bucket","store_type":"s3","bucket":"the-bucket","access_key":"k","secret_key":"s3-secret"}`).status(201)
	r.json("admin", "POST", restorePath, `{"version":1,"settings":{},"stores":[],"repositories":[],"roles":[],"users":[{"username":"dora","source":"ldap"},
		{"username":"olga","source":"oidc","subject":"https://id.example.com 1","roles":["admin"]}]}`).status(200)
	r.user("somebody", "read", "files")
	r.json("admin", "GET", "/api/v1/repositories/debs/signing-keys", "").status(200) // makes the first
	if text := r.do("admin", "GET", "/api/v1/backup", nil).text; !strings.Contains(text, "PRIVATE KEY") {
		t.Error("a backup lacks the first key of a repository")
	}
	r.json("admin", "POST", "/api/v1/repositories/debs/signing-keys", `{}`).status(201)
	r.json("admin", "POST", "/api/v1/repositories/files/quarantine", `{"item":"bad/","reason":"CVE-2026-1234"}`).status(201)
	r.json("admin", "POST", "/api/v1/users", `{"username":"robot","kind":"service","roles":["read-only"]}`).status(201)
	r.json("admin", "PUT", "/api/v1/settings/ldap", `{"url":"ldaps://ldap.example.com","bind_dn":"cn=search,dc=example,dc=com","bind_password":"bind-secret",
		"user_base_dn":"dc=example,dc=com","group_role_mapping":{"developers":"read-only"}}`).status(200)
	r.json("admin", "PUT", "/api/v1/settings/oidc", `{"login":{"issuer":"https://id.example.com","client_id":"granary","client_secret":"oidc-secret","scopes":["groups"],
		"group_role_mapping":{"bosses":"admin"}},"workloads":[{"issuer":"https://ci.example.com","audience":"granary","claims":{"ref":"main"},"username":"robot","expires_secs":600}]}`).status(200)
	for name, more := range map[string]string{
		"robot":  `,"username":"robot","expires_at":"2099-01-01T00:00:00Z"`,
		"reader": `,"capabilities":[{"capability":"read","repo":"files"}]`,
	} {
		_, text := r.token("admin", `{"name":"`+name+`"`+more+`}`)
		r.tokens = append(r.tokens, text)
	}
	r.json("admin", "PUT", "/api/v1/settings", `{"access_log":false}`).status(200)
	if _, err := r.Registry.CreateWebhook(t.Context(), func(w *config.Webhook) error {
		w.Name, w.URL, w.Secret = "hook", "https://example.com/", config.NewSecret("hook-secret")
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return r
}

// comparable is a backup without its times, which a restore does not bring
// back.
func (r *rig) comparable(header ...string) map[string]any {
	r.t.Helper()
	var v map[string]any
	r.do("admin", "GET", "/api/v1/backup", nil, header...).status(200).decode(&v)
	var strip func(any)
	strip = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			delete(v, "created_at")
			delete(v, "updated_at")
			for _, x := range v {
				strip(x)
			}
		case []any:
			for _, x := range v {
				strip(x)
			}
		}
	}
	strip(v)
	return v
}

func TestBackupAndRestore(t *testing.T) {
	r := furnished(t)
	answer := r.do("admin", "GET", "/api/v1/backup", nil).status(200)
	if d := answer.Header.Get("Content-Disposition"); !regexp.MustCompile(`^attachment; filename="depot-backup-\d{8}-\d{6}\.json"$`).MatchString(d) {
		t.Errorf("Content-Disposition %q", d)
	}
	for _, secret := range []string{"up-secret", "s3-secret", "hook-secret", "$argon2id$", "bind-secret", "oidc-secret", "BEGIN PGP PRIVATE KEY"} {
		if !strings.Contains(answer.text, secret) {
			t.Errorf("the backup lacks %s", secret)
		}
	}
	other := newRig(t)
	before := other.comparable()
	var counts map[string]any
	other.json("admin", "POST", restorePath+"?dry_run=true", answer.text).status(200).decode(&counts)
	if d := cmp.Diff(before, other.comparable()); d != "" {
		t.Errorf("a dry run writes:\n%s", d)
	}
	delete(counts, "dry_run")
	want := map[string]any{"stores": 2.0, "repositories": 5.0, "roles": 3.0, "users": 6.0, "webhooks": 1.0, "tokens": 2.0, "signing_keys": 1.0, "settings": true,
		"ldap_config": true, "oidc_config": true}
	if d := cmp.Diff(want, counts); d != "" {
		t.Errorf("counts -want +got\n%s", d)
	}
	// Twice: the second time everything is there.
	for range 2 {
		other.json("admin", "POST", restorePath, answer.text).status(200)
		if d := cmp.Diff(r.comparable(), other.comparable()); d != "" {
			t.Errorf("restored -want +got\n%s", d)
		}
	}
	other.do("somebody", "GET", "/api/v1/repositories/files", nil).status(200)
	for _, token := range r.tokens {
		if got := other.statusOf("GET", "/repository/files/x", "Bearer "+token); got != 404 {
			t.Errorf("an API token on the other server: %d", got)
		}
	}
	if o, ok := other.auth.Providers(); !ok || o.Login.ClientSecret != "oidc-secret" {
		t.Error("the client secret is lost")
	}
	other.do("admin", "PUT", "/repository/inner/x", strings.NewReader("1")).status(201)
	if c, _ := other.Registry.Repository(t.Context(), "cached"); c.UpstreamAuth == nil {
		t.Error("no credentials of the upstream")
	} else if pw, err := c.UpstreamAuth.Password.Reveal(); pw != "up-secret" || err != nil {
		t.Errorf("password %q, %v", pw, err)
	}
}

func TestBackupSecrets(t *testing.T) {
	r := furnished(t)
	sum := sha256.Sum256([]byte(r.tokens[0]))
	hash := hex.EncodeToString(sum[:])
	if text := r.do("admin", "GET", "/api/v1/backup", nil).text; !strings.Contains(text, hash) {
		t.Error("a backup has no hash of a token")
	}
	for _, tc := range []struct {
		query  string
		header []string
	}{{query: "?secrets=omit"}, {header: []string{"X-Backup-Passphrase", "correct horse"}}} {
		text := r.do("admin", "GET", "/api/v1/backup"+tc.query, nil, tc.header...).status(200).text
		for _, secret := range []string{"up-secret", "s3-secret", "hook-secret", "argon2id$", "bind-secret", "oidc-secret", "BEGIN PGP", hash} {
			if strings.Contains(text, secret) {
				t.Errorf("%v: the backup shows %s", tc, secret)
			}
		}
		// On the same server nothing changes: what is left out stays.
		before := r.comparable()
		r.do("admin", "POST", restorePath, strings.NewReader(text), append(tc.header, "Content-Type", "application/json")...).status(200)
		if d := cmp.Diff(before, r.comparable()); d != "" {
			t.Errorf("%v: restored -want +got\n%s", tc, d)
		}
	}
	sealed := r.do("admin", "GET", "/api/v1/backup", nil, "X-Backup-Passphrase", "correct horse").text
	other := newRig(t)
	before := other.comparable()
	restore := func(text, passphrase string) *answer {
		return other.do("admin", "POST", restorePath, strings.NewReader(text), "Content-Type", "application/json", "X-Backup-Passphrase", passphrase)
	}
	restore(sealed, "wrong horse").fails(400, "BAD_REQUEST", "can't be decrypted")
	restore(sealed, "").fails(400, "BAD_REQUEST", "X-Backup-Passphrase")
	restore(strings.Replace(sealed, `"cached"`, `"cached2"`, 1), "correct horse").status(400)
	if d := cmp.Diff(before, other.comparable()); d != "" {
		t.Errorf("refused, and yet written:\n%s", d)
	}
	restore(sealed, "correct horse").status(200)
	if d := cmp.Diff(r.comparable(), other.comparable()); d != "" {
		t.Errorf("restored -want +got\n%s", d)
	}
	// Without secrets everything else is put in force on another server.
	bare := newRig(t)
	r.do("admin", "DELETE", "/api/v1/stores/bucket", nil).status(204) // keys of a bucket are given together or not at all
	bare.json("admin", "POST", restorePath, r.do("admin", "GET", "/api/v1/backup?secrets=omit", nil).text).status(200)
	if o, ok := bare.auth.Providers(); !ok || o.Login.ClientSecret != "" || o.Login.Issuer != "https://id.example.com" {
		t.Error("no OIDC settings")
	}
	r.do("admin", "GET", "/api/v1/backup", nil, "X-Backup-Passphrase", "short").status(400)
	r.do("admin", "GET", "/api/v1/backup?secrets=x", nil).status(400)
}

func TestRestoreRefuses(t *testing.T) {
	r := furnished(t)
	whole := r.do("admin", "GET", "/api/v1/backup", nil).text
	change := func(f func(m map[string]any)) string {
		var m map[string]any
		if err := json.Unmarshal([]byte(whole), &m); err != nil {
			t.Fatal(err)
		}
		f(m)
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	last := func(m map[string]any, list string) map[string]any {
		l := m[list].([]any)
		return l[len(l)-1].(map[string]any)
	}
	other := newRig(t)
	before := other.comparable()
	for _, tc := range []struct {
		name, body string
		status     int
		part       string
	}{
		{"truncated", whole[:len(whole)/2], 400, ""},
		{"empty", "", 400, ""},
		{"foreign", `{"hello":"world"}`, 422, "is missing"},
		{"an array", `[]`, 422, ""},
		{"newer", change(func(m map[string]any) { m["version"] = 2 }), 400, "version"},
		{"without stores", change(func(m map[string]any) { delete(m, "stores") }), 422, "stores"},
		{"a repository's rule", change(func(m map[string]any) { last(m, "repositories")["quota_bytes"] = -1 }), 400, "quota_bytes"},
		{"an unknown store", change(func(m map[string]any) { last(m, "repositories")["store"] = "nowhere" }), 400, "store"},
		{"an unknown member", change(func(m map[string]any) { m["repositories"].([]any)[0].(map[string]any)["members"] = []string{"nobody"} }), 400, "members"},
		{"a circle", change(func(m map[string]any) { last(m, "repositories")["members"] = []string{"a-group"} }), 400, "contain each other"},
		{"one twice", change(func(m map[string]any) { m["repositories"] = append(m["repositories"].([]any), last(m, "repositories")) }), 400, "twice"},
		{"an unknown role", change(func(m map[string]any) { last(m, "users")["roles"] = []string{"nobody"} }), 400, "roles"},
		{"a hash that is none", change(func(m map[string]any) { last(m, "users")["password_hash"] = "x" }), 400, "password_hash"},
		{"no administrator", change(func(m map[string]any) { m["users"].([]any)[0].(map[string]any)["roles"] = []string{} }), 400, "administrator"},
		{"settings", change(func(m map[string]any) { m["settings"].(map[string]any)["jwt_expiry_secs"] = 1 }), 400, "invalid settings"},
		{"another directory", change(func(m map[string]any) { m["ldap_config"].(map[string]any)["url"] = "http://x" }), 400, "ldap_config: url"},
		{"a group's role", change(func(m map[string]any) {
			m["ldap_config"].(map[string]any)["group_role_mapping"] = map[string]any{"x": "nobody"}
		}), 400, "ldap_config: group_role_mapping"},
		{"another provider", change(func(m map[string]any) {
			m["oidc_config"].(map[string]any)["login"].(map[string]any)["issuer"] = "http://x"
		}), 400, "login.issuer"},
		{"a workload of nobody", change(func(m map[string]any) { last(m["oidc_config"].(map[string]any), "workloads")["username"] = "somebody" }), 400, "workloads[0].username"},
		{"a token of nobody", change(func(m map[string]any) { last(m, "tokens")["username"] = "nobody" }), 400, "tokens[1].username"},
		{"a token that is none", change(func(m map[string]any) { last(m, "tokens")["id"] = "../x" }), 400, "tokens[1].id"},
		{"a token twice", change(func(m map[string]any) { m["tokens"] = append(m["tokens"].([]any), last(m, "tokens")) }), 400, "tokens[2].id"},
		{"a token's hash", change(func(m map[string]any) { last(m, "tokens")["hash"] = "abcd" }), 400, "tokens[1].hash"},
		{"a token's right", change(func(m map[string]any) {
			last(m, "tokens")["capabilities"] = []any{map[string]any{"capability": "fly", "repo": "*"}}
		}), 422, "capabilities[0].capability"},
		{"a key that is none", change(func(m map[string]any) { last(last(m, "signing_keys"), "keys")["private_key"] = "x" }), 400, "private_key"},
		{"another key", change(func(m map[string]any) { last(last(m, "signing_keys"), "keys")["fingerprint"] = "ABCD" }), 400, "private_key"},
		{"no key in force", change(func(m map[string]any) { last(last(m, "signing_keys"), "keys")["until"] = "2099-01-01T00:00:00Z" }), 400, "keys"},
		{"keys of files", change(func(m map[string]any) { last(m, "signing_keys")["repository"] = "files" }), 400, "signs nothing"},
		{"keys of nobody", change(func(m map[string]any) { last(m, "signing_keys")["repository"] = "nobody" }), 400, "repository"},
		{"a user of another kind", change(func(m map[string]any) {
			m["users"].([]any)[0].(map[string]any)["source"] = "service"
			m["users"].([]any)[0].(map[string]any)["password_hash"] = ""
		}), 400, "users[0].source"},
		{"an administrator of a directory alone", change(func(m map[string]any) {
			admin := m["users"].([]any)[0].(map[string]any)
			admin["roles"] = []string{}
			m["users"] = append(m["users"].([]any), map[string]any{"username": "boss", "source": "ldap", "roles": []string{"admin"}})
		}), 400, "administrator"},
		{"a subject of a built-in user", change(func(m map[string]any) { last(m, "users")["subject"] = "x" }), 400, "subject"},
		{"a quarantine of nobody", change(func(m map[string]any) { last(m, "quarantine")["repository"] = "nobody" }), 400, "quarantine[0].repository"},
		{"a quarantine without reason", change(func(m map[string]any) { last(last(m, "quarantine"), "items")["reason"] = " " }), 400, "quarantine[0].reason"},
		{"version as text", change(func(m map[string]any) { m["version"] = "1" }), 422, "version"},
		{"another webhook", change(func(m map[string]any) { last(m, "webhooks")["url"] = "ftp://x/" }), 400, "webhooks[0].url"},
	} {
		other.json("admin", "POST", restorePath, tc.body).fails(tc.status, "BAD_REQUEST", tc.part)
		if d := cmp.Diff(before, other.comparable()); d != "" {
			t.Fatalf("%s: refused, and yet written:\n%s", tc.name, d)
		}
	}
	r.user("reader", "read", "*")
	r.do("reader", "GET", "/api/v1/backup", nil).status(403)
	r.json("reader", "POST", restorePath, whole).status(403)
	r.do("", "GET", "/api/v1/backup", nil).status(401)
}
