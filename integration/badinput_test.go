package integration_test

import (
	"bytes"
	"crypto/md5" //nolint:gosec // one of the digests that clients send
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"granary/integration/node"
)

// limit is settings.max_artifact_bytes on the node of the tests of bad input.
const limit = 12 << 20

// guarded is a node with the repository files, in which lies kept.txt alone.
// Whatever a test sends, that has to stay so.
type guarded struct {
	*node.Node
	t     *testing.T
	blobs []string
}

func guard(t *testing.T) *guarded {
	t.Helper()
	n := node.Start(t, node.Options{})
	n.Want(200, http.MethodPut, "/api/v1/settings", strings.NewReader(fmt.Sprintf(`{"max_artifact_bytes":%d}`, limit)), "Content-Type", "application/json")
	n.Create(`{"name":"files","repo_type":"hosted","format":"raw"}`)
	n.Create(`{"name":"mods","repo_type":"hosted","format":"golang"}`)
	n.Want(201, http.MethodPut, "/repository/files/kept.txt", strings.NewReader("kept"))
	g := &guarded{Node: n, t: t}
	g.blobs = g.stored()
	return g
}

// stored lists the files in the blob folder, those of running uploads too.
func (g *guarded) stored() []string {
	g.t.Helper()
	var files []string
	err := filepath.WalkDir(filepath.Join(g.Data, "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		g.t.Fatal(err)
	}
	return files
}

// untouched fails the test unless the server still serves, and has what it had.
func (g *guarded) untouched(t *testing.T) {
	t.Helper()
	resp, b, err := g.Try(t.Context(), http.MethodGet, "/repository/files/kept.txt", nil)
	if err != nil || resp.StatusCode != http.StatusOK || string(b) != "kept" {
		t.Fatalf("kept.txt is lost: %v, %q\n%s", err, b, g.Output())
	}
	for _, repository := range []string{"files", "mods"} {
		resp, b, err = g.Try(t.Context(), http.MethodGet, "/api/v1/repositories/"+repository+"/artifacts?limit=1000", nil)
		var browse struct{ Dirs, Artifacts []struct{ Name, Path string } }
		if err == nil {
			err = json.Unmarshal(b, &browse)
		}
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("list %s: %v\n%s", repository, err, b)
		}
		if len(browse.Dirs) > 0 || len(browse.Artifacts) > 1 || repository == "mods" && len(browse.Artifacts) > 0 {
			t.Errorf("%s has more than before: %s", repository, b)
		}
	}
	// What a request that was cut off has begun goes when the server hears of that.
	now := g.stored()
	for until := time.Now().Add(patience); !slices.Equal(now, g.blobs) && time.Now().Before(until); now = g.stored() {
		time.Sleep(20 * time.Millisecond)
	}
	if !slices.Equal(now, g.blobs) {
		t.Errorf("the blob folder has %q, had %q", now, g.blobs)
	}
}

// noURL begins a path whose escapes are none.
const noURL = "bad%"

// Paths go over the wire as they are written here.
func TestBadPaths(t *testing.T) {
	g := guard(t)
	seg := func(n int) string { return strings.Repeat("s", n) }
	path900 := strings.Repeat(seg(224)+"/", 4)[:899] + "e"
	for name, tt := range map[string]struct {
		path   string
		status []int
	}{
		"dotdot":                {"a/../b", []int{400}},
		"dotdot to the root":    {"../../kept", []int{400}},
		"dotdot at the end":     {"a/..", []int{400}},
		"encoded dotdot":        {"a/%2e%2e/b", []int{400}},
		"half encoded dotdot":   {"a/.%2E/b", []int{400}},
		"encoded slash dotdot":  {"a%2f..%2fb", []int{400}},
		"leaves the repository": {"%2e%2e%2fmods%2fx", []int{400}},
		"NUL":                   {"a%00b", []int{400}},
		"newline":               {"a%0ab", []int{400}},
		"backslash":             {`a\..\b`, []int{400}},
		"encoded backslash":     {"a%5c..%5cb", []int{400}},
		"invalid UTF-8":         {"a%ff", []int{400}},
		"overlong UTF-8":        {"a/%c0%ae%c0%ae/b", []int{400}},
		"surrogate":             {"%ed%a0%80", []int{400}},
		"bad escape":            {noURL + "zz", []int{400}},
		"cut escape":            {noURL + "2", []int{400}},
		"long segment":          {seg(256), []int{400, 414}},
		"long segment, escaped": {strings.Repeat("%73", 256), []int{400, 414}},
		"long path":             {path900 + "e", []int{400, 414}},
		"nothing":               {"", []int{400, 404, 405}},
		"snapshot":              {"../files@yesterday/x", []int{400}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, method := range []string{"PUT", "GET", "HEAD", "DELETE", "POST"} {
				if method != "PUT" && tt.path == "" {
					continue // the listing
				}
				w := dial(t, g.Node, patience)
				length := ""
				// What is no URL at all net/http refuses with its body unread, by
				// which the connection is reset under the answer.
				if (method == "PUT" || method == "POST") && !strings.HasPrefix(tt.path, noURL) {
					length = "Content-Length: 1\r\n"
				}
				w.send("%s /repository/files/%s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n%s%s\r\n", method, tt.path, admin, length)
				if length != "" {
					w.send("x")
				}
				resp, body := w.answer(method)
				if !slices.Contains(tt.status, resp.StatusCode) {
					t.Errorf("%s answered %s, want %d\n%s", method, resp.Status, tt.status, body)
				}
				// net/http answers by itself what is no URL.
				if method != "HEAD" && resp.Header.Get("X-Request-Id") != "" && resp.StatusCode != 405 && code(body) == "" {
					t.Errorf("%s: no error body: %s", method, body)
				}
			}
			g.untouched(t)
		})
	}
	// The limits themselves are allowed, and what only looks like an escape.
	for _, path := range []string{path900, seg(255), "%252e%252e/x", ".../x", "..a", "a%20b%3F%23%25%22%27%3C%3E%3B%2A%5B%5D%7B%7D~%26%2B"} {
		g.Want(201, http.MethodPut, "/repository/files/"+path, strings.NewReader("x"))
		g.Want(200, http.MethodGet, "/repository/files/"+path, nil)
	}
}

func TestBadDigests(t *testing.T) {
	g := guard(t)
	small, large := []byte("small"), bytes.Repeat([]byte("0123456789abcdef"), 9<<20/16)
	sum := md5.Sum(small) //nolint:gosec // see above
	for name, tt := range map[string]struct {
		header, value string
		status        int
	}{
		"sha256 disagrees":       {"X-Checksum-Sha256", strings.Repeat("0", 64), 422},
		"sha1 disagrees":         {"X-Checksum-Sha1", strings.Repeat("0", 40), 422},
		"sha512 disagrees":       {"X-Checksum-Sha512", strings.Repeat("0", 128), 422},
		"md5 disagrees":          {"X-Checksum-Md5", strings.Repeat("0", 32), 422},
		"blake3 disagrees":       {"X-Checksum-Blake3", strings.Repeat("0", 64), 422},
		"Content-MD5 disagrees":  {"Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA==", 422},
		"Digest disagrees":       {"Digest", "sha-256=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", 422},
		"sha256 is short":        {"X-Checksum-Sha256", strings.Repeat("0", 63), 400},
		"sha256 is long":         {"X-Checksum-Sha256", strings.Repeat("0", 66), 400},
		"sha256 is no hex":       {"X-Checksum-Sha256", strings.Repeat("g", 64), 400},
		"sha256 is empty":        {"X-Checksum-Sha256", "", 400},
		"md5 has a sha1's size":  {"X-Checksum-Md5", strings.Repeat("0", 40), 400},
		"Content-MD5 is no MD5":  {"Content-MD5", "!!!", 400},
		"Content-Digest is none": {"Content-Digest", "sha-256=:nothing:", 400},
	} {
		t.Run(name, func(t *testing.T) {
			for what, body := range map[string][]byte{"small": small, "large": large} {
				resp, b, err := g.Try(t.Context(), http.MethodPut, "/repository/files/wrong", bytes.NewReader(body), tt.header, tt.value)
				if err != nil {
					t.Fatal(err)
				}
				if resp.StatusCode != tt.status || code(string(b)) != "BAD_REQUEST" {
					t.Errorf("%s: answered %s, want %d BAD_REQUEST\n%s", what, resp.Status, tt.status, b)
				}
			}
			g.untouched(t)
		})
	}
	g.Want(422, http.MethodPut, "/repository/files/kept.txt", strings.NewReader("other"), "X-Checksum-Md5", strings.Repeat("0", 32))
	g.untouched(t)
	g.Want(201, http.MethodPut, "/repository/files/right", bytes.NewReader(small), "X-Checksum-Md5", fmt.Sprintf("%x", sum))
	g.Want(201, http.MethodPut, "/repository/files/right", bytes.NewReader(small), "Content-MD5", base64.StdEncoding.EncodeToString(sum[:]))
}

func TestFailedPreconditions(t *testing.T) {
	g := guard(t)
	resp, _ := g.Do(http.MethodHead, "/repository/files/kept.txt", nil)
	etag := resp.Header.Get("ETag")
	for _, tt := range []struct{ method, path, header, value string }{
		{"PUT", "kept.txt", "If-Match", `"0000"`},
		{"PUT", "kept.txt", "If-None-Match", "*"},
		{"PUT", "kept.txt", "If-None-Match", etag},
		{"PUT", "absent", "If-Match", "*"},
		{"PUT", "absent", "If-Match", etag},
		{"DELETE", "kept.txt", "If-Match", `"0000", "1111"`},
		{"DELETE", "kept.txt", "If-None-Match", etag},
	} {
		body := strings.NewReader("other")
		resp, b := g.Do(tt.method, "/repository/files/"+tt.path, body, tt.header, tt.value)
		if resp.StatusCode != 412 || code(string(b)) != "PRECONDITION_FAILED" {
			t.Errorf("%s %s with %s: %s answered %s\n%s", tt.method, tt.path, tt.header, tt.value, resp.Status, b)
		}
		g.untouched(t)
	}
	g.Want(201, http.MethodPut, "/repository/files/kept.txt", strings.NewReader("kept"), "If-Match", `"0000", `+etag)
}

func TestUnknownNames(t *testing.T) {
	g := guard(t)
	g.Create(`{"name":"mirror","repo_type":"cache","format":"raw","upstream_url":"http://127.0.0.1:1/"}`)
	for _, tt := range []struct {
		method, path string
		status       int
		code         string
	}{
		{"GET", "/repository/none/x", 404, "NOT_FOUND"},
		{"PUT", "/repository/none/x", 404, "NOT_FOUND"},
		{"DELETE", "/repository/none/x", 404, "NOT_FOUND"},
		{"GET", "/repository/NONE/x", 404, "NOT_FOUND"},
		{"GET", "/repository/files@yesterday/kept.txt", 404, "NOT_FOUND"},
		{"GET", "/repository/files@/kept.txt", 400, "BAD_REQUEST"},
		{"GET", "/repository/files/none", 404, "NOT_FOUND"},
		{"DELETE", "/repository/files/none", 404, "NOT_FOUND"},
		{"PUT", "/repository/mirror/x", 405, "NOT_ALLOWED"},
		{"PUT", "/repository/mods/x", 405, ""}, // as text
		{"PATCH", "/repository/files/kept.txt", 405, ""},
		{"GET", "/api/v1/nothing", 404, "NOT_FOUND"},
		{"GET", "/api/v1/repositories/none", 404, "NOT_FOUND"},
		{"GET", "/api/v1/repositories/%2e%2e", 404, "NOT_FOUND"},
		{"DELETE", "/api/v1/repositories/none", 404, "NOT_FOUND"},
		{"GET", "/api/v1/repositories/none/artifacts", 404, "NOT_FOUND"},
		{"GET", "/api/v1/repositories/files/artifacts?limit=x", 400, "BAD_REQUEST"},
		{"GET", "/api/v1/repositories/files/artifacts?limit=-1", 400, "BAD_REQUEST"},
		{"GET", "/api/v1/repositories/files/artifacts?q=&cursor=!", 400, "BAD_REQUEST"},
		{"GET", "/api/v1/repositories/files/artifacts?prefix=../x", 400, "BAD_REQUEST"},
		{"GET", "/api/v1/repositories/files/download-archive?prefix=&format=rar", 400, "BAD_REQUEST"},
		{"GET", "/api/v1/repositories/files/download-archive", 400, "BAD_REQUEST"},
		{"GET", "/api/v1/stores/none", 404, "NOT_FOUND"},
		{"DELETE", "/api/v1/stores/none", 404, "NOT_FOUND"},
		{"POST", "/api/v1/stores/none/check", 404, "NOT_FOUND"},
		{"GET", "/api/v1/stores/default/browse?path=../kv", 400, "BAD_REQUEST"},
		{"DELETE", "/api/v1/stores/default", 409, "CONFLICT"},
		{"BREW", "/api/v1/repositories", 405, ""},
	} {
		resp, b := g.Do(tt.method, tt.path, nil)
		if resp.StatusCode != tt.status || code(string(b)) != tt.code {
			t.Errorf("%s %s answered %s %s, want %d %s\n%s", tt.method, tt.path, resp.Status, code(string(b)), tt.status, tt.code, b)
		}
	}
	g.untouched(t)
}
