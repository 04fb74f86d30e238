package httpapi

import (
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
		`{"name":"files","repo_type":"hosted","format":"raw","quota_bytes":1000}`,
		`{"name":"cached","repo_type":"cache","format":"raw","upstream_url":"https://upstream.example.com/","upstream_auth":{"username":"u","password":"up-secret"}}`,
		`{"name":"inner","repo_type":"proxy","format":"raw","members":["files"],"write_member":"files"}`,
		`{"name":"a-group","repo_type":"proxy","format":"raw","members":["inner","cached"]}`,
	} {
		r.json("admin", "POST", "/api/v1/repositories", body).status(201)
	}
	r.json("admin", "POST", "/api/v1/stores", `{"name":"bucket","store_type":"s3","bucket":"the-bucket","access_key":"k","secret_key":"s3-secret"}`).status(201)
	r.user("somebody", "read", "files")
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
	for _, secret := range []string{"up-secret", "s3-secret", "hook-secret", "$argon2id$"} {
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
	want := map[string]any{"stores": 2.0, "repositories": 4.0, "roles": 3.0, "users": 3.0, "webhooks": 1.0, "settings": true, "ldap_config": false}
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
	other.do("admin", "PUT", "/repository/inner/x", strings.NewReader("1")).status(201)
	if c, _ := other.Registry.Repository(t.Context(), "cached"); c.UpstreamAuth == nil {
		t.Error("no credentials of the upstream")
	} else if pw, err := c.UpstreamAuth.Password.Reveal(); pw != "up-secret" || err != nil {
		t.Errorf("password %q, %v", pw, err)
	}
}

func TestBackupSecrets(t *testing.T) {
	r := furnished(t)
	for _, tc := range []struct {
		query  string
		header []string
	}{{query: "?secrets=omit"}, {header: []string{"X-Backup-Passphrase", "correct horse"}}} {
		text := r.do("admin", "GET", "/api/v1/backup"+tc.query, nil, tc.header...).status(200).text
		for _, secret := range []string{"up-secret", "s3-secret", "hook-secret", "argon2id$"} {
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
