package integration_test

import (
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"granary/integration/node"
)

// Clients that know of user names and passwords alone get in with an API token
// as the password of any name, those that can send a header with it as Bearer,
// and nobody with another.
func TestTokensOfClients(t *testing.T) {
	for _, program := range []string{"wget", "go"} {
		if _, err := exec.LookPath(program); err != nil {
			need(t, program)
		}
	}
	n := node.Start(t, node.Options{})
	n.Create(`{"name":"files","repo_type":"hosted","format":"raw"}`)
	n.Create(`{"name":"modules","repo_type":"hosted","format":"golang"}`)
	n.Want(http.StatusCreated, http.MethodPut, "/repository/files/a", strings.NewReader("content"))
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module corp.example/lib\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	zip, err := moduleZip("corp.example/lib", "v1.0.0", dir)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "lib.zip")
	if err := os.WriteFile(file, zip, 0o600); err != nil {
		t.Fatal(err)
	}
	body, contentType := form(t, "zip", file, "module", "corp.example/lib", "version", "v1.0.0")
	n.Want(http.StatusOK, http.MethodPost, "/repository/modules/upload", body, "Content-Type", contentType)
	var answer struct{ Token string }
	if err := json.Unmarshal(n.Want(http.StatusCreated, http.MethodPost, "/api/v1/tokens", strings.NewReader(`{"name":"ci"}`), "Content-Type", "application/json"), &answer); err != nil {
		t.Fatal(err)
	}

	for _, c := range []struct {
		name, token string
		good        bool
	}{{"the token", answer.Token, true}, {"another", answer.Token[:len(answer.Token)-2] + "xx", false}} {
		for _, args := range [][]string{
			{"--header", "Authorization: Bearer " + c.token},
			{"--user", "anybody", "--password", c.token},
		} {
			out, err := exec.Command("wget", append(args, "-q", "-O", "-", n.URL+"/repository/files/a")...).Output()
			if (err == nil && string(out) == "content") != c.good {
				t.Errorf("wget with %s, %s: %q, %v", c.name, args[0], out, err)
			}
		}
		cmd := exec.Command("go", "mod", "download", "-json", "corp.example/lib@v1.0.0")
		cmd.Dir = t.TempDir()
		cmd.Env = append(os.Environ(), "GOPROXY="+strings.Replace(n.TLS, "://", "://anybody:"+c.token+"@", 1)+"/repository/modules",
			"SSL_CERT_FILE="+n.CA, "GONOSUMDB=*", "GONOSUMCHECK=1", "GOFLAGS=-modcacherw", "GOMODCACHE="+t.TempDir(), "GOTOOLCHAIN=local")
		out, err := cmd.CombinedOutput()
		if (err == nil && strings.Contains(string(out), `"Zip"`)) != c.good {
			t.Errorf("go with %s: %v\n%s", c.name, err, out)
		}
	}
}
