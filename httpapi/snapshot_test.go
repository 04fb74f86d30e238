package httpapi

import (
	"strings"
	"testing"
	"time"

	"granary/repo/config"
)

func TestSnapshots(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	r.user("alice", "read", "files")
	r.user("bob", "write", "files")
	r.user("carol", "delete", "files")
	r.do("admin", "PUT", "/repository/files/d/x.txt", strings.NewReader("one")).status(201)
	const path = "/api/v1/repositories/files/snapshots"

	r.json("", "POST", path, `{"name":"v1"}`).fails(401, "UNAUTHORIZED", "")
	r.json("alice", "POST", path, `{"name":"v1"}`).fails(403, "FORBIDDEN", "")
	r.json("bob", "POST", path, `{"name":"A B"}`).fails(400, "BAD_REQUEST", "name")
	r.json("bob", "POST", path, `{}`).status(422)
	r.json("admin", "POST", "/api/v1/repositories/none/snapshots", `{"name":"v1"}`).fails(404, "NOT_FOUND", "none")
	var made struct {
		Name      string    `json:"name"`
		CreatedAt time.Time `json:"created_at"`
		CreatedBy string    `json:"created_by"`
	}
	before := r.Clock.Now()
	r.json("bob", "POST", path, `{"name":"v1"}`).status(201).decode(&made)
	if made.Name != "v1" || made.CreatedBy != "bob" || !made.CreatedAt.After(before) || !made.CreatedAt.Before(r.Clock.Now()) {
		t.Errorf("snapshot %+v between %v and %v", made, before, r.Clock.Now())
	}
	r.json("bob", "POST", path, `{"name":"v1"}`).fails(409, "CONFLICT", "v1")

	r.Clock.Advance(time.Minute)
	minute := r.Clock.Now().Format(time.RFC3339Nano)
	r.Clock.Advance(time.Minute)
	r.do("admin", "PUT", "/repository/files/d/x.txt", strings.NewReader("two")).status(201)
	r.do("admin", "PUT", "/repository/files/d/y.txt", strings.NewReader("y")).status(201)
	for _, at := range []string{"v1", minute, strings.ReplaceAll(minute, ":", "%3A")} {
		r.do("alice", "GET", "/repository/files@"+at+"/d/x.txt", nil).status(200).is("one")
		r.do("alice", "GET", "/repository/files@"+at+"/d/y.txt", nil).fails(404, "NOT_FOUND", "")
		r.do("alice", "GET", "/repository/files@"+at+"/d/x.txt.sha256", nil).status(200)
		list := r.do("alice", "GET", "/repository/files@"+at+"/d/?list", nil).status(200)
		if !strings.Contains(list.text, "x.txt") || strings.Contains(list.text, "y.txt") {
			t.Errorf("listing as of %s: %s", at, list.text)
		}
		root := r.do("alice", "GET", "/repository/files@"+at+"/?list", nil).status(200)
		if !strings.Contains(root.text, `"d"`) {
			t.Errorf("root as of %s: %s", at, root.text)
		}
		r.do("admin", "PUT", "/repository/files@"+at+"/d/z.txt", strings.NewReader("z")).fails(405, "NOT_ALLOWED", "")
		r.do("admin", "DELETE", "/repository/files@"+at+"/d/x.txt", nil).fails(405, "NOT_ALLOWED", "")
		r.do("bob", "GET", "/repository/files@"+at+"/d/x.txt", nil).fails(403, "FORBIDDEN", "")
		r.do("", "GET", "/repository/files@"+at+"/d/x.txt", nil).status(401)
	}
	r.do("alice", "GET", "/repository/files/d/x.txt", nil).status(200).is("two")
	r.do("alice", "GET", "/repository/files@none/d/x.txt", nil).fails(404, "NOT_FOUND", "none")
	r.do("alice", "GET", "/repository/files@2999-01-01T00:00:00Z/d/x.txt", nil).fails(400, "BAD_REQUEST", "future")
	r.do("bob", "GET", "/repository/files@none/d/x.txt", nil).fails(403, "FORBIDDEN", "")

	var all []map[string]any
	r.do("alice", "GET", path, nil).status(200).decode(&all)
	if len(all) != 1 || all[0]["name"] != "v1" {
		t.Errorf("snapshots %v", all)
	}
	r.do("bob", "GET", path, nil).fails(403, "FORBIDDEN", "")
	r.do("bob", "DELETE", path+"/v1", nil).fails(403, "FORBIDDEN", "")
	r.do("carol", "DELETE", path+"/v1", nil).status(204)
	r.do("carol", "DELETE", path+"/v1", nil).fails(404, "NOT_FOUND", "v1")
	r.do("alice", "GET", "/repository/files@v1/d/x.txt", nil).fails(404, "NOT_FOUND", "")
}
