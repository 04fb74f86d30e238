package httpapi

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ulikunitz/xz"

	"granary/repo/config"
)

// repositoryKeys are the keys that every answer has.
var repositoryKeys = strings.Fields(`
	name repo_type format store upstream_url cache_ttl_secs members write_member listen cleanup_max_unaccessed_days
	cleanup_max_age_days cleanup_untagged_manifests upstream_auth content_disposition repodata_depth created_at artifact_count
	total_bytes conflict_policy history_days presigned_redirects upstream_realms mutable_patterns immutable_patterns
	allow_patterns block_patterns negative_ttl_secs architectures apt_components valid_until_days yum_sqlite minimum_age_days
	quota_bytes quota_artifacts`)

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

func TestArchives(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	want := map[string]string{"x.txt": "x", "sub/y é.bin": strings.Repeat("yz", 40_000), "empty": ""}
	for name, body := range want {
		r.Put("files", "dir/"+strings.ReplaceAll(name, " ", "%20"), []byte(body))
	}
	r.Put("files", "directory/other", []byte("no"))
	const path = "/api/v1/repositories/files/download-archive"
	for kind, read := range map[string]func([]byte) (map[string]string, error){
		"tar": func(b []byte) (map[string]string, error) { return untar(bytes.NewReader(b)) },
		"tar.gz": func(b []byte) (map[string]string, error) {
			z, err := gzip.NewReader(bytes.NewReader(b))
			return untarFrom(z, err)
		},
		"tar.xz": func(b []byte) (map[string]string, error) {
			z, err := xz.NewReader(bytes.NewReader(b))
			return untarFrom(z, err)
		},
		"zip": unzip,
	} {
		a := r.do("admin", "GET", path+"?prefix=dir/&format="+kind, nil).status(200)
		got, err := read([]byte(a.text))
		if err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: %s", kind, d)
		}
		if _, params, err := mime.ParseMediaType(a.Header.Get("Content-Disposition")); err != nil || params["filename"] != "dir."+kind {
			t.Errorf("%s: Content-Disposition %q", kind, a.Header.Get("Content-Disposition"))
		}
	}
	a := r.do("admin", "GET", path+"?prefix=&format=tar", nil).status(200).header("Content-Disposition", `attachment; filename="files.tar"`)
	if got, err := untar(strings.NewReader(a.text)); err != nil || got["directory/other"] != "no" || len(got) != 4 {
		t.Errorf("whole repository: %v, %v", slices.Collect(maps.Keys(got)), err)
	}
	for query, part := range map[string]string{"?format=tar": "prefix", "?prefix=dir": "format", "?prefix=dir&format=rar": "format", "?prefix=../x&format=tar": "prefix"} {
		r.do("admin", "GET", path+query, nil).fails(400, "BAD_REQUEST", part)
	}
	r.do("admin", "GET", path+"?prefix=none&format=tar", nil).fails(404, "NOT_FOUND", "none")
	r.do("", "GET", path+"?prefix=dir&format=tar", nil).fails(401, "UNAUTHORIZED", "")
}

func untarFrom(r io.Reader, err error) (map[string]string, error) {
	if err != nil {
		return nil, err
	}
	return untar(r)
}

func untar(r io.Reader) (map[string]string, error) {
	out := map[string]string{}
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if err == io.EOF {
			_, err = io.Copy(io.Discard, r)
			return out, err
		}
		if err != nil {
			return out, err
		}
		b, err := io.ReadAll(t)
		if err != nil {
			return out, err
		}
		out[h.Name] = string(b)
	}
}

func unzip(b []byte) (map[string]string, error) {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	out := map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			return out, err
		}
		b, err := io.ReadAll(r)
		if err != nil {
			return out, err
		}
		out[f.Name] = string(b)
	}
	return out, nil
}

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
		"access_log": true, "max_artifact_bytes": 34359738368.0, "cleanup_interval_secs": nil, "default_docker_repo": nil, "cors": nil,
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
	if d := cmp.Diff([]string{"created_at", "must_change_password", "roles", "updated_at", "username"}, keys); d != "" {
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
