package integration_test

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"granary/integration/node"
)

// admin is the credentials of the administrator as a header line.
var admin = "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("admin:"+node.Password)) + "\r\n"

// wire is a connection that speaks HTTP/1 by hand, for requests that no client
// would send.
type wire struct {
	*net.TCPConn
	t *testing.T
	r *bufio.Reader
}

// dial connects; everything on the connection has to happen within patience.
func dial(t *testing.T, n *node.Node, patience time.Duration) *wire {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(n.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() }) //nolint:errcheck // closed by most tests before
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &wire{c.(*net.TCPConn), t, bufio.NewReader(c)}
}

func (w *wire) send(format string, args ...any) {
	w.t.Helper()
	if _, err := fmt.Fprintf(w, format, args...); err != nil {
		w.t.Fatal(err)
	}
}

// answer reads the answer to a request of that method, past any 100 Continue.
func (w *wire) answer(method string) (*http.Response, string) {
	w.t.Helper()
	for {
		resp, err := http.ReadResponse(w.r, &http.Request{Method: method})
		if err != nil {
			w.t.Fatalf("no answer: %v", err)
		}
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			w.t.Fatalf("half an answer: %v", err)
		}
		if resp.StatusCode != http.StatusContinue {
			return resp, string(b)
		}
	}
}

// closed wants the server to have ended the connection, or to do so before the
// connection's deadline.
func (w *wire) closed() {
	w.t.Helper()
	b, err := w.r.ReadByte()
	var timeout net.Error
	switch {
	case err == nil:
		w.t.Errorf("the connection is open and sends %q", b)
	case errors.As(err, &timeout) && timeout.Timeout():
		w.t.Error("the connection is still open")
	}
}

// code is that of an error body, "" if it is none.
func code(body string) string {
	var b struct {
		Error struct{ Code, Message string }
	}
	if err := json.Unmarshal([]byte(body), &b); err != nil || b.Error.Message == "" {
		return ""
	}
	return b.Error.Code
}
