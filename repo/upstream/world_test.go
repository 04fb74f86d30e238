package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"granary/formats"
	"granary/integration/pipe"
)

// world is a network of servers under names and addresses of the test's
// choice, all of them really on the loopback.
type world struct {
	t      *testing.T
	mu     sync.Mutex                // protects all below
	names  map[string]string         // host → address
	routes map[string]string         // address and port → where that really is
	pipes  map[string]*pipe.Listener // address and port → a server in memory
	dialed []string                  // addresses and ports
	clock  time.Time
	roots  *x509.CertPool
}

func newWorld(t *testing.T) *world {
	return &world{
		t: t, names: map[string]string{}, routes: map[string]string{}, pipes: map[string]*pipe.Listener{}, roots: x509.NewCertPool(),
		clock: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC),
	}
}

// serve runs a server at host, whose name leads to address, on the default
// port.
func (w *world) serve(host, address string, h http.HandlerFunc) { w.serveAt(host, address, "80", h) }

func (w *world) serveAt(host, address, port string, h http.HandlerFunc) {
	s := httptest.NewServer(h)
	w.t.Cleanup(s.Close)
	w.route(host, address, port, s)
}

func (w *world) serveTLS(host, address string, h http.HandlerFunc) {
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = stdlog.New(io.Discard, "", 0)
	s.StartTLS()
	w.t.Cleanup(s.Close)
	w.roots.AddCert(s.Certificate())
	w.route(host, address, "443", s)
}

// serveInMemory is serve without a network, for tests in a bubble of synctest,
// where time goes on only while everybody waits.
func (w *world) serveInMemory(host, address string, h http.HandlerFunc) {
	l := pipe.Listen()
	s := &http.Server{Handler: h} //nolint:gosec // a test's server
	done := make(chan struct{})
	go func() { defer close(done); s.Serve(l) }() //nolint:errcheck // ends with the test
	w.t.Cleanup(func() {
		s.Shutdown(context.Background()) //nolint:errcheck // clients are gone, handlers end
		<-done
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names[host] = address
	w.pipes[net.JoinHostPort(address, "80")] = l
}

func (w *world) route(host, address, port string, s *httptest.Server) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.names[host] = address
	w.routes[net.JoinHostPort(address, port)] = s.Listener.Addr().String()
}

func (w *world) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.clock
}

func (w *world) add(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.clock = w.clock.Add(d)
}

func (w *world) resolve(_ context.Context, host string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, ok := w.names[strings.ToLower(host)]
	if !ok {
		return nil, fmt.Errorf("no host %s", host)
	}
	return []netip.Addr{netip.MustParseAddr(a)}, nil
}

func (w *world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	w.dialed = append(w.dialed, address)
	real, ok := w.routes[address]
	memory := w.pipes[address]
	w.mu.Unlock()
	if memory != nil {
		return memory.Dial(ctx)
	}
	if !ok {
		return nil, fmt.Errorf("nobody at %s", address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, real)
}

func (w *world) client(c Config) *Client {
	c.Resolve, c.Dial, c.Now = w.resolve, w.dial, w.now
	// The certificate of httptest is for example.com and its subdomains.
	c.TLS = &tls.Config{RootCAs: w.roots, MinVersion: tls.VersionTLS12}
	client := New(c)
	w.t.Cleanup(client.Close)
	return client
}

// text is a handler that answers so.
func text(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, s) } //nolint:errcheck // a test's server
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

// get returns the body.
func get(t *testing.T, c *Client, r Request) (string, error) {
	t.Helper()
	resp, err := c.Get(t.Context(), r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close() //nolint:errcheck // read only
	data, err := io.ReadAll(resp.Body)
	return string(data), err
}

func mustGet(t *testing.T, c *Client, r Request, want string) {
	t.Helper()
	if got, err := get(t, c, r); err != nil || got != want {
		t.Fatalf("got %q, %v; want %q", got, err, want)
	}
}

// mustFail wants an *Error of a kind.
func mustFail(t *testing.T, c *Client, r Request, kind error) *Error {
	t.Helper()
	got, err := get(t, c, r)
	var e *Error
	if !errors.Is(err, kind) || !errors.As(err, &e) {
		t.Fatalf("got %q, %v; want %v", got, err, kind)
	}
	return e
}

// log is a handler that notes the Authorization header of each request.
type log struct {
	mu   sync.Mutex // protects seen
	seen []string
}

func (l *log) around(h http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		l.seen = append(l.seen, r.Header.Get("Authorization"))
		l.mu.Unlock()
		h(w, r)
	}
}

func (l *log) take() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.seen
	l.seen = nil
	return s
}

func TestGet(t *testing.T) {
	w := newWorld(t)
	compressed := bytes.Repeat([]byte{0x1f, 0x8b, 0}, 1000)
	w.serve("a.test", "203.0.113.1", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "identity" || r.Header.Get("User-Agent") != "granary" || r.Header.Get("Traceparent") != "x" {
			t.Errorf("header %v", r.Header)
		}
		switch r.URL.EscapedPath() {
		case "/base/":
			w.Write([]byte("base")) //nolint:errcheck // a test's server
		case "/base/a%20b%3Fc%25d/%C3%BC+@v":
			w.Header().Set("ETag", `W/"1"`)
			w.Header().Set("Last-Modified", "Mon, 02 Jan 2006 15:04:05 GMT")
			w.Write([]byte("odd")) //nolint:errcheck // a test's server
		case "/gz":
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("Content-Length", strconv.Itoa(len(compressed)))
			w.Write(compressed) //nolint:errcheck // a test's server
		case "/gone":
			w.WriteHeader(http.StatusGone)
		case "/empty":
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})
	var seen []Exchange
	c := w.client(Config{
		Sends: func(_ context.Context, before Exchange, h http.Header) func(Exchange) {
			h.Set("Traceparent", "x")
			return func(e Exchange) {
				if e.Elapsed <= 0 || before.URL != e.URL || before.Method != e.Method || before.Host != e.Host {
					t.Errorf("told of %+v before and of %+v after", before, e)
				}
				seen = append(seen, e)
			}
		},
	})
	base := "http://user:secret@a.test/base/"
	mustGet(t, c, Request{Base: base}, "base")
	mustGet(t, c, Request{Base: base, Ref: "http://a.test/gz?x=1#y"}, string(compressed))
	mustGet(t, c, Request{Base: base, Ref: "http://a.test/empty"}, "")
	resp, err := c.Get(t.Context(), Request{Base: base, Ref: "a b?c%d/ü+@v"})
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(resp.Body)
	resp.Body.Close() //nolint:errcheck // read only
	if string(data) != "odd" || err != nil || resp.ETag != `W/"1"` || resp.LastModified != "Mon, 02 Jan 2006 15:04:05 GMT" ||
		resp.Size != 3 || resp.Offset != 0 || resp.NotModified || resp.URL != "http://a.test/base/a%20b%3Fc%25d/%C3%BC+@v" {
		t.Errorf("got %q, %v, %+v", data, err, resp)
	}
	head, err := c.Head(t.Context(), Request{Base: base, Ref: "http://a.test/gz"})
	if err != nil || head.Size != int64(len(compressed)) {
		t.Errorf("HEAD: %+v, %v", head, err)
	}
	if n, err := head.Body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("body of HEAD: %d, %v", n, err)
	}
	for _, ref := range []string{"no", "http://a.test/gone"} {
		if e := mustFail(t, c, Request{Base: base, Ref: ref}, formats.ErrNotFound); errors.Is(e, formats.ErrUpstream) {
			t.Errorf("%s: %v is an upstream error too", ref, e)
		}
	}
	if len(seen) != 7 || seen[0].Status != 200 || seen[0].Host != "a.test" || seen[1].URL != "http://a.test/gz" || seen[6].Status != 410 {
		t.Errorf("observed %+v", seen)
	}
}

func TestBadRequests(t *testing.T) {
	c := newWorld(t).client(Config{})
	for _, tt := range []struct {
		r    Request
		want error
	}{
		{Request{Base: "http://a.test/", Ref: "../x"}, formats.ErrBadRequest},
		{Request{Base: "http://a.test/", Ref: "x/.."}, formats.ErrBadRequest},
		{Request{Base: "http://a.test/", Ref: "x/./y"}, formats.ErrBadRequest},
		{Request{Base: "http://a.test/", Ref: "x\ny"}, formats.ErrBadRequest},
		{Request{Base: "ftp://a.test/", Ref: "x"}, formats.ErrUpstream},
		{Request{Base: "file:///etc", Ref: "passwd"}, formats.ErrUpstream},
		{Request{Base: "http:a.test", Ref: "x"}, formats.ErrUpstream},
		{Request{Base: "", Ref: "x"}, formats.ErrUpstream},
		{Request{Base: "http://", Ref: "x"}, formats.ErrUpstream},
		{Request{Base: "http://a.test/", Ref: "http://x:y:z/"}, formats.ErrUpstream},
		{Request{Base: "http://user:secret\x7f@a.test/", Ref: ""}, formats.ErrUpstream},
	} {
		resp, err := c.Get(t.Context(), tt.r)
		if !errors.Is(err, tt.want) {
			t.Errorf("%q %q: %v, %v; want %v", tt.r.Base, tt.r.Ref, resp, err, tt.want)
		} else if bytes.Contains([]byte(err.Error()), []byte("secret")) {
			t.Errorf("the error tells a secret: %v", err)
		}
	}
}

func TestConditional(t *testing.T) {
	w := newWorld(t)
	w.serve("a.test", "203.0.113.1", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("If-None-Match") == `"1"` || r.Header.Get("If-Modified-Since") == "then" || r.URL.Path == "/never-asked" {
			w.Header().Set("ETag", `"1"`)
			w.WriteHeader(http.StatusNotModified)
			return
		}
		io.WriteString(w, "new") //nolint:errcheck // a test's server
	})
	c := w.client(Config{})
	for _, r := range []Request{{ETag: `"1"`}, {LastModified: "then"}, {ETag: `"0"`, LastModified: "then"}} {
		r.Base = "http://a.test/"
		resp, err := c.Get(t.Context(), r)
		if err != nil || !resp.NotModified || resp.ETag != `"1"` {
			t.Errorf("%+v: %+v, %v", r, resp, err)
		}
	}
	mustGet(t, c, Request{Base: "http://a.test/", ETag: `"0"`}, "new")
	// Nothing was asked that "not modified" could be the answer to.
	mustFail(t, c, Request{Base: "http://a.test/", Ref: "never-asked"}, formats.ErrUpstream)
	// What a caller adds does not get in the way.
	h := http.Header{"If-None-Match": {`"1"`}, "Authorization": {"x"}, "Range": {"bytes=0-0"}}
	mustGet(t, c, Request{Base: "http://a.test/", Header: h}, "new")
}

func TestOffset(t *testing.T) {
	w := newWorld(t)
	const content = "0123456789"
	w.serve("a.test", "203.0.113.1", func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/file":
			w.Header().Set("ETag", `"1"`)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader([]byte(content)))
		case "/elsewhere":
			w.Header().Set("Content-Range", "bytes 3-9/10")
			w.WriteHeader(http.StatusPartialContent)
		case "/unasked", "/strange":
			w.Header().Set("Content-Range", "lines 4-9/10")
			w.WriteHeader(http.StatusPartialContent)
		}
	})
	c := w.client(Config{})
	for _, tt := range []struct {
		etag   string
		offset int64 // of the answer
	}{{`"1"`, 4}, {"", 4}, {`W/"1"`, 4}, {`"2"`, 0}} {
		resp, err := c.Get(t.Context(), Request{Base: "http://a.test/", Ref: "file", Offset: 4, ETag: tt.etag})
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(resp.Body)
		resp.Body.Close() //nolint:errcheck // read only
		if string(data) != content[tt.offset:] || err != nil || resp.Offset != tt.offset || resp.Size != int64(len(data)) {
			t.Errorf("ETag %s: %q, %v, %+v", tt.etag, data, err, resp)
		}
	}
	for _, ref := range []string{"elsewhere", "strange"} {
		mustFail(t, c, Request{Base: "http://a.test/", Ref: ref, Offset: 4}, formats.ErrUpstream)
	}
	mustFail(t, c, Request{Base: "http://a.test/", Ref: "unasked"}, formats.ErrUpstream)
	if e := mustFail(t, c, Request{Base: "http://a.test/", Ref: "file", Offset: 10}, formats.ErrUpstream); e.Status != 416 {
		t.Errorf("beyond the end: %v", e)
	}
}

func TestStatus(t *testing.T) {
	for code, kind := range map[int]error{
		201: formats.ErrUpstream, 204: formats.ErrUpstream, 206: formats.ErrUpstream, 300: formats.ErrUpstream, 304: formats.ErrUpstream,
		400: formats.ErrUpstream, 401: formats.ErrUpstream, 403: formats.ErrUpstream, 404: formats.ErrNotFound, 410: formats.ErrNotFound,
		429: formats.ErrUpstream, 451: formats.ErrUpstream, 500: formats.ErrUpstream, 503: formats.ErrUpstream, 504: formats.ErrUpstream,
	} {
		w := newWorld(t)
		w.serve("a.test", "203.0.113.1", status(code))
		if e := mustFail(t, w.client(Config{}), Request{Base: "http://a.test/"}, kind); e.Status != code || e.URL != "http://a.test/" {
			t.Errorf("%d: %+v", code, e)
		}
	}
}

func TestErrorShowsNoQuery(t *testing.T) {
	w := newWorld(t)
	w.serve("a.test", "203.0.113.1", redirect("http://user:secret@b.test/?signature=secret#secret"))
	w.serve("b.test", "203.0.113.2", status(500))
	e := mustFail(t, w.client(Config{}), Request{Base: "http://a.test/"}, formats.ErrUpstream)
	if e.URL != "http://b.test/" || bytes.Contains([]byte(e.Error()), []byte("secret")) {
		t.Errorf("%+v", e)
	}
	if s := fmt.Sprintf("%v %+v %#v", Request{Auth: &Credentials{"u", "secret"}}.Auth, Credentials{"u", "secret"}, &Credentials{"u", "secret"}); bytes.Contains([]byte(s), []byte("secret")) {
		t.Error(s)
	}
}

func TestTLS(t *testing.T) {
	w := newWorld(t)
	var proto string
	w.serveTLS("a.example.com", "203.0.113.1", func(_ http.ResponseWriter, r *http.Request) { proto = r.Proto })
	mustGet(t, w.client(Config{}), Request{Base: "https://a.example.com/"}, "")
	if proto != "HTTP/2.0" {
		t.Errorf("protocol %s", proto)
	}
	w.serveTLS("a.test", "203.0.113.2", text("x")) // the certificate is another's
	mustFail(t, w.client(Config{}), Request{Base: "https://a.test/"}, formats.ErrUpstream)
}

func TestNoProxy(t *testing.T) {
	t.Setenv("HTTP_PROXY", "http://198.51.100.1:3128")
	w := newWorld(t)
	w.serve("a.test", "203.0.113.1", text("x"))
	mustGet(t, w.client(Config{}), Request{Base: "http://a.test/"}, "x")
}
