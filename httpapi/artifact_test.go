package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"granary/digest"
	"granary/repo/config"
)

func TestPutGetHeadDelete(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	const body = "hello, granary"
	h := digest.NewHasher()
	h.Write([]byte(body))
	b3, s2 := h.Sums().Hex(digest.BLAKE3), h.Sums().Hex(digest.SHA256)

	put := r.do("admin", "PUT", "/repository/files/a%20dir/b.txt", strings.NewReader(body)).status(201)
	put.header("Content-Type", "application/json").header("Etag", `"`+b3+`"`).
		header("X-Checksum-Blake3", b3).header("X-Checksum-Sha256", s2).
		header("Location", "http://example.com/repository/files/a%20dir/b.txt")
	var fields map[string]any
	put.decode(&fields)
	for _, k := range []string{"id", "path", "size", "content_type", "blob_id", "content_hash", "etag", "created_at", "updated_at", "last_accessed_at"} {
		if fields[k] == nil || fields[k] == "" {
			t.Errorf("artifact without %s: %s", k, put.text)
		}
	}
	if fields["path"] != "a dir/b.txt" || fields["content_hash"] != b3 || fields["created_at"] != "2026-11-22T12:00:00.000Z" || fields["etag"] != `"`+b3+`"` {
		t.Errorf("artifact %s", put.text)
	}

	for _, method := range []string{"GET", "HEAD"} {
		a := r.do("admin", method, "/repository/files/a%20dir/b.txt", nil).status(200)
		a.header("Content-Length", "14").header("Etag", `"`+b3+`"`).header("X-Checksum-Sha256", s2).header("Accept-Ranges", "bytes").
			header("Content-Disposition", `attachment; filename="b.txt"`).header("X-Content-Type-Options", "nosniff").
			header("Cache-Control", "private, no-cache").header("Vary", "Authorization")
		if a.Header.Get("X-Blob-Id") == "" || a.Header.Get("Last-Modified") == "" {
			t.Errorf("%s headers %v", method, a.Header)
		}
		if method == "GET" {
			a.is(body)
		} else {
			a.is("")
		}
	}
	r.do("admin", "GET", "/repository/files/a%20dir/b.txt", nil, "Range", "bytes=0-4").status(206).is("hello").header("Content-Range", "bytes 0-4/14")
	r.do("admin", "GET", "/repository/files/a%20dir/b.txt", nil, "Range", "bytes=99-").fails(416, "BAD_REQUEST", "").header("Content-Range", "bytes */14").
		header("Etag", "").header("Content-Disposition", "")
	r.do("admin", "GET", "/repository/files/a%20dir/b.txt", nil, "If-None-Match", `"x", W/"`+b3+`"`).status(304).is("")
	r.do("admin", "GET", "/repository/files/a%20dir/b.txt", nil, "If-Match", `"x"`).fails(412, "PRECONDITION_FAILED", "")

	r.do("admin", "PUT", "/repository/files/a%20dir/b.txt", strings.NewReader("2"), "If-None-Match", "*").fails(412, "PRECONDITION_FAILED", "")
	r.do("admin", "PUT", "/repository/files/a%20dir/b.txt", strings.NewReader("2"), "If-Match", `"x"`).fails(412, "PRECONDITION_FAILED", "")
	r.do("admin", "PUT", "/repository/files/a%20dir/b.txt", strings.NewReader("2"), "If-Match", `"x", "`+b3+`"`).status(201)
	r.do("admin", "DELETE", "/repository/files/a%20dir/b.txt", nil, "If-Match", `"`+b3+`"`).fails(412, "PRECONDITION_FAILED", "")
	r.do("admin", "DELETE", "/repository/files/a%20dir/b.txt", nil).status(204).is("")
	r.do("admin", "DELETE", "/repository/files/a%20dir/b.txt", nil).fails(404, "NOT_FOUND", "")
	r.do("admin", "GET", "/repository/files/a%20dir/b.txt", nil).fails(404, "NOT_FOUND", "").header("Cache-Control", "no-store")
}

func TestSubstitutesAndCalls(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	r.Put("files", "d/x.bin", []byte("x"))
	sum := r.do("admin", "GET", "/repository/files/d/x.bin.sha256", nil).status(200)
	if !strings.HasSuffix(sum.text, "  x.bin\n") {
		t.Errorf("checksum file %q", sum.text)
	}
	r.do("admin", "GET", "/repository/files/d/y.bin.sha256", nil).fails(404, "NOT_FOUND", "d/y.bin.sha256")
	if a := r.do("admin", "GET", "/repository/files/d/?list", nil).status(200); !strings.Contains(a.text, "x.bin") {
		t.Errorf("listing %s", a.text)
	}
	r.do("admin", "GET", "/repository/files", nil).status(200)
	r.do("admin", "GET", "/repository/files/d/?limit=x", nil).fails(400, "BAD_REQUEST", "limit")
}

func TestUntrustedFilesAreSandboxed(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", func(c *config.Repository) { c.ContentDisposition = config.Inline })
	r.Put("files", "evil.html", []byte("<script>alert(1)</script>"))
	r.Put("files", `q".txt`, []byte("x"))
	r.do("admin", "GET", "/repository/files/evil.html", nil).status(200).
		header("Content-Security-Policy", "sandbox; frame-ancestors 'none'").header("Referrer-Policy", "no-referrer").header("X-Content-Type-Options", "nosniff").
		header("Content-Disposition", `inline; filename="evil.html"`)
	r.do("admin", "GET", "/repository/files/q%22.txt", nil).status(200).header("Content-Disposition", `inline; filename="q\".txt"`)
}

func TestBadPaths(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	for path, want := range map[string]int{
		"/repository/files/../x":                          400,
		"/repository/files/%2e%2e/x":                      400,
		"/repository/files/a%2f..%2fb":                    400,
		"/repository/files/a%00b":                         400,
		"/repository/files/a%5cb":                         400,
		"/repository/files/a%0ab":                         400,
		"/repository/files/%ff":                           400,
		"/repository/files/" + strings.Repeat("s", 256):   414,
		"/repository/files/" + strings.Repeat("ab/", 301): 414,
	} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			r.do("admin", method, path, nil).fails(want, "BAD_REQUEST", "")
		}
	}
	r.do("admin", "GET", "/repository/files/x?a=%zz", nil).fails(400, "BAD_REQUEST", "query")
	for _, path := range []string{"/repository/files/a/./b", "/repository/files//a//b", "/repository/files/a%2fb"} {
		r.do("admin", "PUT", path, strings.NewReader("x")).status(201)
		r.do("admin", "GET", "/repository/files/a/b", nil).status(200)
		r.do("admin", "DELETE", "/repository/files/a/b", nil).status(204)
	}
	r.do("admin", "PUT", "/repository/files/%252e%252e", strings.NewReader("x")).status(201)
}

// An unreadable repository and a missing one answer alike, for every method.
func TestRefusalsTellNothing(t *testing.T) {
	r := newRig(t)
	for _, name := range []string{"secret", "mine"} {
		r.Create(name, config.Hosted, "raw", nil)
	}
	r.Create("odd", config.Hosted, "probe", nil)
	r.user("alice", "read", "mine", "write", "mine", "delete", "mine")
	r.user("bob", "read", "*")
	methods := []string{"GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "BREW"}
	for _, method := range methods {
		for _, as := range []string{"", "alice"} {
			want := 403
			if as == "" {
				want = 401
			}
			for _, suffix := range []string{"/x", "/", "/call", "@v1/x", "/nothing"} {
				hidden := r.do(as, method, "/repository/secret"+suffix, nil).status(want)
				odd := r.do(as, method, "/repository/odd"+suffix, nil).status(want)
				missing := r.do(as, method, "/repository/absent"+suffix, nil).status(want)
				for _, other := range []*answer{odd, missing} {
					text := strings.NewReplacer("odd", "secret", "absent", "secret").Replace(other.text)
					if text != hidden.text {
						t.Errorf("%s as %q tells repositories apart: %q and %q", method, as, hidden.text, other.text)
					}
				}
			}
		}
	}
	r.do("bob", "GET", "/repository/absent/x", nil).fails(404, "NOT_FOUND", "absent")
	r.do("bob", "PUT", "/repository/absent/x", nil).fails(403, "FORBIDDEN", "write")
	r.do("bob", "PUT", "/repository/secret/x", nil).fails(403, "FORBIDDEN", "write")
	r.do("bob", "DELETE", "/repository/secret/x", nil).fails(403, "FORBIDDEN", "delete")
	r.do("alice", "GET", "/repository/mine@v1/x", nil).fails(404, "NOT_FOUND", "")
	r.do("admin", "GET", "/repository/UPPER/x", nil).fails(404, "NOT_FOUND", "")
}

func TestVerbFollowsTheFormat(t *testing.T) {
	r := newRig(t)
	r.Create("odd", config.Hosted, "probe", nil)
	r.user("reader", "read", "odd")
	r.user("deleter", "read", "odd", "delete", "odd")
	r.probe.call = func(w http.ResponseWriter, _ *http.Request) error {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	r.do("reader", "POST", "/repository/odd/call", nil).status(204)
	r.do("reader", "POST", "/repository/odd/x", nil).fails(403, "FORBIDDEN", "write")
	// A DELETE that the format takes for a write needs write.
	r.do("deleter", "DELETE", "/repository/odd/x", nil).fails(403, "FORBIDDEN", "write")
}

func TestWrongMethodsAndTypes(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	r.Cache("cached", "raw", "http://127.0.0.1:1/", 0)
	r.Group("group", "raw", "files")
	r.Create("odd", config.Hosted, "probe", nil)
	a := r.do("admin", "PATCH", "/repository/files/x", nil).status(405).is("")
	if allow := a.Header.Get("Allow"); !strings.Contains(allow, "PUT") || !strings.Contains(allow, "GET") {
		t.Errorf("Allow %q", allow)
	}
	r.do("admin", "PUT", "/repository/odd/x", strings.NewReader("x")).status(405).header("Content-Type", "text/plain; charset=utf-8")
	r.do("admin", "PUT", "/repository/odd/nothing", nil).status(405).header("Content-Type", "text/plain; charset=utf-8")
	r.do("admin", "POST", "/repository/odd/nothing", nil).fails(404, "NOT_FOUND", "")
	r.do("admin", "PUT", "/repository/cached/x", strings.NewReader("x")).fails(405, "NOT_ALLOWED", "").header("Allow", "GET, HEAD")
	r.do("admin", "PUT", "/repository/group/x", strings.NewReader("x")).fails(405, "NOT_ALLOWED", "").header("Allow", "GET, HEAD")
	r.do("admin", "GET", "/repository/cached/x", nil).fails(502, "UPSTREAM_ERROR", "")
}

func TestGroupNeedsTheRightOnItsMembers(t *testing.T) {
	r := newRig(t)
	r.Create("a", config.Hosted, "raw", nil)
	r.Group("all", "raw", "a")
	r.Put("a", "x", []byte("x"))
	r.user("half", "read", "all")
	r.do("half", "GET", "/repository/all/x", nil).fails(404, "NOT_FOUND", "")
	r.user("whole", "read", "*")
	r.do("whole", "GET", "/repository/all/x", nil).status(200)
}

func TestSizeLimit(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	if _, err := r.Registry.UpdateSettings(t.Context(), func(s *config.Settings) error { s.MaxArtifactBytes = 10; return nil }); err != nil {
		t.Fatal(err)
	}
	const text = "text/plain; charset=utf-8"
	r.do("admin", "PUT", "/repository/files/x", strings.NewReader("0123456789")).status(201)
	r.do("admin", "PUT", "/repository/files/y", strings.NewReader("0123456789a")).status(413).header("Content-Type", text)
	// The length is not known beforehand.
	r.do("admin", "PUT", "/repository/files/y", struct{ *strings.Reader }{strings.NewReader("0123456789a")}).status(413).header("Content-Type", text)
	r.do("admin", "GET", "/repository/files/y", nil).status(404)
}

func TestChecksumMismatchStoresNothing(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	r.do("admin", "PUT", "/repository/files/x", strings.NewReader("x"), "X-Checksum-Sha256", strings.Repeat("0", 64)).fails(422, "BAD_REQUEST", "")
	r.do("admin", "PUT", "/repository/files/x", strings.NewReader("x"), "X-Checksum-Sha256", "short").fails(400, "BAD_REQUEST", "")
	r.do("admin", "GET", "/repository/files/x", nil).status(404)
}

func TestAnonymousReadIsPublic(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	r.Put("files", "x", []byte("x"))
	r.anyone("read", "*")
	r.do("", "GET", "/repository/files/x", nil).status(200).header("Cache-Control", "no-cache").header("Vary", "")
	r.do("", "PUT", "/repository/files/x", nil).fails(401, "UNAUTHORIZED", "").header("Www-Authenticate", `Basic realm="granary"`)
}

func TestArtifactKeys(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	big := strings.Repeat("x", 100_000)
	a := r.do("admin", "PUT", "/repository/files/big", strings.NewReader(big)).status(201)
	get := r.do("admin", "GET", "/repository/files/big", nil).status(200)
	if id := get.Header.Get("X-Blob-Id"); len(id) != 26 || !strings.Contains(a.text, id) {
		t.Errorf("blob id %q, artifact %s", id, a.text)
	}
}
