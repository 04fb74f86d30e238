package content

import (
	"bytes"
	"context"
	"crypto/md5"
	"crypto/sha1"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"granary/digest"
	"granary/formats"
)

var modified = time.Date(2026, 1, 2, 3, 4, 5, 678_000_000, time.UTC)

// opens counts calls of a content's Open.
type opens struct {
	n   int
	err error
}

func testContent(t *testing.T, body string, inline bool) (*formats.Content, *opens) {
	t.Helper()
	h := digest.NewHasher(digest.SHA1, digest.MD5)
	h.Write([]byte(body))
	o := &opens{}
	c := &formats.Content{
		Record: formats.Record{Name: "f.txt", Type: "text/plain", Size: int64(len(body)), Sums: h.Sums(), Time: modified},
	}
	c.Open = func(_ context.Context, offset, n int64) (io.ReadCloser, error) {
		o.n++
		if o.err != nil {
			return nil, o.err
		}
		rest := body[min(offset, int64(len(body))):]
		if n >= 0 && n < int64(len(rest)) {
			rest = rest[:n]
		}
		return io.NopCloser(strings.NewReader(rest)), nil
	}
	if inline {
		c.Inline = []byte(body)
	} else {
		c.BlobID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
	}
	return c, o
}

func do(t *testing.T, c *formats.Content, o Options, method string, header ...string) (*http.Response, error) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "/repository/r/f.txt", nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Add(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	err := Serve(w, r, c, o)
	return w.Result(), err
}

func text(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestHeaders(t *testing.T) {
	const body = "hello, granary"
	c, o := testContent(t, body, false)
	b3, s2 := c.Sums.Hex(digest.BLAKE3), c.Sums.Hex(digest.SHA256)
	for _, method := range []string{http.MethodGet, http.MethodHead} {
		resp, err := do(t, c, Options{Disposition: Disposition("attachment", "f.txt")}, method)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]string{
			"Content-Type":        "text/plain",
			"Content-Length":      "14",
			"ETag":                `"` + b3 + `"`,
			"Last-Modified":       "Fri, 02 Jan 2026 03:04:05 GMT",
			"X-Blob-Id":           c.BlobID,
			"X-Checksum-Blake3":   b3,
			"X-Checksum-Sha256":   s2,
			"X-Checksum-Sha1":     c.Sums.Hex(digest.SHA1),
			"X-Checksum-Md5":      c.Sums.Hex(digest.MD5),
			"Accept-Ranges":       "bytes",
			"Cache-Control":       "no-cache",
			"Content-Disposition": `attachment; filename="f.txt"`,
			"Vary":                "",
		}
		for k, v := range want {
			if got := resp.Header.Get(k); got != v {
				t.Errorf("%s %s = %q, want %q", method, k, got, v)
			}
		}
		wantBody := body
		if method == http.MethodHead {
			wantBody = ""
		}
		if got := text(t, resp); got != wantBody {
			t.Errorf("%s body %q", method, got)
		}
	}
	if o.n != 1 {
		t.Errorf("store opened %d times for a GET and a HEAD, want 1", o.n)
	}
	if sha := sha1.Sum([]byte(body)); !bytes.Equal(sha[:], c.Sums.SHA1) {
		t.Error("fixture: wrong SHA-1")
	}
	if sum := md5.Sum([]byte(body)); !bytes.Equal(sum[:], c.Sums.MD5) {
		t.Error("fixture: wrong MD5")
	}
}

func TestCacheControl(t *testing.T) {
	tests := []struct {
		name        string
		fixed       bool
		o           Options
		cache, vary string
	}{
		{"fixed", true, Options{}, "public, max-age=31536000, immutable", ""},
		{"fixed, credentials", true, Options{Private: true}, "private, max-age=31536000, immutable", "Authorization"},
		{"movable", false, Options{}, "no-cache", ""},
		{"movable, credentials", false, Options{Private: true}, "private, no-cache", "Authorization"},
		{"document", false, Options{Document: true}, "no-cache", "Accept"},
		{"document named by its digest", true, Options{Document: true}, "public, max-age=31536000, immutable", "Accept"},
		{"document, credentials", false, Options{Document: true, Private: true}, "private, no-cache", "Authorization, Accept"},
	}
	for _, tt := range tests {
		c, _ := testContent(t, "x", true)
		c.Fixed = tt.fixed
		resp, err := do(t, c, tt.o, http.MethodGet)
		if err != nil {
			t.Fatal(err)
		}
		if got := resp.Header.Get("Cache-Control"); got != tt.cache {
			t.Errorf("%s: Cache-Control %q, want %q", tt.name, got, tt.cache)
		}
		if got := resp.Header.Get("Vary"); got != tt.vary {
			t.Errorf("%s: Vary %q, want %q", tt.name, got, tt.vary)
		}
	}
}

func TestConditions(t *testing.T) {
	c, o := testContent(t, "0123456789", false)
	tag := ETag(c.Sums)
	const at, before, after = "Fri, 02 Jan 2026 03:04:05 GMT", "Fri, 02 Jan 2026 03:04:04 GMT", "Fri, 02 Jan 2026 03:04:06 GMT"
	tests := []struct {
		name   string
		header []string
		status int // 412 stands for ErrPrecondition
	}{
		{"no condition", nil, 200},
		{"none-match", []string{"If-None-Match", tag}, 304},
		{"none-match other", []string{"If-None-Match", `"x"`}, 200},
		{"none-match star", []string{"If-None-Match", "*"}, 304},
		{"none-match weak", []string{"If-None-Match", "W/" + tag}, 304},
		{"none-match list", []string{"If-None-Match", `"a,b", W/"c" , ` + tag}, 304},
		{"none-match two lines", []string{"If-None-Match", `"a"`, "If-None-Match", tag}, 304},
		{"none-match unquoted", []string{"If-None-Match", strings.Trim(tag, `"`)}, 200},
		{"none-match open quote", []string{"If-None-Match", `"abc`}, 200},
		{"none-match beats since", []string{"If-None-Match", `"x"`, "If-Modified-Since", after}, 200},
		{"modified since the same", []string{"If-Modified-Since", at}, 304},
		{"modified since later", []string{"If-Modified-Since", after}, 304},
		{"modified since earlier", []string{"If-Modified-Since", before}, 200},
		{"modified since garbage", []string{"If-Modified-Since", "yesterday"}, 200},
		{"match", []string{"If-Match", tag}, 200},
		{"match star", []string{"If-Match", "*"}, 200},
		{"match weak", []string{"If-Match", "W/" + tag}, 412},
		{"match other", []string{"If-Match", `"x", "y"`}, 412},
		{"unmodified since the same", []string{"If-Unmodified-Since", at}, 200},
		{"unmodified since earlier", []string{"If-Unmodified-Since", before}, 412},
		{"match beats unmodified", []string{"If-Match", tag, "If-Unmodified-Since", before}, 200},
	}
	for _, tt := range tests {
		for _, method := range []string{http.MethodGet, http.MethodHead} {
			o.n = 0
			resp, err := do(t, c, Options{}, method, tt.header...)
			switch {
			case tt.status == 412:
				if !errors.Is(err, ErrPrecondition) {
					t.Errorf("%s %s: error %v, want ErrPrecondition", method, tt.name, err)
				}
			case err != nil || resp.StatusCode != tt.status:
				t.Errorf("%s %s: %d, %v, want %d", method, tt.name, resp.StatusCode, err, tt.status)
			case tt.status == 304 && (resp.Header.Get("Etag") != tag || resp.Header.Get("Content-Type") != "" || text(t, resp) != ""):
				t.Errorf("%s %s: 304 with %v", method, tt.name, resp.Header)
			}
			if (tt.status != 200 || method == http.MethodHead) && o.n != 0 {
				t.Errorf("%s %s: store opened %d times", method, tt.name, o.n)
			}
		}
	}
}

func TestErrorsBeforeAndAfterTheHeader(t *testing.T) {
	c, o := testContent(t, "0123456789", false)
	o.err = errors.New("disk on fire")
	if _, err := do(t, c, Options{}, http.MethodGet); !errors.Is(err, o.err) || errors.Is(err, ErrAborted) {
		t.Errorf("failing Open: %v", err)
	}
	if _, err := do(t, c, Options{}, http.MethodGet, "Range", "bytes=0-1,4-5"); !errors.Is(err, o.err) || errors.Is(err, ErrAborted) {
		t.Errorf("failing Open of ranges: %v", err)
	}
	c.Open = func(context.Context, int64, int64) (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("short")), nil
	}
	if _, err := do(t, c, Options{}, http.MethodGet); !errors.Is(err, ErrAborted) {
		t.Errorf("bytes that end early: %v", err)
	}
}

func TestUnknownLength(t *testing.T) {
	c, _ := testContent(t, "0123456789", false)
	c.Size, c.Sums = -1, digest.Sums{}
	resp, err := do(t, c, Options{}, http.MethodGet, "Range", "bytes=0-1")
	if err != nil || resp.StatusCode != 200 || resp.Header.Get("Content-Length") != "" || resp.Header.Get("Etag") != "" || resp.Header.Get("Accept-Ranges") != "" {
		t.Errorf("%d %v %v", resp.StatusCode, resp.Header, err)
	}
	if got := text(t, resp); got != "0123456789" {
		t.Errorf("body %q", got)
	}
}

type replacer struct {
	w    io.Writer
	base string
	buf  bytes.Buffer
}

func (r *replacer) Write(p []byte) (int, error) { return r.buf.Write(p) }
func (r *replacer) Close() error {
	_, err := io.WriteString(r.w, strings.ReplaceAll(r.buf.String(), "BASE", r.base))
	return err
}

func TestExpand(t *testing.T) {
	c, o := testContent(t, "see BASE/x", true)
	c.Expand = true
	opt := Options{Document: true, Base: func() string { return "https://example.com/repository/r" }, Expand: func(w io.Writer, base string) io.WriteCloser { return &replacer{w: w, base: base} }}
	resp, err := do(t, c, opt, http.MethodGet, "Range", "bytes=0-1")
	if err != nil || resp.StatusCode != 200 || text(t, resp) != "see https://example.com/repository/r/x" {
		t.Fatalf("%d %v", resp.StatusCode, err)
	}
	for _, k := range []string{"Content-Length", "X-Checksum-Blake3", "X-Checksum-Sha256", "Accept-Ranges"} {
		if v := resp.Header.Get(k); v != "" {
			t.Errorf("%s: %q describes other bytes", k, v)
		}
	}
	tag := resp.Header.Get("Etag")
	opt.Base = func() string { return "http://other.example.com/repository/r" }
	if other, _ := do(t, c, opt, http.MethodGet); other.Header.Get("Etag") == tag || tag == ETag(c.Sums) {
		t.Errorf("one entity tag for the documents of two hosts: %s", tag)
	}
	o.n = 0
	if resp, err = do(t, c, opt, http.MethodHead); err != nil || resp.StatusCode != 200 || o.n != 0 {
		t.Errorf("HEAD: %d %v, %d opens", resp.StatusCode, err, o.n)
	}
}

func TestScriptsAreSandboxed(t *testing.T) {
	for kind, want := range map[string]bool{
		"text/html": true, "TEXT/HTML; charset=utf-8": true, "image/svg+xml": true, "application/xhtml+xml": true,
		"application/xml": true, "text/xml": true, "text/plain": false, "image/png": false, "application/json": false, "": false,
	} {
		c, _ := testContent(t, "<script>", true)
		c.Type = kind
		resp, err := do(t, c, Options{}, http.MethodGet)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.HasPrefix(resp.Header.Get("Content-Security-Policy"), "sandbox"); got != want {
			t.Errorf("%q: sandboxed %v, want %v", kind, got, want)
		}
	}
}

func TestDisposition(t *testing.T) {
	tests := []struct{ name, want string }{
		{"a.txt", `attachment; filename="a.txt"`},
		{"a b.txt", `attachment; filename="a b.txt"`},
		{`a";x="y`, `attachment; filename="a\";x=\"y"`},
		{"naïve.txt", `attachment; filename="na_ve.txt"; filename*=UTF-8''na%C3%AFve.txt`},
		{"100%.txt", `attachment; filename="100%.txt"; filename*=UTF-8''100%25.txt`},
		{"a\r\nX: y", `attachment; filename="a__X: y"; filename*=UTF-8''a%0D%0AX%3A%20y`},
	}
	for _, tt := range tests {
		got := Disposition("attachment", tt.name)
		if got != tt.want {
			t.Errorf("Disposition(%q) = %s, want %s", tt.name, got, tt.want)
		}
		if _, params, err := mime.ParseMediaType(got); err != nil || (!strings.ContainsAny(tt.name, "\r") && params["filename"] != tt.name) {
			t.Errorf("%s is read back as %q, %v", got, params["filename"], err)
		}
	}
}

func FuzzConditions(f *testing.F) {
	f.Add(`"a", W/"b", *`, `"a"`)
	f.Add(`"`, `W/`)
	f.Fuzz(func(_ *testing.T, list, tag string) {
		Match([]string{list}, tag, true)
		Match([]string{list}, tag, false)
		evaluate(http.Header{"If-None-Match": {list}, "If-Modified-Since": {list}, "If-Range": {list}}, tag, modified)
	})
}

func BenchmarkServeInline(b *testing.B) {
	c := &formats.Content{Record: formats.Record{Type: "text/plain", Size: 1024, Time: modified}, Inline: make([]byte, 1024)}
	h := digest.NewHasher()
	h.Write(c.Inline)
	c.Sums = h.Sums()
	r := httptest.NewRequest(http.MethodGet, "/repository/r/f.txt", nil)
	b.ReportAllocs()
	for b.Loop() {
		w := nullWriter{h: http.Header{}}
		if err := Serve(w, r, c, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

type nullWriter struct{ h http.Header }

func (w nullWriter) Header() http.Header         { return w.h }
func (w nullWriter) WriteHeader(int)             {}
func (w nullWriter) Write(p []byte) (int, error) { return len(p), nil }

func TestGzip(t *testing.T) {
	plain, _ := testContent(t, "v1.0.0\nv1.1.0\n", true)
	z, _ := testContent(t, "squeezed", true)
	plain.Gzip = z
	tests := []struct {
		header []string
		gzip   bool
	}{
		{nil, false},
		{[]string{"Accept-Encoding", "gzip"}, true},
		{[]string{"Accept-Encoding", "br, GZIP;q=0.5"}, true},
		{[]string{"Accept-Encoding", "*"}, true},
		{[]string{"Accept-Encoding", "gzip;q=0, *"}, false},
		{[]string{"Accept-Encoding", "gzip;q=x"}, false},
		{[]string{"Accept-Encoding", "identity"}, false},
		{[]string{"Accept-Encoding", "gzip", "Range", "bytes=0-"}, false},
	}
	for _, tt := range tests {
		resp, err := do(t, plain, Options{Document: true}, http.MethodGet, tt.header...)
		if err != nil {
			t.Fatal(err)
		}
		c, encoding, sum := plain, "", plain.Sums.Hex(digest.BLAKE3)
		if tt.gzip {
			c, encoding, sum = z, "gzip", ""
		}
		if got := resp.Header.Get("Content-Encoding"); got != encoding {
			t.Errorf("%q: Content-Encoding %q", tt.header, got)
		}
		if got := resp.Header.Get("Etag"); got != ETag(c.Sums) {
			t.Errorf("%q: entity tag %s", tt.header, got)
		}
		if got := resp.Header.Get("X-Checksum-Blake3"); got != sum {
			t.Errorf("%q: checksum %q, want %q", tt.header, got, sum)
		}
		if got := resp.Header.Get("Vary"); got != "Accept, Accept-Encoding" {
			t.Errorf("%q: Vary %q", tt.header, got)
		}
		if got := text(t, resp); got != string(c.Inline) {
			t.Errorf("%q: body %q", tt.header, got)
		}
	}
	if resp, _ := do(t, plain, Options{}, http.MethodGet, "Accept-Encoding", "gzip", "If-None-Match", ETag(z.Sums)); resp.StatusCode != 304 {
		t.Errorf("entity tag of the compressed variant: %d", resp.StatusCode)
	}
}

// Two changes within a second: a client that asks by date alone hears of the
// second.
func TestDateOfWhatChangedJustNow(t *testing.T) {
	now := time.Date(2026, 11, 22, 10, 0, 0, 300e6, time.UTC)
	get := func(c formats.Content, at time.Time, since string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		if since != "" {
			r.Header.Set("If-Modified-Since", since)
		}
		w := httptest.NewRecorder()
		if err := Serve(w, r, &c, Options{Now: at}); err != nil {
			t.Fatal(err)
		}
		return w
	}
	state := func(changed time.Time, fixed bool) formats.Content {
		return formats.Content{
			Record: formats.Record{Time: changed, Size: 1, Type: "text/plain"}, Inline: []byte("x"), Fixed: fixed,
			Open: func(context.Context, int64, int64) (io.ReadCloser, error) {
				return io.NopCloser(strings.NewReader("x")), nil
			},
		}
	}
	first := get(state(now, false), now.Add(100*time.Millisecond), "").Header().Get("Last-Modified")
	if w := get(state(now.Add(200*time.Millisecond), false), now.Add(300*time.Millisecond), first); w.Code != http.StatusOK {
		t.Errorf("the second state of the same second was answered with %d", w.Code)
	}
	old := get(state(now, false), now.Add(time.Minute), "").Header().Get("Last-Modified")
	if w := get(state(now, false), now.Add(time.Minute), old); w.Code != http.StatusNotModified || old != now.Format(http.TimeFormat) {
		t.Errorf("what did not change, of %s, was answered with %d", old, w.Code)
	}
	if got := get(state(now, true), now, "").Header().Get("Last-Modified"); got != now.Format(http.TimeFormat) {
		t.Errorf("what never changes has the date %s", got)
	}
}
