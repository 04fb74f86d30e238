package integration_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"granary/integration/component"
	"granary/integration/node"
)

// TestNexusClient runs the library of nexus3-cli, a client that knows nothing
// of this server, against the Nexus surface.
func TestNexusClient(t *testing.T) {
	python := component.Python(t, "nexus3-cli", "python")
	n := node.Start(t, node.Options{})
	n.Create(`{"name":"files","repo_type":"hosted","format":"raw"}`)
	n.Create(`{"name":"all","repo_type":"proxy","format":"raw","members":["files"]}`)
	source, target := t.TempDir(), filepath.Join(t.TempDir(), "got")
	for name, content := range map[string]string{"d/one.txt": "one", "two words.txt": "two"} {
		path := filepath.Join(source, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), python, "testdata/nexus.py", n.URL, node.Password, source, target+"/")
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"repositories [('all', 'raw', 'group'), ('files', 'raw', 'hosted')]", "uploaded 2", "listed ['sub/d/one.txt', 'sub/two words.txt']",
		"downloaded 2", "deleted 2", "left []",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if b, err := os.ReadFile(filepath.Join(target, "sub", "two words.txt")); string(b) != "two" || err != nil {
		t.Errorf("downloaded %q, %v", b, err)
	}
}

// TestSchema sends what schemathesis makes of the OpenAPI document to every
// operation: no status of 500 or more, and none that is not described. The
// event stream never ends, and passwords that are changed would end the test.
func TestSchema(t *testing.T) {
	program := component.Python(t, "schemathesis", "schemathesis")
	n := node.Start(t, node.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "run", n.URL+"/api-docs/openapi.json", "--url", n.URL, "--auth", "admin:"+node.Password,
		"--exclude-path", "/api/v1/events/stream", "--exclude-path", "/api/v1/auth/change-password",
		"--checks", "not_a_server_error,status_code_conformance", "--phases", "examples,coverage,fuzzing",
		"--max-examples", "2", "--request-timeout", "30", "--seed", "1", "--no-color")
	cmd.Dir = t.TempDir() // it keeps what failed
	out, err := cmd.CombinedOutput()
	text := string(out)
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, text[max(0, len(text)-8000):], n.Output())
	}
	if !strings.Contains(text, "No issues found") && !strings.Contains(text, " passed") {
		t.Errorf("schemathesis did not say what it did:\n%s", text)
	}
}
