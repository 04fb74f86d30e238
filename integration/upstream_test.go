package integration_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"granary/integration/node"
)

// fakeUpstream is a server whose behaviour a test changes while it runs.
type fakeUpstream struct {
	URL     string
	hits    atomic.Int64
	respond atomic.Pointer[http.HandlerFunc]
}

func newUpstream(t *testing.T, h http.HandlerFunc) *fakeUpstream {
	t.Helper()
	u := &fakeUpstream{}
	u.does(h)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.hits.Add(1)
		(*u.respond.Load())(w, r)
	}))
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	u.URL = s.URL
	return u
}

func (u *fakeUpstream) does(h http.HandlerFunc) { u.respond.Store(&h) }

// mirror makes a repository that caches u. Each test case has its own, and its
// own upstream: the breaker counts failures of a host.
func mirror(t *testing.T, n *node.Node, format string, u *fakeUpstream) string {
	t.Helper()
	name := "m" + strings.ReplaceAll(u.URL[strings.LastIndex(u.URL, ":")+1:], "/", "")
	n.Create(fmt.Sprintf(`{"name":%q,"repo_type":"cache","format":%q,"upstream_url":%q}`, name, format, u.URL))
	return name
}

// verbatim answers with bytes that need not be HTTP, and hangs up.
func verbatim(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		c, b, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		b.WriteString(text) //nolint:errcheck // the peer may have gone
		b.Flush()           //nolint:errcheck // the same
		c.Close()           //nolint:errcheck // the same
	}
}

func says(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i+1 < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		if code != http.StatusNoContent && code != http.StatusNotModified {
			io.WriteString(w, "a body") //nolint:errcheck // the peer may have gone
		}
	}
}

func answer(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, text) //nolint:errcheck // the peer may have gone
	}
}

const html = "<!DOCTYPE html><html><body>Please sign in</body></html>"

// An upstream that does wrong is a 502 of this server, nothing of what it sent
// is kept, and once it does right all is well.
func TestUpstreamMisbehaves(t *testing.T) {
	n := node.Start(t, node.Options{})
	module := "example.com/m/@v/"
	for name, tt := range map[string]struct {
		format, path string
		does         http.HandlerFunc
		status       int
		code         string
	}{
		"fewer bytes than announced":  {"raw", "x", verbatim("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nshort"), 502, "UPSTREAM_ERROR"},
		"no bytes":                    {"raw", "x", verbatim("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"), 502, "UPSTREAM_ERROR"},
		"chunks without end":          {"raw", "x", verbatim("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"), 502, "UPSTREAM_ERROR"},
		"broken chunk":                {"raw", "x", verbatim("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n"), 502, "UPSTREAM_ERROR"},
		"two lengths":                 {"raw", "x", verbatim("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello"), 502, "UPSTREAM_ERROR"},
		"no HTTP":                     {"raw", "x", verbatim("\x00\x01\x02 garbage\r\n\r\n"), 502, "UPSTREAM_ERROR"},
		"nothing at all":              {"raw", "x", verbatim(""), 502, "UPSTREAM_ERROR"},
		"header without end":          {"raw", "x", verbatim("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 1<<20)), 502, "UPSTREAM_ERROR"},
		"not modified, unasked":       {"raw", "x", says(304), 502, "UPSTREAM_ERROR"},
		"a part, unasked":             {"raw", "x", says(206, "Content-Range", "bytes 0-5/100"), 502, "UPSTREAM_ERROR"},
		"no content":                  {"raw", "x", says(204), 502, "UPSTREAM_ERROR"},
		"wants a login":               {"raw", "x", says(401, "WWW-Authenticate", `Basic realm="up"`), 502, "UPSTREAM_ERROR"},
		"refuses":                     {"raw", "x", says(403), 502, "UPSTREAM_ERROR"},
		"fails":                       {"raw", "x", says(500), 502, "UPSTREAM_ERROR"},
		"is down":                     {"raw", "x", says(503), 502, "UPSTREAM_ERROR"},
		"is a teapot":                 {"raw", "x", says(418), 502, "UPSTREAM_ERROR"},
		"has it not":                  {"raw", "x", says(404), 404, "NOT_FOUND"},
		"has it no longer":            {"raw", "x", says(410), 404, "NOT_FOUND"},
		"redirect to nowhere":         {"raw", "x", says(302), 502, "UPSTREAM_ERROR"},
		"redirect to another scheme":  {"raw", "x", says(302, "Location", "file:///etc/passwd"), 502, "UPSTREAM_ERROR"},
		"redirect in a circle":        {"raw", "x", says(302, "Location", "/x"), 502, "UPSTREAM_ERROR"},
		"redirect to metadata":        {"raw", "x", says(302, "Location", "http://169.254.169.254/latest/meta-data/"), 502, "UPSTREAM_ERROR"},
		"redirect to mapped metadata": {"raw", "x", says(307, "Location", "http://[::ffff:169.254.169.254]/"), 502, "UPSTREAM_ERROR"},
		"HTML for a list":             {"golang", module + "list", answer(html), 502, "UPSTREAM_ERROR"},
		"HTML for an info":            {"golang", module + "v1.0.0.info", answer(html), 502, "UPSTREAM_ERROR"},
		"HTML for a mod":              {"golang", module + "v1.0.0.mod", answer(html), 502, "UPSTREAM_ERROR"},
		"HTML for a zip":              {"golang", module + "v1.0.0.zip", answer(html), 502, "UPSTREAM_ERROR"},
		"HTML for the latest":         {"golang", "example.com/m/@latest", answer(html), 502, "UPSTREAM_ERROR"},
		"another version's info":      {"golang", module + "v1.0.0.info", answer(`{"Version":"v9.9.9","Time":"2026-01-01T00:00:00Z"}`), 502, "UPSTREAM_ERROR"},
		"half a list":                 {"golang", module + "list", verbatim("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nv1.0.0\n"), 502, "UPSTREAM_ERROR"},
		"list that fails":             {"golang", module + "list", says(500), 502, "UPSTREAM_ERROR"},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t, tt.does)
			path := "/repository/" + mirror(t, n, tt.format, u) + "/" + tt.path
			began := time.Now()
			resp, body := n.Do(http.MethodGet, path, nil)
			if resp.StatusCode != tt.status || tt.format == "raw" && code(string(body)) != tt.code || len(body) == 0 {
				t.Errorf("answered %s, want %d %s\n%s", resp.Status, tt.status, tt.code, body)
			}
			if h := resp.Header.Get("WWW-Authenticate"); h != "" {
				t.Errorf("the client is asked for a login: %s", h)
			}
			if took := time.Since(began); took > 25*time.Second { // a silent one is given up after 30 s
				t.Errorf("took %s", took)
			}
			if tt.format != "raw" {
				return
			}
			if resp, _ := n.Do(http.MethodHead, path, nil); resp.StatusCode != tt.status {
				t.Errorf("HEAD answered %s, want %d", resp.Status, tt.status)
			}
			u.does(answer("right"))
			if got := n.Want(200, http.MethodGet, path, nil); string(got) != "right" {
				t.Errorf("afterwards: %q", got)
			}
		})
	}
}

// Lines of a version list that are none don't reach the client.
func TestUpstreamListWithGarbage(t *testing.T) {
	n := node.Start(t, node.Options{})
	u := newUpstream(t, answer("v1.0.0\nv1.\x00\xff\n../../v1.0.0\n\nv1\nv1.1.0 2026-01-01\nv1.2.0\n"))
	got := n.Want(200, http.MethodGet, "/repository/"+mirror(t, n, "golang", u)+"/example.com/m/@v/list", nil)
	for line := range strings.Lines(string(got)) {
		switch line {
		case "v1.0.0\n", "v1.1.0\n", "v1.2.0\n":
		default:
			t.Errorf("line %q", line)
		}
	}
	if !strings.Contains(string(got), "v1.0.0\n") || !strings.Contains(string(got), "v1.2.0\n") {
		t.Errorf("a version is missing in %q", got)
	}
}

// A file that is passed on while it arrives must not look whole when it breaks
// off, and is not kept.
func TestUpstreamStopsHalfWay(t *testing.T) {
	n := node.Start(t, node.Options{})
	whole := strings.Repeat("0123456789abcdef", 10<<20/16)
	for name, does := range map[string]http.HandlerFunc{
		"with a length": verbatim(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(whole), whole[:len(whole)-1])),
		"in a chunk":    verbatim(fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s", len(whole), whole[:6<<20])),
		"after a chunk": verbatim(fmt.Sprintf("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n", 6<<20, whole[:6<<20])),
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t, does)
			repository := mirror(t, n, "raw", u)
			path := "/repository/" + repository + "/big"
			for range 2 {
				resp, body, err := n.Try(t.Context(), http.MethodGet, path, nil)
				if err == nil && resp.StatusCode < 500 {
					t.Errorf("half a file looks whole: %s, %d bytes", resp.Status, len(body))
				}
			}
			if b := n.Want(200, http.MethodGet, "/api/v1/repositories/"+repository+"/artifacts", nil); strings.Contains(string(b), `"big"`) {
				t.Errorf("half a file is listed: %s", b)
			}
			u.does(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("ETag", `"whole"`)
				http.ServeContent(w, r, "", time.Time{}, strings.NewReader(whole))
			})
			if got := n.Want(200, http.MethodGet, path, nil); string(got) != whole {
				t.Errorf("afterwards %d bytes", len(got))
			}
			hits := u.hits.Load()
			resp, body := n.Do(http.MethodGet, path, nil, "Range", "bytes=-16")
			if resp.StatusCode != http.StatusPartialContent || string(body) != "0123456789abcdef" {
				t.Errorf("part of it: %s, %.50q", resp.Status, body)
			}
			if u.hits.Load() > hits+1 {
				t.Errorf("asked %d times to confirm a copy", u.hits.Load()-hits)
			}
		})
	}
}

// What an upstream sends beyond the length it announced is no one's: neither
// this file's nor the answer to the next request.
func TestUpstreamSendsTooMuch(t *testing.T) {
	n := node.Start(t, node.Options{})
	u := newUpstream(t, verbatim("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfineHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"))
	repository := mirror(t, n, "raw", u)
	if got := n.Want(200, http.MethodGet, "/repository/"+repository+"/one", nil); string(got) != "fine" {
		t.Errorf("got %q, want what was announced", got)
	}
	u.does(answer("other"))
	for i := range 5 {
		if got := n.Want(200, http.MethodGet, fmt.Sprintf("/repository/%s/two%d", repository, i), nil); string(got) != "other" {
			t.Errorf("got %q for another file", got)
		}
	}
	// Nor does more than the server's own limit come in through an upstream.
	n.Want(200, http.MethodPut, "/api/v1/settings", strings.NewReader(`{"max_artifact_bytes":1000}`), "Content-Type", "application/json")
	u.does(answer(strings.Repeat("x", 1001)))
	resp, body := n.Do(http.MethodGet, "/repository/"+repository+"/huge", nil)
	if resp.StatusCode != 502 || code(string(body)) != "UPSTREAM_ERROR" {
		t.Errorf("a file over the limit: %s\n%s", resp.Status, body)
	}
}

// The address that is dialled is judged, on the first hop and on each later
// one; what is refused hears nothing of us.
func TestUpstreamForbiddenAddress(t *testing.T) {
	n := node.Start(t, node.Options{})
	target := newUpstream(t, answer("secret"))
	port := target.URL[strings.LastIndex(target.URL, ":")+1:]
	// On Linux the unspecified address leads to this machine.
	for i, address := range []string{"0.0.0.0", "[::]", "0", "[::ffff:0.0.0.0]"} {
		forbidden := "http://" + address + ":" + port + "/x"
		u := newUpstream(t, says(302, "Location", forbidden))
		for _, repository := range []string{mirror(t, n, "raw", u), fmt.Sprintf("direct%d", i)} {
			if strings.HasPrefix(repository, "direct") {
				resp, b := n.Do(http.MethodPost, "/api/v1/repositories", strings.NewReader(fmt.Sprintf(
					`{"name":%q,"repo_type":"cache","format":"raw","upstream_url":%q}`, repository, forbidden)), "Content-Type", "application/json")
				if resp.StatusCode == 400 && code(string(b)) == "BAD_REQUEST" {
					continue // refused even earlier
				}
			}
			resp, body := n.Do(http.MethodGet, "/repository/"+repository+"/x", nil)
			if resp.StatusCode != 502 || code(string(body)) != "UPSTREAM_ERROR" {
				t.Errorf("%s: %s\n%s", forbidden, resp.Status, body)
			}
		}
	}
	if hits := target.hits.Load(); hits != 0 {
		t.Errorf("a forbidden address was asked %d times", hits)
	}
	// The same server by an address that is allowed.
	u := newUpstream(t, says(302, "Location", target.URL+"/x"))
	if got := n.Want(200, http.MethodGet, "/repository/"+mirror(t, n, "raw", u)+"/x", nil); string(got) != "secret" {
		t.Errorf("got %q", got)
	}
}

// A copy serves while its upstream can't; an upstream that says when to come
// back is not asked before.
func TestUpstreamOverloaded(t *testing.T) {
	n := node.Start(t, node.Options{})
	for name, does := range map[string]http.HandlerFunc{
		"429": says(429, "Retry-After", "100"), "503": says(503, "Retry-After", "100"), "500": says(500), "gone silent": verbatim(""),
	} {
		t.Run(name, func(t *testing.T) {
			u := newUpstream(t, answer("old"))
			repository := mirror(t, n, "raw", u)
			n.Want(200, http.MethodGet, "/repository/"+repository+"/old", nil)
			u.does(does)
			resp, body := n.Do(http.MethodGet, "/repository/"+repository+"/old", nil)
			if resp.StatusCode != 200 || string(body) != "old" || resp.Header.Get("Warning") == "" {
				t.Errorf("copy: %s, Warning %q\n%s", resp.Status, resp.Header.Get("Warning"), body)
			}
			hits := u.hits.Load()
			want := 502
			if name == "429" {
				want = 429
			}
			for range 3 {
				resp, body = n.Do(http.MethodGet, "/repository/"+repository+"/new", nil)
				if resp.StatusCode != want {
					t.Errorf("no copy: %s, want %d\n%s", resp.Status, want, body)
				}
				var after int
				if _, err := fmt.Sscan(resp.Header.Get("Retry-After"), &after); want == 429 && (err != nil || after < 1 || after > 100) {
					t.Errorf("Retry-After: %q, want 1 to 100", resp.Header.Get("Retry-After"))
				}
			}
			if asked := u.hits.Load() - hits; strings.Contains("429 503", name) && asked > 0 {
				t.Errorf("asked %d times within Retry-After", asked)
			}
		})
	}
}

// An upstream that fails time and again is left alone, for a second.
func TestUpstreamBreaker(t *testing.T) {
	n := node.Start(t, node.Options{})
	u := newUpstream(t, says(500))
	path := "/repository/" + mirror(t, n, "raw", u) + "/x"
	began := time.Now()
	for range 30 {
		if resp, _ := n.Do(http.MethodGet, path, nil); resp.StatusCode != 502 {
			t.Fatal(resp.Status)
		}
	}
	took := time.Since(began)
	if hits := u.hits.Load(); hits < 10 || hits > 10+int64(took/time.Second) {
		t.Errorf("asked %d times in %s, want 10 and then once in a second", hits, took)
	}
	u.does(answer("back"))
	for until := time.Now().Add(patience); ; {
		resp, body := n.Do(http.MethodGet, path, nil)
		if resp.StatusCode == 200 && string(body) == "back" {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("still %s\n%s", resp.Status, body)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// A client hears of an upstream that never answers within 40 s.
func TestUpstreamNeverAnswers(t *testing.T) {
	t.Parallel()
	n := node.Start(t, node.Options{})
	hang := func(first string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			c, b, err := w.(http.Hijacker).Hijack()
			if err != nil {
				panic(err)
			}
			b.WriteString(first)   //nolint:errcheck // the peer may have gone
			b.Flush()              //nolint:errcheck // the same
			io.Copy(io.Discard, c) //nolint:errcheck // until the other side hangs up
			c.Close()              //nolint:errcheck // the same
		}
	}
	type result struct {
		name, status string
		code         int
		took         time.Duration
	}
	cases := map[string]struct{ format, path, first string }{
		"no answer":         {"raw", "x", ""},
		"half a header":     {"raw", "x", "HTTP/1.1 200 OK\r\nX-"},
		"no body":           {"raw", "x", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"},
		"no long body":      {"raw", "x", "HTTP/1.1 200 OK\r\nContent-Length: 10000000\r\n\r\n"},
		"half a body":       {"raw", "x", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345"},
		"no document":       {"golang", "example.com/m/@v/list", ""},
		"half a document":   {"golang", "example.com/m/@v/list", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nv1.0.0\n"},
		"redirect, nothing": {"raw", "x", "redirect"},
	}
	results := make(chan result, len(cases))
	for name, c := range cases {
		u := newUpstream(t, hang(c.first))
		if c.first == "redirect" {
			u.does(says(302, "Location", newUpstream(t, hang("")).URL))
		}
		path := "/repository/" + mirror(t, n, c.format, u) + "/" + c.path
		go func() {
			began := time.Now()
			resp, body, err := n.Try(t.Context(), http.MethodGet, path, nil)
			r := result{name: name, took: time.Since(began)}
			if err != nil {
				r.status = err.Error()
			} else {
				r.code, r.status = resp.StatusCode, fmt.Sprintf("%s %s", resp.Status, body)
			}
			results <- r
		}()
	}
	for range cases {
		r := <-results
		if r.code != 502 && r.code != 504 || r.took > 40*time.Second {
			t.Errorf("%s: after %s: %.200s", r.name, r.took, r.status)
		}
		t.Logf("%s: %.3gs %.100s", r.name, r.took.Seconds(), r.status)
	}
}
