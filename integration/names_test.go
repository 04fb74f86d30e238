package integration_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"granary/integration/node"
)

// TestNamesOfTheSurface holds the REST surface to the spelling, the defaults and
// the limits that clients rely on, from outside and written out.
func TestNamesOfTheSurface(t *testing.T) {
	n := node.Start(t, node.Options{})
	roots := t.TempDir()
	post := func(status int, path, body string) []byte {
		t.Helper()
		return n.Want(status, http.MethodPost, path, strings.NewReader(body), "Content-Type", "application/json")
	}
	put := func(status int, path, body string) []byte {
		t.Helper()
		return n.Want(status, http.MethodPut, path, strings.NewReader(body), "Content-Type", "application/json")
	}
	t.Run("settings", func(t *testing.T) {
		want := map[string]any{
			"access_log": true, "max_artifact_bytes": 34359738368., "cleanup_interval_secs": nil, "default_docker_repo": nil, "cors": nil,
			"rate_limit": nil, "gc_interval_secs": 86400., "gc_min_interval_secs": 3600., "gc_max_orphan_candidates": 1000000.,
			"max_docker_chunk_count": 10000., "jwt_expiry_secs": 86400., "jwt_rotation_interval_secs": 604800., "state_scan_interval_ms": 1000.,
			"task_retention_secs": 86400., "logging": nil, "tracing_endpoint": nil, "gc_grace_secs": 3600., "upload_session_ttl_secs": 86400.,
		}
		is := object(t, n.Want(200, http.MethodGet, "/api/v1/settings", nil))
		for name, value := range want {
			if got, there := is[name]; !there || got != value {
				t.Errorf("%s is %v, %v; want %v", name, got, there, value)
			}
		}
		for _, c := range []struct {
			status int
			body   string
		}{
			{200, `{"jwt_expiry_secs":60}`}, {400, `{"jwt_expiry_secs":59}`}, {200, `{"jwt_expiry_secs":3600,"jwt_rotation_interval_secs":3600}`},
			{400, `{"jwt_expiry_secs":60,"jwt_rotation_interval_secs":3599}`}, {400, `{"jwt_expiry_secs":3601,"jwt_rotation_interval_secs":3600}`},
			{400, `{"gc_interval_secs":10,"gc_min_interval_secs":11}`}, {400, `{"rate_limit":{"requests_per_second":0}}`},
			{400, `{"cors":{"allowed_origins":["*"],"allowed_methods":["F OO"]}}`}, {400, `{"default_docker_repo":"none"}`},
			{200, `{"gc_interval_secs":0,"gc_min_interval_secs":0}`},
		} {
			b := put(c.status, "/api/v1/settings", c.body)
			if c.status == 400 && !strings.Contains(string(b), "invalid settings: ") {
				t.Errorf("%s: %s", c.body, b)
			}
		}
		got := object(t, put(200, "/api/v1/settings", `{"cors":{"allowed_origins":["https://a.example.com"]},"rate_limit":{"burst_size":5000}}`))
		if got, want := fmt.Sprint(got["cors"], got["rate_limit"]), "map[allowed_headers:[Authorization Content-Type Accept] allowed_methods:[GET HEAD POST PUT DELETE PATCH] "+
			"allowed_origins:[https://a.example.com] max_age_secs:3600] map[burst_size:5000 requests_per_second:100]"; got != want {
			t.Errorf("got %s", got)
		}
		put(200, "/api/v1/settings", `{"gc_grace_secs":0,"gc_min_interval_secs":0}`)
	})
	t.Run("limits", func(t *testing.T) {
		for _, c := range []struct {
			status, name, password int
		}{{201, 128, 6}, {201, 1, 1024}, {400, 129, 6}, {400, 2, 5}, {400, 2, 1025}} {
			post(c.status, "/api/v1/users", fmt.Sprintf(`{"username":%q,"password":%q}`, strings.Repeat("u", c.name), strings.Repeat("p", c.password)))
		}
		for size, status := range map[int]int{3: 400, 4: 201, 65536: 201, 65537: 400} {
			post(status, "/api/v1/stores", fmt.Sprintf(`{"name":"s%d","store_type":"file","root":%q,"io_size":%d}`, size, filepath.Join(roots, strconv.Itoa(size)), size))
		}
		post(400, "/api/v1/repositories", `{"name":"`+strings.Repeat("r", 64)+`","repo_type":"hosted","format":"raw"}`)
		for _, name := range []string{"api", "v1", "v2", "repository", "service", "swagger-ui", "api-docs", "metrics", "login", "assets"} {
			post(400, "/api/v1/repositories", `{"name":"`+name+`","repo_type":"hosted","format":"raw"}`)
		}
		post(413, "/api/v1/auth/login", `{"username":"admin","password":"`+strings.Repeat("p", 64<<10)+`"}`)
		post(413, "/api/v1/roles", `{"name":"`+strings.Repeat("r", 2<<20)+`"}`)
	})

	post(201, "/api/v1/repositories", `{"name":"files","repo_type":"hosted","format":"raw"}`)
	for _, path := range []string{"d/one", "d/two", "three"} {
		n.Want(201, http.MethodPut, "/repository/files/"+path, strings.NewReader(strings.Repeat("x", 100_000)))
	}
	b := object(t, n.Want(200, http.MethodGet, "/api/v1/repositories/files/artifacts?limit=10001", nil))
	if b["limit"] != 10000. {
		t.Errorf("limit %v, want 10000", b["limit"])
	}
	dir, ok := b["dirs"].([]any)[0].(map[string]any)
	wantFields(t, dir, "name artifact_count total_bytes last_modified_at last_accessed_at")
	if !ok {
		t.Errorf("dirs %v", b["dirs"])
	}

	const task = "id kind status created_at started_at completed_at progress result error summary log"
	for _, c := range []struct{ path, body, result string }{
		{"/api/v1/tasks/check", `{}`, "type total_blobs passed mismatched missing errors findings bytes_read dry_run fixed"},
		{"/api/v1/tasks/gc", `{}`, "type drained_repos cleaned_upload_sessions scanned_artifacts expired_artifacts docker_deleted scanned_blobs deleted_dedup_refs " +
			"orphaned_blobs_deleted orphaned_blob_bytes_deleted elapsed_ns dry_run"},
		{"/api/v1/tasks/rebuild-dir-entries", "", "type repos entries_updated stores_updated elapsed_ns"},
		{"/api/v1/repositories/files/clone", `{"new_name":"copy"}`, "type source target copied_artifacts copied_entries elapsed_ns"},
		{"/api/v1/repositories/copy/bulk-delete", `{"prefix":"d"}`, "type repo prefix deleted_artifacts deleted_bytes elapsed_ns"},
		{"/api/v1/repositories/kept/clean", `{"dry_run":true}`, "type repo scanned_artifacts expired_artifacts docker_deleted elapsed_ns"},
	} {
		if strings.Contains(c.path, "/kept/") {
			post(201, "/api/v1/repositories", `{"name":"kept","repo_type":"hosted","format":"raw","cleanup_max_age_days":1}`)
		}
		started := object(t, post(201, c.path, c.body))
		wantFields(t, started, task)
		ended := over(t, n, started["id"])
		wantFields(t, ended["progress"], "total_repos completed_repos total_blobs checked_blobs failed_blobs bytes_read total_bytes total_artifacts checked_artifacts")
		wantFields(t, ended["result"], c.result)
	}
	wantFields(t, object(t, n.Want(200, http.MethodGet, "/api/v1/tasks/scheduler", nil)), "gc_last_started_at gc_interval_secs gc_min_interval_secs")

	// After a round a store says what it holds: each content once.
	for begun := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		s := object(t, n.Want(200, http.MethodGet, "/api/v1/stores/default", nil))
		if s["blob_count"] == 1. && s["total_bytes"] == 100000. {
			break
		}
		if time.Since(begun) > time.Minute {
			t.Fatalf("the store says %v", s)
		}
	}

	wantFields(t, object(t, n.Want(200, http.MethodGet, "/v2/token", nil)), "token access_token expires_in issued_at")
	post(201, "/api/v1/repositories", `{"name":"images","repo_type":"hosted","format":"docker"}`)
	res, _ := n.Do(http.MethodPost, "/v2/images/app/blobs/uploads/", nil)
	if res.StatusCode != 202 || res.Header.Get("Docker-Upload-UUID") == "" || res.Header.Get("Range") != "0-0" {
		t.Errorf("an upload: %d, %v", res.StatusCode, res.Header)
	}
}

func object(t *testing.T, b []byte) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return v
}

func wantFields(t *testing.T, v any, names string) {
	t.Helper()
	is, _ := v.(map[string]any)
	for _, name := range strings.Fields(names) {
		if _, there := is[name]; !there {
			t.Errorf("there is no %s among %v", name, slices.Sorted(maps.Keys(is)))
		}
	}
}

// over waits until a task has completed.
func over(t *testing.T, n *node.Node, id any) map[string]any {
	t.Helper()
	for begun := time.Now(); time.Since(begun) < 2*time.Minute; time.Sleep(100 * time.Millisecond) {
		v := object(t, n.Want(200, http.MethodGet, fmt.Sprint("/api/v1/tasks/", id), nil))
		switch v["status"] {
		case "completed":
			return v
		case "failed", "cancelled":
			t.Fatalf("task %v", v)
		}
	}
	t.Fatalf("task %v does not end", id)
	return nil
}
