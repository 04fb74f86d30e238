package integration_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"granary/integration/node"
)

// How the server answers JSON that it can't take. Each answer names the field
// that is wrong.
func TestBadJSON(t *testing.T) {
	g := guard(t)
	repository := func(fields string) string { return `{"name":"made","repo_type":"hosted","format":"raw"` + fields + `}` }
	cache := func(fields string) string { return `{"name":"made","repo_type":"cache","format":"raw"` + fields + `}` }
	group := func(fields string) string { return `{"name":"made","repo_type":"proxy","format":"raw"` + fields + `}` }
	for name, tt := range map[string]struct {
		path, body string
		status     int
		says       string
	}{
		"no JSON":                      {"repositories", `{`, 400, "body"},
		"empty":                        {"repositories", ``, 400, "body"},
		"two values":                   {"repositories", `{}{}`, 400, "body"},
		"not UTF-8":                    {"repositories", "{\"name\":\"\xff\"}", 400, "body"},
		"nested without end":           {"repositories", strings.Repeat(`{"a":`, 100_000), 400, "body"},
		"too long":                     {"repositories", repository(`,"x":"` + strings.Repeat("x", 2<<20) + `"`), 413, ""},
		"array":                        {"repositories", `[]`, 422, "object"},
		"null":                         {"repositories", `null`, 422, "object"},
		"no name":                      {"repositories", `{"repo_type":"hosted","format":"raw"}`, 422, "name"},
		"no type":                      {"repositories", `{"name":"made","format":"raw"}`, 422, "repo_type"},
		"no format":                    {"repositories", `{"name":"made","repo_type":"hosted"}`, 422, "format"},
		"name is a number":             {"repositories", `{"name":1,"repo_type":"hosted","format":"raw"}`, 422, "name"},
		"unknown type":                 {"repositories", `{"name":"made","repo_type":"virtual","format":"raw"}`, 422, "repo_type"},
		"unknown format":               {"repositories", `{"name":"made","repo_type":"hosted","format":"floppy"}`, 422, "format"},
		"members is a string":          {"repositories", group(`,"members":"files"`), 422, "members"},
		"ttl is a fraction":            {"repositories", cache(`,"upstream_url":"http://127.0.0.1/","cache_ttl_secs":1.5`), 422, "cache_ttl_secs"},
		"unknown policy":               {"repositories", repository(`,"conflict_policy":"perhaps"`), 422, "conflict_policy"},
		"empty name":                   {"repositories", `{"name":"","repo_type":"hosted","format":"raw"}`, 400, "name"},
		"name with a slash":            {"repositories", `{"name":"a/b","repo_type":"hosted","format":"raw"}`, 400, "name"},
		"name in capitals":             {"repositories", `{"name":"Made","repo_type":"hosted","format":"raw"}`, 400, "name"},
		"name is dots":                 {"repositories", `{"name":"..","repo_type":"hosted","format":"raw"}`, 400, "name"},
		"name of 64":                   {"repositories", `{"name":"` + strings.Repeat("n", 64) + `","repo_type":"hosted","format":"raw"}`, 400, "name"},
		"unknown store":                {"repositories", repository(`,"store":"none"`), 400, "store"},
		"upstream of a hosted":         {"repositories", repository(`,"upstream_url":"http://127.0.0.1/"`), 400, "upstream_url"},
		"members of a hosted":          {"repositories", repository(`,"members":["files"]`), 400, "members"},
		"no upstream":                  {"repositories", cache(``), 400, "upstream_url"},
		"upstream by ftp":              {"repositories", cache(`,"upstream_url":"ftp://127.0.0.1/"`), 400, "upstream_url"},
		"upstream by file":             {"repositories", cache(`,"upstream_url":"file:///etc/passwd"`), 400, "upstream_url"},
		"upstream without host":        {"repositories", cache(`,"upstream_url":"http:///x"`), 400, "upstream_url"},
		"ttl below -1":                 {"repositories", cache(`,"upstream_url":"http://127.0.0.1/","cache_ttl_secs":-2`), 400, "cache_ttl_secs"},
		"pattern that can't be read":   {"repositories", cache(`,"upstream_url":"http://127.0.0.1/","block_patterns":["("]`), 400, "block_patterns"},
		"no members":                   {"repositories", group(``), 400, "members"},
		"empty members":                {"repositories", group(`,"members":[]`), 400, "members"},
		"unknown member":               {"repositories", group(`,"members":["none"]`), 400, "members"},
		"member of another format":     {"repositories", group(`,"members":["mods"]`), 400, "members"},
		"member twice":                 {"repositories", group(`,"members":["files","files"]`), 400, "members"},
		"write member is none":         {"repositories", group(`,"members":["files"],"write_member":"mods"`), 400, "write_member"},
		"itself":                       {"repositories", group(`,"members":["made"]`), 400, "members"},
		"cleanup after no day":         {"repositories", repository(`,"cleanup_max_age_days":0`), 400, "cleanup_max_age_days"},
		"name taken, rest rubbish":     {"repositories", `{"name":"files","repo_type":7}`, 409, "files"},
		"store of unknown type":        {"stores", `{"name":"made","store_type":"tape"}`, 422, "store_type"},
		"store without root":           {"stores", `{"name":"made","store_type":"file"}`, 400, "root"},
		"store with a small io_size":   {"stores", `{"name":"made","store_type":"file","root":"/nowhere","io_size":1}`, 400, "io_size"},
		"store without bucket":         {"stores", `{"name":"made","store_type":"s3"}`, 400, "bucket"},
		"store that can't be reached":  {"stores", `{"name":"made","store_type":"file","root":"/proc/nowhere"}`, 400, ""},
		"bucket that can't be reached": {"stores", `{"name":"made","store_type":"s3","bucket":"bucket","endpoint":"http://127.0.0.1:1","access_key":"a","secret_key":"b","max_retries":0}`, 400, ""},
		"store taken":                  {"stores", `{"name":"default","store_type":7}`, 409, "default"},
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, g.Node, http.MethodPost, "/api/v1/"+tt.path, tt.body, tt.status, tt.says)
			resp, b := g.Do(http.MethodGet, "/api/v1/"+tt.path+"/made", nil)
			if resp.StatusCode != http.StatusNotFound {
				t.Errorf("it was made all the same: %s", b)
			}
		})
	}
	for _, kind := range []string{"", "text/plain", "application/x-www-form-urlencoded", "application/jsonp", ";"} {
		resp, b := g.Do(http.MethodPost, "/api/v1/repositories", strings.NewReader(repository("")), "Content-Type", kind)
		if resp.StatusCode != 415 || code(string(b)) != "BAD_REQUEST" {
			t.Errorf("Content-Type %q: %s\n%s", kind, resp.Status, b)
		}
	}
	refused(t, g.Node, http.MethodPut, "/api/v1/settings", `{"max_artifact_bytes":"much"}`, 422, "max_artifact_bytes")
	refused(t, g.Node, http.MethodPut, "/api/v1/settings", `{"jwt_expiry_secs":59}`, 400, "jwt_expiry_secs")
	refused(t, g.Node, http.MethodPut, "/api/v1/repositories/none", `{}`, 404, "none")
	refused(t, g.Node, http.MethodPut, "/api/v1/repositories/files", `{"format":"golang"}`, 400, "format")
	g.untouched(t)
}

// refused wants a JSON request to be answered by an error that says something.
func refused(t *testing.T, n *node.Node, method, path, body string, status int, says string) {
	t.Helper()
	resp, b := n.Do(method, path, strings.NewReader(body), "Content-Type", "application/json")
	want := map[int]string{400: "BAD_REQUEST", 404: "NOT_FOUND", 409: "CONFLICT", 413: "BAD_REQUEST", 422: "BAD_REQUEST"}[status]
	if resp.StatusCode != status || code(string(b)) != want || !strings.Contains(string(b), says) {
		t.Errorf("%s %s %.100s\nanswered %s, want %d about %q\n%s", method, path, body, resp.Status, status, says, b)
	}
}

// Groups within each other: no circle, and not more than eight deep.
func TestGroupNesting(t *testing.T) {
	g := guard(t)
	g.Create(`{"name":"g1","repo_type":"proxy","format":"raw","members":["files"]}`)
	for i := 2; i <= 8; i++ {
		g.Create(fmt.Sprintf(`{"name":"g%d","repo_type":"proxy","format":"raw","members":["g%d"]}`, i, i-1))
	}
	refused(t, g.Node, http.MethodPost, "/api/v1/repositories", `{"name":"g9","repo_type":"proxy","format":"raw","members":["g8"]}`, 400, "members")
	for _, member := range []string{"g1", "g2", "g8"} {
		refused(t, g.Node, http.MethodPut, "/api/v1/repositories/g1", `{"members":["files","`+member+`"]}`, 400, "members")
	}
	// One level more, put below the others.
	g.Create(`{"name":"low","repo_type":"proxy","format":"raw","members":["files"]}`)
	refused(t, g.Node, http.MethodPut, "/api/v1/repositories/g1", `{"members":["low"]}`, 400, "members")
	if got := g.Want(200, http.MethodGet, "/repository/g8/kept.txt", nil); string(got) != "kept" {
		t.Errorf("read through eight groups: %q", got)
	}
	g.Want(404, http.MethodGet, "/repository/g8/none", nil)
	g.untouched(t)
}

// Of two changes at once that each are fine and together are a circle one holds:
// it is refused, or the circle is opened where it closes.
func TestGroupCircleByRace(t *testing.T) {
	g := guard(t)
	for _, name := range []string{"left", "right"} {
		g.Create(`{"name":"` + name + `","repo_type":"proxy","format":"raw","members":["files"]}`)
	}
	for range 10 {
		done := make(chan int, 2)
		for from, to := range map[string]string{"left": "right", "right": "left"} {
			go func() {
				resp, _, err := g.Try(t.Context(), http.MethodPut, "/api/v1/repositories/"+from, strings.NewReader(`{"members":["`+to+`","files"]}`), "Content-Type", "application/json")
				if err != nil {
					t.Error(err)
					done <- 0
					return
				}
				done <- resp.StatusCode
			}()
		}
		a, b := <-done, <-done
		if a != 200 && b != 200 || a != 200 && a != 400 || b != 200 && b != 400 {
			t.Errorf("two changes at once answered %d and %d", a, b)
		}
		left, right := g.Want(200, http.MethodGet, "/api/v1/repositories/left", nil), g.Want(200, http.MethodGet, "/api/v1/repositories/right", nil)
		if bytes.Contains(left, []byte(`"members":["right"`)) == bytes.Contains(right, []byte(`"members":["left"`)) {
			t.Errorf("both hold or none does:\n%s\n%s", left, right)
		}
		for _, name := range []string{"left", "right"} {
			g.Want(200, http.MethodGet, "/repository/"+name+"/kept.txt", nil)
			g.Want(404, http.MethodGet, "/repository/"+name+"/none", nil)
			g.Want(200, http.MethodPut, "/api/v1/repositories/"+name, strings.NewReader(`{"members":["files"]}`), "Content-Type", "application/json")
		}
	}
}
