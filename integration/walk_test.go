// Package integration_test drives the real server with real clients.
package integration_test

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"granary/integration/component"
	"granary/integration/node"
)

func TestMain(m *testing.M) {
	code := component.Run(m)
	node.Clean()
	os.Exit(code)
}

// The same scripts run against one embedded node and against two nodes on a
// DynamoDB table and a bucket: $A and $B are the addresses, the same one where
// there is one node only.
func TestWalkEmbedded(t *testing.T) {
	n := node.Start(t, node.Options{})
	walk(t, n, n)
}

func TestWalkTwoNodes(t *testing.T) {
	nodes := node.Cluster(t, 2)
	walk(t, nodes[0], nodes[1])
}

func walk(t *testing.T, a, b *node.Node) {
	t.Helper()
	walkIn(t, testscript.Params{Dir: "testdata/walk"}, a, b, func(*testscript.Env) {})
}

// walkIn runs scripts, with commands of their own beside those of all.
func walkIn(t *testing.T, p testscript.Params, a, b *node.Node, setup func(*testscript.Env)) {
	t.Helper()
	for _, program := range []string{"curl", "go", "git"} {
		if _, err := exec.LookPath(program); err != nil {
			need(t, program)
		}
	}
	trust := trusted(t, a, b)
	p.RequireExplicitExec = true
	p.Setup = func(e *testscript.Env) error {
		// Repositories of a script are its own: scripts share the server.
		id := strings.ToLower(rand.Text()[:8])
		e.Setenv("A", a.URL)
		e.Setenv("B", b.URL)
		// The go command sends credentials over HTTPS only.
		e.Setenv("TLSA", strings.TrimPrefix(a.TLS, "https://"))
		e.Setenv("TLSB", strings.TrimPrefix(b.TLS, "https://"))
		e.Setenv("SSL_CERT_FILE", trust)
		e.Setenv("USER", "admin:"+node.Password)
		e.Setenv("PASSWORD", node.Password)
		e.Setenv("ID", id)
		e.Setenv("GRANARY", node.Binary(t))
		e.Setenv("GOPATH", filepath.Join(e.WorkDir, "gopath"))
		e.Setenv("GOCACHE", filepath.Join(e.WorkDir, "gocache"))
		e.Setenv("GOFLAGS", "-modcacherw -mod=mod")
		e.Setenv("GOTOOLCHAIN", "local")
		e.Setenv("GONOSUMDB", "*")
		e.Setenv("RUSTUP_HOME", cmp.Or(os.Getenv("RUSTUP_HOME"), filepath.Join(os.Getenv("HOME"), ".rustup")))
		setup(e)
		return nil
	}
	commands := map[string]func(ts *testscript.TestScript, neg bool, args []string){
		"random":     random,
		"repository": repository,
		"status":     status,
		"modzip":     modzip,
		"login":      login,
		"needed":     needed,
		"eventually": eventually,
	}
	maps.Copy(commands, p.Cmds)
	p.Cmds = commands
	testscript.Run(t, p)
}

// trusted is a file with the certificates of the nodes.
func trusted(t testing.TB, nodes ...*node.Node) string {
	t.Helper()
	var all []byte
	for _, n := range nodes {
		b, err := os.ReadFile(n.CA)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b...)
	}
	path := filepath.Join(t.TempDir(), "trusted.pem")
	if err := os.WriteFile(path, all, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// need skips the test, or fails it in CI, for want of a program.
func need(t testing.TB, program string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing", program)
	}
	t.Skipf("%s is missing", program)
}

// random FILE SIZE writes bytes that were never seen before.
func random(ts *testscript.TestScript, _ bool, args []string) {
	size, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	f, err := os.Create(ts.MkAbs(args[0]))
	ts.Check(err)
	_, err = io.CopyN(f, rand.Reader, size)
	ts.Check(err)
	ts.Check(f.Close())
}

// repository JSON creates a repository on $A.
func repository(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(ts.Exec("curl", "-fsS", "-u", ts.Getenv("USER"), "-H", "Content-Type: application/json", "-d", args[0], ts.Getenv("A")+"/api/v1/repositories"))
}

// status CODE CURL-ARGUMENTS… fails unless the answer has that status. The body
// goes to the file body, the header to the file header.
func status(ts *testscript.TestScript, _ bool, args []string) {
	full := append([]string{"-sS", "-u", ts.Getenv("USER"), "-o", "body", "-D", "header", "-w", "%{http_code}"}, args[1:]...)
	if args[1] == "anonymous" {
		full = append([]string{"-sS", "-o", "body", "-D", "header", "-w", "%{http_code}"}, args[2:]...)
	}
	cmd := exec.Command("curl", full...)
	cmd.Dir = ts.MkAbs(".")
	out, err := cmd.CombinedOutput()
	ts.Check(err)
	if got := string(out); got != args[0] {
		body, _ := os.ReadFile(ts.MkAbs("body")) //nolint:errcheck // for the message only
		ts.Fatalf("status %s, want %s: curl %q\n%.1000s", got, args[0], args[1:], body)
	}
}

// eventually CODE CURL-ARGUMENTS… repeats status until the answer has that
// status: what a task does is done soon.
func eventually(ts *testscript.TestScript, _ bool, args []string) {
	const patience = 2 * time.Minute
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		cmd := exec.Command("curl", append([]string{"-sS", "-u", ts.Getenv("USER"), "-o", "/dev/null", "-w", "%{http_code}"}, args[1:]...)...)
		out, err := cmd.CombinedOutput()
		ts.Check(err)
		if string(out) == args[0] {
			break
		}
	}
	status(ts, false, args)
}

// modzip MODULE VERSION DIR makes the zip of a module's folder.
func modzip(ts *testscript.TestScript, _ bool, args []string) {
	b, err := moduleZip(args[0], args[1], ts.MkAbs(args[2]))
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(fmt.Sprintf("%s.zip", args[1])), b, 0o644))
}

// login sets $TOKEN to one of the administrator's.
func login(ts *testscript.TestScript, _ bool, _ []string) {
	body, err := json.Marshal(map[string]string{"username": "admin", "password": ts.Getenv("PASSWORD")})
	ts.Check(err)
	ts.Check(ts.Exec("curl", "-fsS", "-H", "Content-Type: application/json", "-d", string(body), ts.Getenv("A")+"/api/v1/auth/login"))
	var answer struct {
		Token string `json:"token"`
	}
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &answer))
	if answer.Token == "" {
		ts.Fatalf("the answer to a login has no token")
	}
	ts.Setenv("TOKEN", answer.Token)
}

// needed PROGRAM fails in CI, where none may be missing.
func needed(ts *testscript.TestScript, _ bool, args []string) {
	if os.Getenv("CI") == "true" {
		ts.Fatalf("%s is missing", args[0])
	}
}
