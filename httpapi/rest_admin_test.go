package httpapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"granary/repo/config"
)

func TestStores(t *testing.T) {
	r := newRig(t)
	const all = "/api/v1/stores"
	got := r.json("admin", "POST", all, `{"name":"files2","store_type":"file","root":"/somewhere/else"}`).status(201).object()
	delete(got, "created_at")
	if d := cmp.Diff(map[string]any{"name": "files2", "store_type": "file", "root": "/somewhere/else", "sync": true, "io_size": 1024.0, "direct_io": false}, got); d != "" {
		t.Errorf("file store %s", d)
	}
	a := r.json("admin", "POST", all, `{"name":"bucket","store_type":"s3","bucket":"b-1","endpoint":"http://127.0.0.1:9","access_key":"AK","secret_key":"very-secret"}`).status(201)
	got = a.object()
	delete(got, "created_at")
	if d := cmp.Diff(map[string]any{
		"name": "bucket", "store_type": "s3", "bucket": "b-1", "endpoint": "http://127.0.0.1:9", "region": "us-east-1", "access_key": "AK",
		"max_retries": 3.0, "connect_timeout_secs": 3.0, "read_timeout_secs": 0.0, "retry_mode": "standard",
	}, got); d != "" {
		t.Errorf("s3 store %s", d)
	}
	r.json("admin", "PUT", all+"/bucket", `{"secret_key":"********","max_retries":5,"name":"bucket","store_type":"s3"}`).status(200)
	if s, _ := r.Registry.Store(t.Context(), "bucket"); s.MaxRetries != 5 {
		t.Errorf("stored %+v", s)
	} else if k, err := s.SecretKey.Reveal(); k != "very-secret" || err != nil {
		t.Errorf("secret key %q, %v", k, err)
	}
	r.json("admin", "PUT", all+"/bucket", `{"max_retries":null}`).status(200)
	for _, path := range []string{all, all + "/bucket"} {
		if text := r.do("admin", "GET", path, nil).status(200).text; strings.Contains(text, "secret") || !strings.Contains(text, `"max_retries":3`) {
			t.Errorf("GET %s: %s", path, text)
		}
	}
	for body, want := range map[string]int{
		`{"name":"n","store_type":"tape"}`:                                                       422,
		`{"name":"n"}`:                                                                           422,
		`{"store_type":"file"}`:                                                                  422,
		`{"name":"n","store_type":"file"}`:                                                       400,
		`{"name":"n","store_type":"file","root":"/r","io_size":3}`:                               400,
		`{"name":"n","store_type":"s3","bucket":"b-2","max_retries":21}`:                         400,
		`{"name":"n","store_type":"s3","bucket":"b-2","connect_timeout_secs":0}`:                 400,
		`{"name":"n","store_type":"s3","bucket":"b-2","read_timeout_secs":7201}`:                 400,
		`{"name":"n","store_type":"s3","bucket":"b-2","retry_mode":"x"}`:                         422,
		`{"name":"n","store_type":"s3","bucket":"b-2","access_key":"a","secret_key":"********"}`: 400,
		`{"name":"n","store_type":"s3","bucket":7}`:                                              422,
		`{"name":"bucket","store_type":"tape"}`:                                                  409,
	} {
		code := "BAD_REQUEST"
		if want == 409 {
			code = "CONFLICT"
		}
		r.json("admin", "POST", all, body).fails(want, code, "")
	}
	r.Create("files", config.Hosted, "raw", nil)
	r.do("admin", "DELETE", all+"/default", nil).fails(409, "CONFLICT", "files")
	r.do("admin", "PUT", "/repository/files/x", strings.NewReader(strings.Repeat("x", 100_000))).status(201)
	r.do("admin", "DELETE", "/api/v1/repositories/files", nil).status(204)
	r.do("admin", "DELETE", all+"/default", nil).fails(409, "CONFLICT", "blobs")
	r.do("admin", "DELETE", all+"/none", nil).fails(404, "NOT_FOUND", "")
	r.user("alice", "read", "*", "write", "*", "delete", "*")
	for _, path := range []string{"", "/default", "/none", "/default/browse"} {
		r.do("alice", "GET", all+path, nil).fails(403, "FORBIDDEN", "admin")
		r.do("", "GET", all+path, nil).fails(401, "UNAUTHORIZED", "")
	}
}

func TestStoreCheckAndBrowse(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	r.do("admin", "PUT", "/repository/files/x", strings.NewReader(strings.Repeat("x", 100_000))).status(201)
	var result struct {
		OK         bool
		Error      string
		Properties []struct {
			Name string
			OK   bool
		}
	}
	r.do("admin", "POST", "/api/v1/stores/default/check", nil).status(200).decode(&result)
	if !result.OK || result.Error != "" || len(result.Properties) < 10 || result.Properties[0].Name == "" {
		t.Errorf("check %+v", result)
	}
	r.do("admin", "POST", "/api/v1/stores/none/check", nil).fails(404, "NOT_FOUND", "none")

	type listing struct {
		Path    string
		Entries []struct {
			Name  string
			IsDir bool `json:"is_dir"`
			Size  *int64
		}
	}
	path := ""
	for level := range 3 {
		var l listing
		a := r.do("admin", "GET", "/api/v1/stores/default/browse?path="+path, nil).status(200)
		a.decode(&l)
		if len(l.Entries) != 1 || l.Path != path || l.Entries[0].IsDir != (level < 2) {
			t.Fatalf("level %d: %s", level, a.text)
		}
		if level == 2 && (*l.Entries[0].Size != 100_000 || len(l.Entries[0].Name) != 26) {
			t.Errorf("blob %s", a.text)
		}
		path = strings.TrimPrefix(path+"/"+l.Entries[0].Name, "/")
	}
	for _, out := range []string{"../..", "%2e%2e/etc", "..", "a/%00"} {
		r.do("admin", "GET", "/api/v1/stores/default/browse?path="+out, nil).fails(400, "BAD_REQUEST", "path")
	}
	for _, none := range []string{"etc", "/etc/passwd", "zz/zz/zz", "a", "uu"} {
		r.do("admin", "GET", "/api/v1/stores/default/browse?path="+none, nil).fails(404, "NOT_FOUND", "")
	}
}

func TestSettings(t *testing.T) {
	r := newRig(t)
	const path = "/api/v1/settings"
	defaults := r.do("admin", "GET", path, nil).status(200).object()
	want := map[string]any{
		"access_log": true, "audit_reads": false, "audit_retention_days": 90.0, "max_artifact_bytes": 34359738368.0, "cleanup_interval_secs": nil, "default_docker_repo": nil, "cors": nil,
		"rate_limit": nil, "gc_interval_secs": 86400.0, "gc_min_interval_secs": 3600.0, "gc_max_orphan_candidates": 1000000.0,
		"max_docker_chunk_count": 10000.0, "jwt_expiry_secs": 86400.0, "jwt_rotation_interval_secs": 604800.0,
		"state_scan_interval_ms": 1000.0, "task_retention_secs": 86400.0, "logging": nil, "tracing_endpoint": nil,
		"gc_grace_secs": 3600.0, "upload_session_ttl_secs": 86400.0,
	}
	if d := cmp.Diff(want, defaults); d != "" {
		t.Errorf("defaults -want +got:\n%s", d)
	}
	got := r.json("admin", "PUT", path, `{"max_artifact_bytes":1000,"cors":{"allowed_origins":["https://a.example.com"]},"rate_limit":{},"unknown":1}`).status(200).object()
	if d := cmp.Diff(map[string]any{
		"allowed_origins": []any{"https://a.example.com"}, "allowed_methods": []any{"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH"},
		"allowed_headers": []any{"Authorization", "Content-Type", "Accept"}, "max_age_secs": 3600.0,
	}, got["cors"]); d != "" {
		t.Errorf("cors %s", d)
	}
	if d := cmp.Diff(map[string]any{"requests_per_second": 100.0, "burst_size": nil}, got["rate_limit"]); d != "" || got["max_artifact_bytes"] != 1000.0 {
		t.Errorf("settings %v", got)
	}
	// PUT replaces everything.
	got = r.json("admin", "PUT", path, `{}`).status(200).object()
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("after PUT {} -want +got:\n%s", d)
	}
	for _, body := range []string{
		`{"gc_interval_secs":1}`, `{"rate_limit":{"requests_per_second":0}}`, `{"rate_limit":{"burst_size":0}}`, `{"jwt_expiry_secs":59}`,
		`{"jwt_rotation_interval_secs":3599}`, `{"jwt_expiry_secs":7200,"jwt_rotation_interval_secs":3600}`,
		`{"cors":{"allowed_origins":["*"],"allowed_methods":["BREW"]}}`, `{"default_docker_repo":"none"}`, `{"max_artifact_bytes":0}`,
	} {
		r.json("admin", "PUT", path, body).fails(400, "BAD_REQUEST", "invalid settings: ")
	}
	r.json("admin", "PUT", path, `{"access_log":"yes"}`).fails(422, "BAD_REQUEST", "access_log")
	r.json("admin", "PUT", path, `{"cors":{}}`).fails(422, "BAD_REQUEST", "cors.allowed_origins")
	r.user("alice", "write", "*")
	r.json("alice", "PUT", path, `{}`).fails(403, "FORBIDDEN", "admin")
	r.do("", "GET", path, nil).fails(401, "UNAUTHORIZED", "")
}

func TestLogin(t *testing.T) {
	r := newRig(t)
	const path = "/api/v1/auth/login"
	var s map[string]any
	r.json("", "POST", path, fmt.Sprintf(`{"username":"admin","password":%q}`, adminPassword)).status(200).decode(&s)
	token, _ := s["token"].(string)
	if s["must_change_password"] != false || token == "" || len(s) != 2 {
		t.Errorf("session %v", s)
	}
	r.do("", "GET", "/api/v1/users", nil, "Authorization", "Bearer "+token).status(200)
	r.json("", "POST", path, `{"username":"admin","password":"wrong"}`).fails(401, "UNAUTHORIZED", "").header("Www-Authenticate", `Basic realm="granary"`)
	r.json("", "POST", path, `{"username":"admin"}`).fails(422, "BAD_REQUEST", "password: is missing")
	r.json("", "POST", path, `{"username":"admin","password":5}`).fails(422, "BAD_REQUEST", "password")
	a := r.json("", "POST", path, `{"username":"admin","password":["hunter2"]}`).status(422)
	if strings.Contains(a.text, "hunter2") {
		t.Errorf("a password is repeated: %s", a.text)
	}
	r.json("", "POST", path, `{"username":"admin","password":"`+strings.Repeat("x", 64<<10)+`"}`).status(413)
	r.do("admin", "POST", "/api/v1/auth/revoke-all", nil).status(204)
	r.do("", "GET", "/api/v1/users", nil, "Authorization", "Bearer "+token).fails(401, "UNAUTHORIZED", "")
}

func TestUsers(t *testing.T) {
	r := newRig(t)
	const all = "/api/v1/users"
	got := r.json("admin", "POST", all, `{"username":"carol@x.org","password":"password","roles":["read-only"]}`).status(201).object()
	keys := slices.Sorted(maps.Keys(got))
	if d := cmp.Diff([]string{"created_at", "kind", "must_change_password", "roles", "updated_at", "username"}, keys); d != "" {
		t.Errorf("keys %s", d)
	}
	for _, name := range []string{"carol@x.org", "carol%40x.org"} {
		r.do("admin", "GET", all+"/"+name, nil).status(200)
	}
	for body, want := range map[string]int{
		`{"username":"carol@x.org"}`:                                 409,
		`{"username":"","password":"password"}`:                      400,
		`{"username":"dave","password":"short"}`:                     400,
		`{"username":"dave","password":"password","roles":["none"]}`: 400,
		`{"username":"dave","password":"password","roles":"admin"}`:  422,
		`{"username":"dave"}`:                                        422,
		`{"username":"../x","password":"password"}`:                  400,
	} {
		r.json("admin", "POST", all, body).status(want)
	}
	r.json("admin", "PUT", all+"/carol%40x.org", `{"roles":[]}`).status(200)
	r.json("admin", "PUT", all+"/admin", `{"roles":[]}`).fails(400, "BAD_REQUEST", "")
	r.do("admin", "DELETE", all+"/admin", nil).fails(400, "BAD_REQUEST", "")
	r.do("carol@x.org", "GET", all, nil).fails(403, "FORBIDDEN", "admin")
	r.do("carol@x.org", "GET", all+"/nobody", nil).fails(403, "FORBIDDEN", "admin")
	r.do("carol@x.org", "POST", all+"/carol%40x.org/revoke-tokens", nil).status(204)
	r.do("carol@x.org", "POST", all+"/admin/revoke-tokens", nil).fails(403, "FORBIDDEN", "")
	r.do("", "POST", all+"/anonymous/revoke-tokens", nil).fails(401, "UNAUTHORIZED", "")
	r.json("carol@x.org", "POST", "/api/v1/auth/change-password", `{"username":"carol@x.org","current_password":"wrong","new_password":"password2"}`).fails(403, "FORBIDDEN", "")
	r.json("carol@x.org", "POST", "/api/v1/auth/change-password", `{"username":"admin","new_password":"password2"}`).fails(403, "FORBIDDEN", "")
	r.json("", "POST", "/api/v1/auth/change-password", `{"username":"admin","new_password":"password2"}`).fails(401, "UNAUTHORIZED", "")
	r.json("admin", "POST", "/api/v1/auth/change-password", `{"username":"carol@x.org","new_password":"password2"}`).status(204).is("")
	r.do("admin", "DELETE", all+"/carol%40x.org", nil).status(204)
	r.do("admin", "GET", all+"/carol%40x.org", nil).fails(404, "NOT_FOUND", "")
	var list []map[string]any
	r.do("admin", "GET", all, nil).status(200).decode(&list)
	if text, _ := json.Marshal(list); len(list) != 2 || strings.Contains(string(text), "argon") {
		t.Errorf("users %s", text)
	}
}

func TestRoles(t *testing.T) {
	r := newRig(t)
	const all = "/api/v1/roles"
	got := r.json("admin", "POST", all, `{"name":"team","capabilities":[{"capability":"write","repo":"team-*"}]}`).status(201).object()
	delete(got, "created_at")
	delete(got, "updated_at")
	want := map[string]any{"name": "team", "description": "", "capabilities": []any{map[string]any{"capability": "write", "repo": "team-*"}}}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("role %s", d)
	}
	for body, want := range map[string]int{
		`{"name":"team","capabilities":"x"}`:                            409,
		`{"name":"","capabilities":[]}`:                                 400,
		`{"name":"x","capabilities":[{"capability":"own","repo":"*"}]}`: 422,
		`{"name":"x","capabilities":[{"capability":"read"}]}`:           422,
		`{"name":"x","capabilities":[{"capability":"read","repo":""}]}`: 400,
	} {
		r.json("admin", "POST", all, body).status(want)
	}
	got = r.json("admin", "PUT", all+"/team", `{"description":"d"}`).status(200).object()
	if got["description"] != "d" || len(got["capabilities"].([]any)) != 1 {
		t.Errorf("role %v", got)
	}
	r.do("admin", "DELETE", all+"/admin", nil).fails(400, "BAD_REQUEST", "")
	r.do("admin", "DELETE", all+"/team", nil).status(204)
	r.do("admin", "GET", all+"/team", nil).fails(404, "NOT_FOUND", "")
	r.do("", "GET", all, nil).fails(401, "UNAUTHORIZED", "")
}
