package integration_test

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"granary/integration/node"
)

// SIGTERM lets running requests end, closes idle connections at once, and takes
// no new ones.
func TestGracefulShutdown(t *testing.T) {
	n := node.Start(t, node.Options{Env: []string{"GRANARY_SHUTDOWN_TIMEOUT=" + patience.String()}})
	n.Create(`{"name":"files","repo_type":"hosted","format":"raw"}`)
	idle := dial(t, n, patience)
	idle.send("GET /api/v1/health HTTP/1.1\r\nHost: h\r\n\r\n")
	idle.answer("GET")
	running := dial(t, n, patience)
	running.send("PUT /repository/files/late HTTP/1.1\r\nHost: h\r\n%sContent-Length: 10\r\nExpect: 100-continue\r\n\r\n", admin)
	if line, err := running.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		t.Fatalf("%q, %v", line, err)
	}
	if _, err := running.r.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	running.send("01234")

	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		n.Stop()
	}()
	began := time.Now()
	idle.closed()
	if took := time.Since(began); took > patience {
		t.Errorf("an idle connection was closed after %s", took)
	}
	for until := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		c, err := net.Dial("tcp", strings.TrimPrefix(n.URL, "http://"))
		if err != nil {
			break
		}
		c.Close() //nolint:errcheck // it was only looked for
		if time.Now().After(until) {
			t.Fatal("new connections are still taken")
		}
	}
	running.send("56789")
	if resp, body := running.answer("PUT"); resp.StatusCode != http.StatusCreated {
		t.Errorf("the running request was answered %s\n%s", resp.Status, body)
	}
	<-stopped
	if code := n.ExitCode(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	n.Restart()
	if got := n.Want(200, http.MethodGet, "/repository/files/late", nil); string(got) != "0123456789" {
		t.Errorf("stored %q", got)
	}
}

// A request that does not end is cut off after shutdown_timeout.
func TestShutdownTimeout(t *testing.T) {
	n := node.Start(t, node.Options{Env: []string{"GRANARY_SHUTDOWN_TIMEOUT=1s"}})
	n.Create(`{"name":"files","repo_type":"hosted","format":"raw"}`)
	running := dial(t, n, patience)
	running.send("PUT /repository/files/never HTTP/1.1\r\nHost: h\r\n%sContent-Length: 10000000\r\n\r\n%s", admin, strings.Repeat("x", 9<<20))
	began := time.Now()
	n.Stop()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("stopped after %s", took)
	}
	running.closed()
	n.Restart()
	n.Want(404, http.MethodGet, "/repository/files/never", nil)
	n.Want(200, http.MethodGet, "/api/v1/repositories/files", nil)
}
