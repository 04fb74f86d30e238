package httpapi

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"granary/repo/config"
)

// repositoryKeys are the keys that every answer has.
var repositoryKeys = strings.Fields(`
	name repo_type format store upstream_url cache_ttl_secs members write_member listen cleanup_max_unaccessed_days
	cleanup_max_age_days cleanup_untagged_manifests upstream_auth content_disposition repodata_depth created_at artifact_count
	total_bytes conflict_policy history_days presigned_redirects upstream_realms mutable_patterns immutable_patterns
	allow_patterns block_patterns negative_ttl_secs architectures apt_components valid_until_days upstream_keys upstream_unsigned yum_sqlite yum_compression
	minimum_age_days
	quota_bytes quota_artifacts claim_names cleanup_keep_last cleanup_keep_latest cleanup_name_pattern cleanup_version_pattern`)

func (a *answer) object() map[string]any {
	a.t.Helper()
	var m map[string]any
	a.decode(&m)
	return m
}

func TestRepositories(t *testing.T) {
	r := newRig(t)
	const all = "/api/v1/repositories"
	got := r.json("admin", "POST", all, `{"name":"files","repo_type":"hosted","format":"raw","unknown":1}`).status(201).header("Cache-Control", "no-store").object()
	keys := slices.Sorted(maps.Keys(got))
	slices.Sort(repositoryKeys)
	if d := cmp.Diff(repositoryKeys, keys); d != "" {
		t.Errorf("keys -want +got:\n%s", d)
	}
	for k, want := range map[string]any{
		"name": "files", "repo_type": "hosted", "format": "raw", "store": "default", "upstream_url": nil, "cache_ttl_secs": nil, "members": nil,
		"conflict_policy": "allow", "artifact_count": 0.0, "created_at": "2026-11-22T12:00:00.000Z", "yum_sqlite": false, "upstream_auth": nil,
	} {
		if got[k] != want {
			t.Errorf("%s is %v, want %v", k, got[k], want)
		}
	}

	got = r.json("admin", "POST", all, `{"name":"cached","repo_type":"cache","format":"golang","upstream_url":"https://u:pw@upstream.example.com/x",
		"cache_ttl_secs":null,"upstream_auth":null}`).status(201).object()
	if got["upstream_url"] != "https://upstream.example.com/x" || got["cache_ttl_secs"] != 0.0 || got["conflict_policy"] != "allow-identical" {
		t.Errorf("cache %v", got)
	}
	if d := cmp.Diff(map[string]any{"username": "u", "password": "********"}, got["upstream_auth"]); d != "" {
		t.Errorf("upstream_auth %s", d)
	}
	// Absent fields stay, the mask keeps the password, null is the default.
	got = r.json("admin", "PUT", all+"/cached", `{"upstream_auth":{"username":"v","password":"********"},"cache_ttl_secs":60,"name":"cached","repo_type":"cache"}`).status(200).object()
	if c, _ := r.Registry.Repository(t.Context(), "cached"); c.UpstreamAuth.Username != "v" || *c.CacheTTL != 60 || c.UpstreamURL == "" {
		t.Errorf("stored %+v", c)
	} else if pw, err := c.UpstreamAuth.Password.Reveal(); pw != "pw" || err != nil {
		t.Errorf("password %q, %v", pw, err)
	}
	if got["cache_ttl_secs"] != 60.0 {
		t.Errorf("answer %v", got)
	}
	got = r.json("admin", "PUT", all+"/cached", `{"cache_ttl_secs":null,"upstream_auth":null}`).status(200).object()
	if got["cache_ttl_secs"] != 0.0 || got["upstream_auth"] != nil {
		t.Errorf("answer %v", got)
	}

	r.json("admin", "POST", all, `{"name":"second","repo_type":"hosted","format":"raw"}`).status(201)
	got = r.json("admin", "POST", all, `{"name":"group","repo_type":"proxy","format":"raw","members":["files","second"],"write_member":"second"}`).status(201).object()
	if d := cmp.Diff([]any{"files", "second"}, got["members"]); d != "" || got["write_member"] != "second" {
		t.Errorf("group %v", got)
	}
	r.json("admin", "PUT", all+"/group", `{"write_member":null}`).status(200)
	r.do("admin", "PUT", "/repository/second/x", strings.NewReader("12345")).status(201)

	r.do("admin", "DELETE", all+"/second", nil).status(204).is("")
	r.do("admin", "GET", all+"/second", nil).fails(404, "NOT_FOUND", "second")
	r.do("admin", "DELETE", all+"/second", nil).fails(404, "NOT_FOUND", "")
	r.do("admin", "GET", "/repository/second/x", nil).fails(404, "NOT_FOUND", "")
	got = r.do("admin", "GET", all+"/group", nil).status(200).object()
	if d := cmp.Diff([]any{"files"}, got["members"]); d != "" {
		t.Errorf("members after a deletion %s", d)
	}
	got = r.json("admin", "POST", all+"/files/rename", `{"new_name":"renamed"}`).status(200).object()
	if got["name"] != "renamed" {
		t.Errorf("renamed %v", got)
	}
}

func TestRepositoryRefusals(t *testing.T) {
	r := newRig(t)
	const all = "/api/v1/repositories"
	r.Create("files", config.Hosted, "raw", nil)
	r.user("alice", "read", "files")
	tests := []struct {
		body   string
		status int
		code   string
		part   string
	}{
		{`{`, 400, "BAD_REQUEST", "body"},
		{``, 400, "BAD_REQUEST", "body"},
		{`{} {}`, 400, "BAD_REQUEST", "body"},
		{"{\"name\":\"\xff\"}", 400, "BAD_REQUEST", "UTF-8"},
		{`[]`, 422, "BAD_REQUEST", "body"},
		{`{}`, 422, "BAD_REQUEST", "name: is missing"},
		{`{"name":7,"repo_type":"hosted","format":"raw"}`, 422, "BAD_REQUEST", "name: expected string"},
		{`{"name":"n","format":"raw"}`, 422, "BAD_REQUEST", "repo_type: is missing"},
		{`{"name":"n","repo_type":"mirror","format":"raw"}`, 422, "BAD_REQUEST", "repo_type"},
		{`{"name":"n","repo_type":"hosted","format":"floppy"}`, 422, "BAD_REQUEST", "format"},
		{`{"name":"n","repo_type":"hosted","format":"raw","cleanup_max_age_days":"x"}`, 422, "BAD_REQUEST", "cleanup_max_age_days"},
		{`{"name":"n","repo_type":"hosted","format":"raw","conflict_policy":"x"}`, 422, "BAD_REQUEST", "conflict_policy"},
		{`{"name":"n","repo_type":"hosted","format":"raw","members":"x"}`, 422, "BAD_REQUEST", "members"},
		{`{"name":"n","repo_type":"cache","format":"raw","upstream_url":"http://h","upstream_auth":{"username":5}}`, 422, "BAD_REQUEST", "upstream_auth.username"},
		{`{"name":"","repo_type":"hosted","format":"raw"}`, 400, "BAD_REQUEST", "name"},
		{`{"name":"Up","repo_type":"hosted","format":"raw"}`, 400, "BAD_REQUEST", "name"},
		{`{"name":"api","repo_type":"hosted","format":"raw"}`, 400, "BAD_REQUEST", "reserved"},
		{`{"name":"n","repo_type":"hosted","format":"raw","store":"none"}`, 400, "BAD_REQUEST", "store"},
		{`{"name":"n","repo_type":"hosted","format":"raw","cleanup_max_age_days":0}`, 400, "BAD_REQUEST", "cleanup_max_age_days"},
		{`{"name":"n","repo_type":"hosted","format":"raw","repodata_depth":1}`, 400, "BAD_REQUEST", "repodata_depth"},
		{`{"name":"n","repo_type":"cache","format":"raw"}`, 400, "BAD_REQUEST", "upstream_url"},
		{`{"name":"n","repo_type":"cache","format":"raw","upstream_url":"ftp://h"}`, 400, "BAD_REQUEST", "upstream_url"},
		{`{"name":"n","repo_type":"cache","format":"raw","upstream_url":"http://h","upstream_auth":{"password":"********"}}`, 400, "BAD_REQUEST", "password"},
		{`{"name":"n","repo_type":"proxy","format":"raw","members":[]}`, 400, "BAD_REQUEST", "members"},
		{`{"name":"n","repo_type":"proxy","format":"raw","members":["none"]}`, 400, "BAD_REQUEST", "members"},
		{`{"name":"n","repo_type":"proxy","format":"raw","members":["files"],"write_member":"none"}`, 400, "BAD_REQUEST", "write_member"},
		// A taken name is told before anything else is judged.
		{`{"name":"files"}`, 409, "CONFLICT", "files"},
		{`{"name":"files","repo_type":"mirror","format":7,"store":"none"}`, 409, "CONFLICT", "files"},
	}
	for _, tt := range tests {
		r.json("admin", "POST", all, tt.body).fails(tt.status, tt.code, tt.part)
	}
	r.do("admin", "POST", all, strings.NewReader(`{}`)).fails(415, "BAD_REQUEST", "Content-Type")
	r.do("admin", "POST", all, strings.NewReader(`{}`), "Content-Type", "text/json").fails(415, "BAD_REQUEST", "Content-Type")
	r.json("admin", "POST", all, `{"name":"`+strings.Repeat("x", 2<<20)+`"}`).status(413)
	r.json("admin", "PUT", all+"/files", `{"format":"golang"}`).fails(400, "BAD_REQUEST", "format")
	r.json("admin", "PUT", all+"/files", `{"store":"other"}`).fails(400, "BAD_REQUEST", "store")
	r.json("admin", "PUT", all+"/none", `{}`).fails(404, "NOT_FOUND", "none")
	r.json("admin", "PUT", all+"/files", `{"quota_bytes":"many"}`).fails(422, "BAD_REQUEST", "quota_bytes")

	// Rights are decided before a body is read, and from the name alone.
	for _, as := range []string{"alice", ""} {
		status, code := 403, "FORBIDDEN"
		if as == "" {
			status, code = 401, "UNAUTHORIZED"
		}
		r.json(as, "POST", all, `{`).fails(status, code, "")
		for _, name := range []string{"files", "absent"} {
			r.json(as, "PUT", all+"/"+name, `{`).fails(status, code, "")
			r.do(as, "DELETE", all+"/"+name, nil).fails(status, code, "")
		}
	}
	r.do("alice", "GET", all+"/files", nil).status(200)
	r.do("alice", "GET", all+"/absent", nil).fails(403, "FORBIDDEN", "")
	r.do("", "GET", all+"/absent", nil).fails(401, "UNAUTHORIZED", "")
	r.do("admin", "GET", all+"/absent", nil).fails(404, "NOT_FOUND", "")
}

func TestRepositoryListIsFiltered(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"b", "a", "c"} {
		r.Create(name, config.Hosted, "raw", nil)
	}
	r.user("alice", "read", "b", "write", "c")
	for as, want := range map[string][]string{"admin": {"a", "b", "c"}, "alice": {"b"}, "": {}} {
		var list []struct{ Name string }
		r.do(as, "GET", "/api/v1/repositories", nil).status(200).decode(&list)
		names := []string{}
		for _, l := range list {
			names = append(names, l.Name)
		}
		if d := cmp.Diff(want, names); d != "" {
			t.Errorf("as %q: %s", as, d)
		}
	}
}

func TestBrowseAndSearch(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	for _, p := range []string{"top.txt", "a/1.txt", "a/2.txt", "a/deep/3.TXT", "ab/4.txt"} {
		r.Put("files", p, []byte(p))
	}
	const all = "/api/v1/repositories/files/artifacts"
	type page struct {
		Dirs []struct {
			Name  string
			Count int64 `json:"artifact_count"`
			Bytes int64 `json:"total_bytes"`
		}
		Artifacts  []struct{ ID, Path string }
		Total      *int64
		Offset     *int
		Limit      int
		NextCursor string `json:"next_cursor"`
	}
	get := func(query string) (p page, line string) {
		t.Helper()
		a := r.do("admin", "GET", all+query, nil).status(200)
		a.decode(&p)
		if !strings.Contains(a.text, `"dirs":[`) || !strings.Contains(a.text, `"artifacts":[`) {
			t.Errorf("%s: lists are missing in %s", query, a.text)
		}
		var names []string
		for _, d := range p.Dirs {
			names = append(names, d.Name+"/")
		}
		for _, f := range p.Artifacts {
			names = append(names, f.Path)
		}
		return p, strings.Join(names, " ")
	}
	for query, want := range map[string]string{
		"":                           "a/ ab/ top.txt",
		"?prefix=":                   "a/ ab/ top.txt",
		"?prefix=a":                  "deep/ 1.txt 2.txt",
		"?prefix=a/":                 "deep/ 1.txt 2.txt",
		"?prefix=a&limit=1&offset=1": "1.txt",
		"?prefix=a%2Fdeep":           "3.TXT",
		"?prefix=none":               "",
		"?prefix=a&q=":               "a/1.txt a/2.txt a/deep/3.TXT",
		"?q=3.txt":                   "a/deep/3.TXT",
		"?q=none":                    "",
		"?q=.TXT&prefix=ab":          "ab/4.txt",
		"?limit=99999":               "a/ ab/ top.txt",
	} {
		p, line := get(query)
		if strings.Contains(query, "q=") {
			words := strings.Fields(line)
			slices.Sort(words)
			line = strings.Join(words, " ")
		}
		if line != want {
			t.Errorf("%s: %q, want %q", query, line, want)
		}
		if search := strings.Contains(query, "q="); search != (p.Total == nil) || search != (p.Offset == nil) {
			t.Errorf("%s: total %v, offset %v", query, p.Total, p.Offset)
		}
	}
	p, _ := get("?prefix=a&limit=1&offset=1")
	if *p.Total != 3 || *p.Offset != 1 || p.Limit != 1 || p.Artifacts[0].ID != "a/1.txt" {
		t.Errorf("page %+v", p)
	}
	found, cursor := map[string]bool{}, ""
	for range 10 {
		p, _ := get("?q=txt&limit=2&cursor=" + cursor)
		for _, f := range p.Artifacts {
			found[f.Path] = true
		}
		if cursor = p.NextCursor; cursor == "" {
			break
		}
	}
	if len(found) != 5 || cursor != "" {
		t.Errorf("search in pages found %v", found)
	}
	for _, query := range []string{"?limit=x", "?limit=0", "?limit=-1", "?offset=-1", "?offset=x", "?prefix=a/../b", "?prefix=%00", "?q=%zz", "?q=a&cursor=x"} {
		r.do("admin", "GET", all+query, nil).fails(400, "BAD_REQUEST", "")
	}
	r.user("alice", "read", "other")
	r.do("alice", "GET", all, nil).fails(403, "FORBIDDEN", "")
	r.do("", "GET", all, nil).fails(401, "UNAUTHORIZED", "")
	r.do("admin", "GET", "/api/v1/repositories/none/artifacts", nil).fails(404, "NOT_FOUND", "")
}

// TestListenIsTheServers: who administers one repository only can't take a port
// or host name of the server for it, and nobody takes another's.
func TestListenIsTheServers(t *testing.T) {
	r := newRig(t)
	r.user("owner", "admin", "images")
	const path = "/api/v1/repositories/images"
	r.json("admin", "POST", "/api/v1/repositories", `{"name":"images","repo_type":"hosted","format":"docker","listen":"5000"}`).status(201)
	r.json("admin", "POST", "/api/v1/repositories", `{"name":"other","repo_type":"hosted","format":"docker","listen":":5000"}`).fails(400, "BAD_REQUEST", "listen: is that of repository images")
	r.json("admin", "POST", "/api/v1/repositories", `{"name":"other","repo_type":"hosted","format":"docker","listen":"registry.example.com"}`).status(201)
	r.json("admin", "PUT", path, `{"listen":"Registry.example.com"}`).fails(400, "BAD_REQUEST", "listen: is that of repository other")
	r.json("owner", "PUT", path, `{"listen":"5000","quota_artifacts":7}`).status(200)
	r.json("owner", "PUT", path, `{"listen":"6000"}`).fails(403, "FORBIDDEN", "the role admin")
	r.json("owner", "PUT", path, `{"listen":null}`).fails(403, "FORBIDDEN", "the role admin")
	if got := r.do("admin", "GET", path, nil).object(); got["listen"] != "5000" || got["quota_artifacts"] != 7.0 {
		t.Errorf("listen %v, quota %v", got["listen"], got["quota_artifacts"])
	}
	r.json("admin", "PUT", path, `{"listen":null}`).status(200)
	r.json("admin", "PUT", "/api/v1/repositories/other", `{"listen":"5000"}`).status(200)
}

// TestWholeNumbers: numbers that JSON has and the field can't hold are told by
// the field's name as clients spell it.
func TestWholeNumbers(t *testing.T) {
	r := newRig(t)
	for _, n := range []string{"1e3", "3.0", "99999999999999999999"} {
		r.json("admin", "POST", "/api/v1/repositories", `{"name":"n","repo_type":"hosted","format":"raw","quota_bytes":`+n+`}`).
			fails(422, "BAD_REQUEST", "").is(`{"error":{"code":"BAD_REQUEST","message":"quota_bytes: expected integer, in digits alone and not too large"}}` + "\n")
		r.json("admin", "PUT", "/api/v1/settings", `{"rate_limit":{"burst_size":`+n+`}}`).fails(422, "BAD_REQUEST", "rate_limit.burst_size: expected integer")
	}
}

// TestLongPrefix: a directory has the limit of a path.
func TestLongPrefix(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	for prefix, want := range map[string]int{strings.Repeat("d/", 450): 200, strings.Repeat("d/", 451): 400} {
		a := r.do("admin", "GET", "/api/v1/repositories/files/artifacts?prefix="+prefix, nil).status(want)
		if want == 400 {
			a.fails(400, "BAD_REQUEST", "prefix: has 901 bytes, at most 900 are allowed")
		}
	}
}
