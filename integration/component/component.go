// Package component starts the external servers that tests run against: each
// on a free port of 127.0.0.1, ready when the call returns, and stopped by its
// process id when the tests are over.
//
// The servers are installed by integration/install.sh. A missing one skips the
// test with the command that installs it, and fails it where CI=true.
//
// A server is shared by the tests of a binary whose TestMain is
//
//	func TestMain(m *testing.M) { os.Exit(component.Run(m)) }
//
// and otherwise belongs to the test that asked for it.
package component

import (
	_ "embed"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// versions is what install.sh sources.
//
//go:embed versions.env
var versions string

// version returns the pinned version called name in versions.env.
func version(name string) (string, error) {
	for line := range strings.Lines(versions) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), name+"="); ok && v != "" {
			return v, nil
		}
	}
	return "", fmt.Errorf("versions.env has no %s", name)
}

// root is the directory that install.sh installs to.
func root() (string, error) {
	if dir := os.Getenv("GRANARY_COMPONENTS"); dir != "" {
		return dir, nil
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("set HOME or GRANARY_COMPONENTS: %w", err)
	}
	return filepath.Join(home, ".cache", "granary", "components"), nil
}

// installed returns the directory of an install stage once it holds the file
// need, a slash-separated path; else it ends the test.
func installed(t testing.TB, stage, need string) string {
	t.Helper()
	v, err := version(strings.ToUpper(strings.ReplaceAll(stage, "-", "_")))
	if err != nil {
		t.Fatal(err)
	}
	r, err := root()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(r, stage+"-"+v)
	if _, err := os.Stat(filepath.Join(dir, filepath.FromSlash(need))); err != nil {
		missing(t, "%s %s is not installed: run integration/install.sh %s (%v)", stage, v, stage, err)
	}
	return dir
}

// missing skips the test, or fails it where everything must be there.
func missing(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// Clients returns the directory of the clients of an ecosystem, "python" or
// "npm", that install.sh has installed.
func Clients(t testing.TB, ecosystem string) string {
	t.Helper()
	need := map[string]string{"python": "bin/uv", "npm": "node_modules/npm/bin/npm-cli.js"}
	return installed(t, ecosystem+"-clients", need[ecosystem])
}
