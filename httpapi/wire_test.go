package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"granary/formats"
	"granary/repo/config"
)

// serve runs a real server on 127.0.0.1.
func serve(t *testing.T, c ServerConfig) (address string, s *Server) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l.Addr().String(), serveOn(t, l, c)
}

// serveOn runs a server until the test is over.
func serveOn(t *testing.T, l net.Listener, c ServerConfig) *Server {
	s := NewServer(c)
	done := make(chan error, 1)
	go func() { done <- s.Serve(l) }()
	t.Cleanup(func() {
		_ = s.Close(context.Background())
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

const adminHeader = "Authorization: Basic YWRtaW46YWRtaW4tcGFzc3dvcmQ=\r\n"

// wire is a connection that speaks HTTP/1 by hand.
type wire struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

func dial(t *testing.T, address string) *wire {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	return &wire{t, c, bufio.NewReader(c)}
}

func (w *wire) send(format string, args ...any) {
	w.t.Helper()
	if _, err := fmt.Fprintf(w, format, args...); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) answer(method string) (*http.Response, string) {
	w.t.Helper()
	resp, err := http.ReadResponse(w.r, &http.Request{Method: method})
	if err != nil {
		w.t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return resp, string(b)
}

// closed wants the server to have closed the connection.
func (w *wire) closed() {
	w.t.Helper()
	if b, err := w.r.ReadByte(); err == nil {
		w.t.Errorf("the connection is open and sends %q", b)
	} else if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
		w.t.Error("the connection is still open")
	}
}

func TestExpectContinue(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	address, _ := serve(t, ServerConfig{Handler: r.handler})
	w := dial(t, address)
	w.send("PUT /repository/files/x HTTP/1.1\r\nHost: h\r\n%sContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", adminHeader)
	line, err := w.r.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := w.r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	w.send("hello")
	if resp, _ := w.answer("PUT"); resp.StatusCode != 201 {
		t.Errorf("status %d", resp.StatusCode)
	}
	// Nothing asks for the body of a request that is refused.
	for _, header := range []string{"", "Authorization: Bearer x\r\n", adminHeader} {
		w := dial(t, address)
		path := "files/x"
		if header == adminHeader {
			path = "absent/x"
		}
		w.send("PUT /repository/%s HTTP/1.1\r\nHost: h\r\n%sContent-Length: 5000000\r\nExpect: 100-continue\r\n\r\n", path, header)
		if resp, _ := w.answer("PUT"); resp.StatusCode != 401 && resp.StatusCode != 404 {
			t.Errorf("%q: status %d", header, resp.StatusCode)
		}
		w.closed()
	}
}

// What follows a request with both lengths is never run as another request.
func TestLengthAndChunkedTogether(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	address, _ := serve(t, ServerConfig{Handler: r.handler})
	const hidden = "DELETE /repository/files/precious HTTP/1.1\r\nHost: h\r\n" + adminHeader + "\r\n"
	for _, name := range []string{"Content-Length", "content-length", "CONTENT-length"} {
		r.Put("files", "precious", []byte("x"))
		w := dial(t, address)
		w.send("PUT /repository/files/x HTTP/1.1\r\nHost: h\r\n%s%s: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n%s", adminHeader, name, hidden)
		resp, _ := w.answer("PUT")
		if !resp.Close {
			t.Errorf("%s: the connection stays open after status %d", name, resp.StatusCode)
		}
		w.closed()
		r.Get("files", "precious")
	}
	// Chunked alone keeps the connection.
	w := dial(t, address)
	for range 3 {
		w.send("PUT /repository/files/x HTTP/1.1\r\nHost: h\r\n%sTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", adminHeader)
		if resp, _ := w.answer("PUT"); resp.StatusCode != 201 || resp.Close {
			t.Fatalf("status %d, close %v", resp.StatusCode, resp.Close)
		}
	}
	// A handler without our listener can't tell and closes.
	plain := httptest.NewServer(r.handler)
	defer plain.Close()
	w = dial(t, plain.Listener.Addr().String())
	w.send("PUT /repository/files/x HTTP/1.1\r\nHost: h\r\n%sTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", adminHeader)
	if resp, _ := w.answer("PUT"); !resp.Close {
		t.Error("kept open without knowing")
	}
}

func TestScanner(t *testing.T) {
	for text, want := range map[string]bool{
		"GET / HTTP/1.1\r\ncontent-length: 1\r\n": true, "\nCoNtEnT-LeNgTh:": true, "\ncontent-lengt": false, "\nxcontent-length": false,
		"\nccontent-length": false, "\n\ncontent-length": true, "content-length": true, "a content-length": false,
	} {
		for cut := range len(text) {
			var s scanner
			if got := s.find([]byte(text[:cut])) || s.find([]byte(text[cut:])); got != want {
				t.Errorf("%q cut at %d: %v, want %v", text, cut, got, want)
			}
		}
	}
}

func TestTruncatedBodyStoresNothing(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	address, _ := serve(t, ServerConfig{Handler: r.handler})
	for _, head := range []string{"Content-Length: 1000\r\n\r\nshort", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"} {
		w := dial(t, address)
		w.send("PUT /repository/files/cut HTTP/1.1\r\nHost: h\r\n%s%s", adminHeader, head)
		if err := w.Conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		resp, body := w.answer("PUT")
		if resp.StatusCode != 500 || !strings.Contains(body, "DATA_INTEGRITY_ERROR") {
			t.Errorf("%q: %d %s", head, resp.StatusCode, body)
		}
		r.Refused(formats.ErrNotFound, "files", "GET", "cut", nil)
	}
	w := dial(t, address)
	w.send("PUT /repository/files/cut HTTP/1.1\r\nHost: h\r\n%sTransfer-Encoding: chunked\r\n\r\nzz\r\n", adminHeader)
	if resp, body := w.answer("PUT"); resp.StatusCode != 400 || !strings.Contains(body, "BAD_REQUEST") {
		t.Errorf("damaged chunk: %d %s", resp.StatusCode, body)
	}
	if strings.Contains(r.log.String(), `"level":"ERROR"`) {
		t.Errorf("clients that go away are logged as errors: %s", r.log)
	}
}

// Clients that look for an answer only when they have sent all hear why they
// are refused.
func TestRefusedUploadHearsWhy(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	address, _ := serve(t, ServerConfig{Handler: r.handler})
	if _, err := r.Registry.UpdateSettings(t.Context(), func(s *config.Settings) error { s.MaxArtifactBytes = 1000; return nil }); err != nil {
		t.Fatal(err)
	}
	body := bytes.Repeat([]byte("x"), 3<<20)
	for _, length := range []string{fmt.Sprintf("Content-Length: %d\r\n\r\n", len(body)), fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n", len(body))} {
		w := dial(t, address)
		w.send("PUT /repository/files/big HTTP/1.1\r\nHost: h\r\n%s%s", adminHeader, length)
		if _, err := w.Write(body); err != nil {
			t.Fatalf("cut off while sending: %v", err)
		}
		if resp, text := w.answer("PUT"); resp.StatusCode != 413 || !resp.Close || !strings.Contains(text, "1000") {
			t.Errorf("%d %s", resp.StatusCode, text)
		}
	}
	// A small one does not cost the connection.
	w := dial(t, address)
	for range 2 {
		w.send("PUT /repository/files/mid HTTP/1.1\r\nHost: h\r\n%sContent-Length: 2000\r\n\r\n%s", adminHeader, body[:2000])
		if resp, _ := w.answer("PUT"); resp.StatusCode != 413 || resp.Close {
			t.Fatalf("%d, close %v", resp.StatusCode, resp.Close)
		}
	}
}

func TestHalfAnAnswerIsCut(t *testing.T) {
	r := newRig(t)
	r.Create("odd", config.Hosted, "probe", nil)
	r.probe.call = func(w http.ResponseWriter, _ *http.Request) error {
		fmt.Fprint(w, strings.Repeat("x", 10_000))
		return errSecret
	}
	address, _ := serve(t, ServerConfig{Handler: r.handler})
	w := dial(t, address)
	w.send("GET /repository/odd/call HTTP/1.1\r\nHost: h\r\n%s\r\n", adminHeader)
	resp, err := http.ReadResponse(w.r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%d bytes look like a whole answer", len(b))
	}
}
