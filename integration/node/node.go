// Package node runs the real granary binary for tests: built once, started on
// a free port of 127.0.0.1, driven over HTTP, stopped or killed by its process
// id.
package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"granary/integration/port"
)

// patience is how long a node may take to serve and to stop: far longer than it
// does, on a machine that is busy with other tests.
const patience = 2 * time.Minute

// Password is that of the user admin on every node.
const Password = "correct-horse-battery"

// program is built once for all tests of a binary.
var program struct {
	once sync.Once
	path string // "" unless it was built
	err  error
}

func build() (string, error) {
	dir, err := os.MkdirTemp("", "granary-bin-")
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "granary")
	// As "make build" does, so that memory and start are those of a release.
	kind, environ := []string{"-trimpath", "-ldflags", "-s -w"}, []string{"CGO_ENABLED=0"}
	if os.Getenv("GRANARY_TEST_RACE") != "" {
		kind, environ = []string{"-race"}, nil
	}
	args := append(append([]string{"build", "-tags", "testclock"}, kind...), "-o", bin, "granary/cmd/granary")
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), environ...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", errors.Join(fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out), os.RemoveAll(dir))
	}
	return bin, nil
}

// Binary returns the path of the program, built on the first call.
func Binary(t testing.TB) string {
	t.Helper()
	program.once.Do(func() { program.path, program.err = build() })
	if program.err != nil {
		t.Fatal(program.err)
	}
	return program.path
}

// Clean removes the program. TestMain calls it when all tests are over.
func Clean() {
	program.once.Do(func() {}) // nobody builds it from here on
	if program.path != "" {
		os.RemoveAll(filepath.Dir(program.path)) //nolint:errcheck // only temporary files would be left
	}
}

// Options say how a node is started.
type Options struct {
	Data string   // "" is a new folder of the test
	Env  []string // over the test's own
	Args []string // after "serve"
}

// Node is a running server.
type Node struct {
	URL  string
	TLS  string // the same over HTTPS
	CA   string // file with the certificate to trust for that
	Data string
	Took time.Duration // from start to the first 200

	t     testing.TB
	opts  Options
	port  string
	tls   []string
	cmd   *exec.Cmd
	began time.Time
	out   *output
	done  chan struct{}
}

// Start runs a node and waits until it serves.
func Start(t testing.TB, o Options) *Node {
	t.Helper()
	return StartAll(t, o)[0]
}

// StartAll runs nodes that all start at the same moment, and waits until they serve.
func StartAll(t testing.TB, each ...Options) []*Node {
	t.Helper()
	Binary(t) // is there before the first starts
	var nodes []*Node
	for _, o := range each {
		nodes = append(nodes, newNode(t, o))
	}
	for _, n := range nodes {
		n.spawn()
	}
	for _, n := range nodes {
		n.await()
	}
	return nodes
}

func newNode(t testing.TB, o Options) *Node {
	t.Helper()
	if o.Data == "" {
		o.Data = t.TempDir()
	}
	plain, secure := freePort(t), freePort(t)
	cert, key := Certificate(t)
	n := &Node{
		URL: "http://127.0.0.1:" + plain, TLS: "https://127.0.0.1:" + secure, CA: cert, Data: o.Data, t: t, opts: o, port: plain,
		tls: []string{"GRANARY_HTTPS_LISTEN=127.0.0.1:" + secure, "GRANARY_HTTPS_CERT=" + cert, "GRANARY_HTTPS_KEY=" + key},
	}
	t.Cleanup(func() {
		if n.done == nil {
			return // it was never started
		}
		by := "the test"
		if n.ended() {
			by = n.cmd.ProcessState.String()
		}
		n.Kill()
		if strings.Contains(n.Output(), "DATA RACE") {
			t.Error("the race detector found something in the server")
		}
		if t.Failed() {
			t.Logf("%s, ended by %s, printed last:\n%s", n.URL, by, tail(n.Output()))
		}
	})
	return n
}

// ended tells whether the process has ended already.
func (n *Node) ended() bool {
	select {
	case <-n.done:
		return true
	default:
		return false
	}
}

func tail(s string) string { return s[max(0, len(s)-4000):] }

func freePort(t testing.TB) string {
	t.Helper()
	p, err := port.Free()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(p)
}

func (n *Node) start() {
	n.t.Helper()
	n.spawn()
	n.await()
}

// spawn starts the process.
func (n *Node) spawn() {
	n.t.Helper()
	n.out = &output{}
	n.cmd = exec.Command(Binary(n.t), append([]string{"serve", "--listen", "127.0.0.1:" + n.port, "--data", n.Data}, n.opts.Args...)...)
	n.cmd.Env = append(append(append(os.Environ(), "GRANARY_ADMIN_PASSWORD="+Password), n.tls...), n.opts.Env...)
	n.cmd.Stdout, n.cmd.Stderr = n.out, n.out
	n.cmd.SysProcAttr = attributes()
	n.began = time.Now()
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	done := make(chan struct{})
	n.done = done
	cmd := n.cmd
	go func() { cmd.Wait(); close(done) }() //nolint:errcheck // the way it ends is judged by the test
}

// await waits until the server serves.
func (n *Node) await() {
	n.t.Helper()
	for time.Since(n.began) < patience {
		if n.healthy() {
			n.Took = time.Since(n.began)
			return
		}
		select {
		case <-n.done:
			n.t.Fatalf("granary ended before it served:\n%s", n.out)
		case <-time.After(5 * time.Millisecond):
		}
	}
	n.t.Fatalf("granary does not serve:\n%s", n.out)
}

func (n *Node) healthy() bool {
	resp, err := http.Get(n.URL + "/api/v1/health")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// PID is that of the server's process.
func (n *Node) PID() int { return n.cmd.Process.Pid }

// Output is what the server printed so far.
func (n *Node) Output() string { return n.out.String() }

// Kill ends the process at once, as a crash does.
func (n *Node) Kill() {
	n.cmd.Process.Kill() //nolint:errcheck // it may have ended
	<-n.done
}

// Stop asks the server to end and waits.
func (n *Node) Stop() {
	n.t.Helper()
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		n.t.Fatal(err)
	}
	select {
	case <-n.done:
	case <-time.After(patience):
		n.t.Fatalf("granary does not stop:\n%s", n.out)
	}
}

// ExitCode is that of the process once it has ended, -1 after a signal.
func (n *Node) ExitCode() int {
	<-n.done
	return n.cmd.ProcessState.ExitCode()
}

// Restart starts the process again on the same data and port.
func (n *Node) Restart() {
	n.t.Helper()
	n.start()
}

// Do sends a request as admin and returns the answer with its body read.
func (n *Node) Do(method, path string, body io.Reader, header ...string) (*http.Response, []byte) {
	n.t.Helper()
	resp, b, err := n.Try(n.t.Context(), method, path, body, header...)
	if err != nil {
		n.t.Fatal(err)
	}
	return resp, b
}

// Try is Do for requests that may fail.
func (n *Node) Try(ctx context.Context, method, path string, body io.Reader, header ...string) (*http.Response, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, n.URL+path, body)
	if err != nil {
		return nil, nil, err
	}
	req.SetBasicAuth("admin", Password)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp, b, err
}

// Want is Do that fails the test unless the status is the wanted one.
func (n *Node) Want(status int, method, path string, body io.Reader, header ...string) []byte {
	n.t.Helper()
	resp, b := n.Do(method, path, body, header...)
	if resp.StatusCode != status {
		n.t.Fatalf("%s %s answered %s, want %d:\n%.2000s", method, path, resp.Status, status, b)
	}
	return b
}

// Create makes a repository from its JSON.
func (n *Node) Create(repository string) {
	n.t.Helper()
	n.Want(http.StatusCreated, http.MethodPost, "/api/v1/repositories", strings.NewReader(repository), "Content-Type", "application/json")
}

// RSS is the resident memory of the process in bytes.
func (n *Node) RSS() int64 {
	n.t.Helper()
	return procField(n.t, n.PID(), "VmRSS:")
}

// PeakRSS is the largest that RSS ever was.
func (n *Node) PeakRSS() int64 {
	n.t.Helper()
	return procField(n.t, n.PID(), "VmHWM:")
}

func procField(t testing.TB, pid int, field string) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, field); ok {
			var kib int64
			if _, err := fmt.Sscan(rest, &kib); err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatalf("/proc/%d/status has no %s", pid, field)
	return 0
}

// output collects what a process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
