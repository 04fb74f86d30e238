package httpapi

import (
	"strings"
	"testing"
)

func TestConfigurationIsNotOverwritten(t *testing.T) {
	r := newRig(t)
	r.Create("files", "hosted", "raw", nil)
	r.user("somebody", "read", "files")
	for _, tc := range []struct{ path, first, second string }{
		{"/api/v1/repositories/files", `{"conflict_policy":"deny"}`, `{"conflict_policy":"allow"}`},
		{"/api/v1/stores/default", `{"io_size":2048}`, `{"io_size":4096}`},
		{"/api/v1/users/somebody", `{"must_change_password":true}`, `{"password":"another-one"}`},
		{"/api/v1/roles/somebody", `{"description":"one"}`, `{"description":"two"}`},
		{"/api/v1/settings", `{"access_log":false}`, `{"access_log":true}`},
	} {
		seen := r.do("admin", "GET", tc.path, nil).status(200).Header.Get("Etag")
		if !strings.HasPrefix(seen, `"`) {
			t.Errorf("%s: entity tag %q", tc.path, seen)
			continue
		}
		put := func(body, match string) *answer {
			return r.do("admin", "PUT", tc.path, strings.NewReader(body), "Content-Type", "application/json", "If-Match", match)
		}
		r.Clock.Advance(1)
		next := put(tc.first, seen).status(200).Header.Get("Etag")
		if next == seen || next == "" {
			t.Errorf("%s: the tag stays %q", tc.path, next)
		}
		put(tc.second, seen).fails(412, "PRECONDITION_FAILED", "changed")
		r.do("admin", "GET", tc.path, nil).header("Etag", next)
		put(tc.second, next).status(200)
		put(tc.first, "*").status(200)
		put(tc.first, "nonsense").status(412)
	}
	// Counts are no change.
	r.json("admin", "PUT", "/api/v1/repositories/files", `{"conflict_policy":null}`).status(200)
	seen := r.do("admin", "GET", "/api/v1/repositories/files", nil).Header.Get("Etag")
	r.do("admin", "PUT", "/repository/files/a", strings.NewReader("1")).status(201)
	r.do("admin", "GET", "/api/v1/repositories/files", nil).header("Etag", seen)
	r.do("admin", "DELETE", "/api/v1/repositories/files", nil, "If-Match", `"x"`).fails(412, "PRECONDITION_FAILED", "")
	r.do("admin", "DELETE", "/api/v1/repositories/files", nil, "If-Match", seen).status(204)
}
