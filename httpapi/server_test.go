package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"granary/formats"
	"granary/httpapi/exchange"
	"granary/integration/pipe"
	"granary/repo/config"
)

// readerFrom counts what reaches a connection's ReadFrom as a file.
type sendfileConn struct {
	*net.TCPConn
	files *atomic.Int64
}

func (c sendfileConn) ReadFrom(r io.Reader) (int64, error) {
	inner := r
	if l, ok := r.(*io.LimitedReader); ok {
		inner = l.R
	}
	if _, ok := inner.(interface{ Fd() uintptr }); ok {
		n, err := c.TCPConn.ReadFrom(r)
		c.files.Add(n)
		return n, err
	}
	return c.TCPConn.ReadFrom(r)
}

// A file reaches the socket by sendfile through the whole surface: what the
// connection is given to read from is the file itself.
func TestSendfileReachesTheSocket(t *testing.T) {
	name := filepath.Join(t.TempDir(), "big")
	want := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB
	if err := os.WriteFile(name, want, 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t)
	r.Create("odd", config.Hosted, "probe", nil)
	r.probe.call = func(w http.ResponseWriter, _ *http.Request) error {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		w.Header().Set("Content-Length", fmt.Sprint(len(want)))
		_, err = io.Copy(w, f)
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var files atomic.Int64
	server := &http.Server{Handler: r.handler}
	go server.Serve(counting{l, &files}) //nolint:errcheck // ends with the test
	defer server.Close()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "http://"+l.Addr().String()+"/repository/odd/call", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("admin", adminPassword)
	get := func() {
		t.Helper()
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
	get()
	// They are counted a moment after the client has them.
	for end := time.Now().Add(time.Minute); files.Load() < int64(len(want))-4096; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d bytes went from file to socket", files.Load(), len(want))
		}
	}
	// The same through our own connection type.
	address, _ := serve(t, ServerConfig{Handler: r.handler})
	req.URL.Host = address
	get()
}

type counting struct {
	net.Listener
	files *atomic.Int64
}

func (l counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return sendfileConn{c.(*net.TCPConn), l.files}, nil
}

// What the connection wrapper gives to TCP is the file too.
func TestConnSendsFilesAsFiles(t *testing.T) {
	want := bytes.Repeat([]byte("abcdefgh"), 400_000) // 3.2 MB: more than one piece
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, want, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int64{-1, 0, 1, sendChunk, sendChunk + 1, 3_000_000, 99_000_000} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		got := make(chan []byte, 1)
		go func() {
			c, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				got <- nil
				return
			}
			defer c.Close()
			b, _ := io.ReadAll(c)
			got <- b
		}()
		c, err := listener{Listener: l, stall: time.Minute}.Accept()
		if err != nil {
			t.Fatal(err)
		}
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		var src io.Reader = f
		expect := want
		if limit >= 0 {
			src = io.LimitReader(f, limit)
			expect = want[:min(limit, int64(len(want)))]
		}
		n, err := c.(*conn).ReadFrom(src)
		if err != nil || n != int64(len(expect)) {
			t.Errorf("limit %d: %d bytes, %v, want %d", limit, n, err, len(expect))
		}
		c.Close()
		f.Close()
		if b := <-got; !bytes.Equal(b, expect) {
			t.Errorf("limit %d: the peer has %d bytes, want %d", limit, len(b), len(expect))
		}
		l.Close()
	}
}

func TestHTTP2(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	borrowed := httptest.NewTLSServer(nil)
	defer borrowed.Close()
	address, _ := serve(t, ServerConfig{Handler: r.handler, TLS: &tls.Config{Certificates: borrowed.TLS.Certificates, MinVersion: tls.VersionTLS12}})
	client := borrowed.Client()
	client.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	body := bytes.Repeat([]byte("y"), 1<<20)
	do := func(method string, body io.Reader) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, "https://"+address+"/repository/files/x", body)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "example.com"
		req.SetBasicAuth("admin", adminPassword)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	resp := do("PUT", bytes.NewReader(body))
	if resp.ProtoMajor != 2 || resp.StatusCode != 201 || resp.Header.Get("Location") != "https://example.com/repository/files/x" {
		t.Errorf("%s %d %v", resp.Proto, resp.StatusCode, resp.Header)
	}
	resp.Body.Close()
	resp = do("GET", nil)
	if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, body) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	resp.Body.Close()
}

func TestStalledBodyIsGivenUp(t *testing.T) {
	r := newRig(t, func(c *Config) { c.Stall = 200 * time.Millisecond })
	r.Create("files", config.Hosted, "raw", nil)
	r.Create("odd", config.Hosted, "probe", nil)
	r.probe.accept = func(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
		time.Sleep(300 * time.Millisecond)
		b, err := tx.Blob(ctx, up.Body)
		time.Sleep(300 * time.Millisecond)
		tx.Put(formats.Record{Name: op.Name}, b)
		return errors.Join(err, ctx.Err())
	}
	synctest.Test(t, func(t *testing.T) {
		s := pipeTo(t, ServerConfig{Handler: r.handler})
		w := s.dial(t)
		w.send("PUT /repository/files/x HTTP/1.1\r\nHost: h\r\n%sContent-Length: 10\r\n\r\n", adminHeader)
		slowly := func(bytes int) { // but moving
			for range bytes {
				time.Sleep(190 * time.Millisecond)
				w.send("x")
			}
		}
		slowly(10)
		if resp, body := w.answer("PUT"); resp.StatusCode != 201 {
			t.Errorf("slow, but moving: %d %s", resp.StatusCode, body)
		}
		w.send("PUT /repository/files/x HTTP/1.1\r\nHost: h\r\n%sContent-Length: 10\r\n\r\n", adminHeader)
		slowly(4)
		began := time.Now()
		if resp, body := w.answer("PUT"); resp.StatusCode != 408 {
			t.Errorf("%d %s", resp.StatusCode, body)
		}
		if took := time.Since(began); took < 100*time.Millisecond || took > 300*time.Millisecond {
			t.Errorf("given up after %v of silence", took)
		}
		w = s.dial(t)
		w.send("POST /api/v1/users HTTP/1.1\r\nHost: h\r\n%sContent-Type: application/json\r\nContent-Length: 10\r\n\r\n{", adminHeader)
		if resp, body := w.answer("POST"); resp.StatusCode != 408 {
			t.Errorf("JSON: %d %s", resp.StatusCode, body)
		}
		// A slow handler is none of it, before the body and after.
		w = s.dial(t)
		for range 2 {
			w.sendAside("POST /repository/odd/x HTTP/1.1\r\nHost: h\r\n%sContent-Length: 5\r\n\r\nhello", adminHeader)
			if resp, body := w.answer("POST"); resp.StatusCode != 201 {
				t.Errorf("%d %s", resp.StatusCode, body)
			}
		}
	})
}

// pipes leads to a server in a bubble of synctest.
type pipes struct{ *pipe.Listener }

// pipeTo runs a server at the other end of pipes.
func pipeTo(t *testing.T, c ServerConfig) pipes {
	p := pipes{pipe.Listen()}
	serveOn(t, p, c)
	return p
}

func (p pipes) dial(t *testing.T) *wire {
	client, err := p.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return &wire{t, client, bufio.NewReader(client)}
}

// sendAside sends while the answer may be waited for: on a pipe all is taken, or
// the sender waits.
func (w *wire) sendAside(format string, args ...any) {
	go fmt.Fprintf(w, format, args...) //nolint:errcheck // shows in the answer
}

// trickle is a body that arrives a byte at a time and never ends.
type trickle struct{ between time.Duration }

func (b trickle) Read(p []byte) (int, error) {
	time.Sleep(b.between)
	return copy(p, " "), nil
}

// TestTricklingBodyIsGivenUp: whoever never falls silent does not hold a
// request for ever either. A log-in needs no right.
func TestTricklingBodyIsGivenUp(t *testing.T) {
	r := newRig(t)
	for path, limit := range map[string]time.Duration{
		"/api/v1/auth/login": 2 * time.Minute,
		"/api/v1/users":      3 * time.Minute,
		"/api/v1/restore":    15 * time.Minute,
	} {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			r.do("admin", "POST", path, trickle{20 * time.Second}, "Content-Type", "application/json").fails(408, "BAD_REQUEST", "too slowly")
			if took := time.Since(began); took > limit {
				t.Errorf("%s was given up after %v, want %v at most", path, took, limit)
			}
		})
	}
}

func TestStalledReaderIsGivenUp(t *testing.T) {
	failed := make(chan error, 1)
	address, _ := serve(t, ServerConfig{Stall: 200 * time.Millisecond, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				failed <- err
				return
			}
		}
	})})
	w := dial(t, address)
	w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	select {
	case <-failed:
	case <-time.After(time.Minute):
		t.Error("a client that reads nothing holds a request for ever")
	}
}

func TestShutdown(t *testing.T) {
	begun, proceed := make(chan struct{}), make(chan struct{})
	address, s := serve(t, ServerConfig{Shutdown: time.Minute, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(begun)
			<-proceed
		}
		fmt.Fprint(w, "done")
	})})
	idle, slow := dial(t, address), dial(t, address)
	idle.send("GET /quick HTTP/1.1\r\nHost: h\r\n\r\n")
	idle.answer("GET")
	slow.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
	<-begun
	closed := make(chan error, 1)
	go func() { closed <- s.Close(context.Background()) }()
	idle.closed() // at once
	close(proceed)
	if _, body := slow.answer("GET"); body != "done" {
		t.Errorf("the running request was answered %q", body)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("still takes connections")
	}
}

func TestShutdownCutsWhatDoesNotEnd(t *testing.T) {
	begun := make(chan struct{})
	address, s := serve(t, ServerConfig{Shutdown: 100 * time.Millisecond, Handler: http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		close(begun)
		<-r.Context().Done()
	})})
	w := dial(t, address)
	w.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	<-begun
	if err := s.Close(context.Background()); err == nil {
		t.Error("no error although a request was cut off")
	}
}

func TestHeaderLimit(t *testing.T) {
	address, _ := serve(t, ServerConfig{Handler: http.NotFoundHandler()})
	w := dial(t, address)
	w.send("GET / HTTP/1.1\r\nHost: h\r\nX: %s\r\n\r\n", strings.Repeat("x", 100_000))
	if resp, _ := w.answer("GET"); resp.StatusCode != 431 {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// The exchange keeps the fast way through for writers that have one.
func TestExchangeReaderFrom(t *testing.T) {
	rec := httptest.NewRecorder() // has no ReadFrom
	x, _ := exchange.Begin(rec, httptest.NewRequest("GET", "/", nil), 0, nil)
	if n, err := io.Copy(x, struct{ io.Reader }{strings.NewReader("hello")}); n != 5 || err != nil || rec.Body.String() != "hello" || x.Sent() != 5 || x.Status() != 200 {
		t.Errorf("%d %v %q, sent %d, status %d", n, err, rec.Body, x.Sent(), x.Status())
	}
}
