package main

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	freeport "granary/integration/port"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"granary": main})
}

// TestScripts runs the command line as people do. Each script has an address of
// its own in $ADDR, at which nothing listens until it starts a server there.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			p, err := freeport.Free()
			address := fmt.Sprintf("127.0.0.1:%d", p)
			e.Setenv("ADDR", address)
			e.Setenv("URL", "http://"+address)
			e.Setenv("GRANARY_ADMIN_PASSWORD", "a-password-for-tests")
			return err
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"answers":   answers,
			"serving":   serving,
			"terminate": terminate,
		},
	})
}

// serving waits until the server at $ADDR answers.
func serving(ts *testscript.TestScript, _ bool, _ []string) {
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		resp, err := http.Get(ts.Getenv("URL") + "/api/v1/health")
		if err == nil {
			ts.Check(resp.Body.Close())
			if resp.StatusCode == http.StatusOK {
				return
			}
		}
	}
	ts.Fatalf("no server at %s", ts.Getenv("ADDR"))
}

// answers asks the server at $ADDR once, as the administrator, and compares the
// status: answers STATUS METHOD PATH.
func answers(ts *testscript.TestScript, _ bool, args []string) {
	req, err := http.NewRequest(args[1], ts.Getenv("URL")+args[2], strings.NewReader(strings.Repeat("x", 100_000)))
	ts.Check(err)
	req.SetBasicAuth("admin", ts.Getenv("GRANARY_ADMIN_PASSWORD"))
	resp, err := http.DefaultClient.Do(req)
	ts.Check(err)
	ts.Check(resp.Body.Close())
	if got := strconv.Itoa(resp.StatusCode); got != args[0] {
		ts.Fatalf("%s %s: %s, want %s", args[1], args[2], got, args[0])
	}
}

// terminate sends SIGTERM to all that runs in the background.
func terminate(ts *testscript.TestScript, _ bool, _ []string) {
	for _, c := range ts.BackgroundCmds() {
		ts.Check(c.Process.Signal(syscall.SIGTERM))
	}
}
