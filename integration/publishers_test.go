package integration_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"granary/integration/component"
	"granary/integration/node"
)

// TestTrustedPublishers publishes as a build job does that has no secret, with
// the ID token that the build server gives it.
func TestTrustedPublishers(t *testing.T) {
	if _, err := exec.LookPath("node"); err != nil {
		need(t, "node")
	}
	python, modules := component.Clients(t, "python"), component.Clients(t, "npm")
	n := node.Start(t, node.Options{})
	i := startIssuer(t)
	if _, b := n.Do("GET", "/_/oidc/audience", nil); !bytes.Contains(b, []byte("no build server is trusted")) {
		t.Errorf("without settings: %s", b)
	}
	n.Create(`{"name":"py","repo_type":"hosted","format":"pypi"}`)
	n.Create(`{"name":"js","repo_type":"hosted","format":"npm"}`)
	n.Want(201, "POST", "/api/v1/roles", strings.NewReader(
		`{"name":"publisher","capabilities":[{"capability":"read","repo":"*"},{"capability":"write","repo":"*"}]}`), "Content-Type", jsonType)
	n.Want(201, "POST", "/api/v1/users", strings.NewReader(`{"username":"robot","kind":"service","roles":["publisher"]}`), "Content-Type", jsonType)
	rule := `{"issuer":"` + i.URL + `","audience":"%s","claims":{"repository":"acme/*"},"username":"robot","expires_secs":900}`
	n.Want(200, "PUT", oidcSettings, strings.NewReader(
		`{"workloads":[`+fmt.Sprintf(rule, "granary")+`,`+fmt.Sprintf(rule, "npm:127.0.0.1")+`]}`), "Content-Type", jsonType)

	// The build server gives jobs their ID tokens.
	repository := "acme/app"
	jobs := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.set(func() {
			now := time.Now()
			i.answer(w, http.StatusOK, map[string]string{"value": i.sign(jwt.MapClaims{
				"iss": i.URL, "aud": r.URL.Query().Get("audience"), "sub": "repo:" + repository, "repository": repository,
				"iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(), "jti": fmt.Sprint(now.UnixNano()),
			})})
		})
	}))
	defer jobs.Close()

	dir := t.TempDir()
	publish := func(program string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "HOME="+dir, "GITHUB_ACTIONS=true", "CI=true", "ACTIONS_ID_TOKEN_REQUEST_URL="+jobs.URL+"/?v=1", "ACTIONS_ID_TOKEN_REQUEST_TOKEN=x",
			"UV_INSECURE_HOST=127.0.0.1", "UV_NO_CONFIG=1", "NO_COLOR=1", "TERM=dumb",
			"npm_config_registry="+n.URL+"/repository/js/", "npm_config_update_notifier=false", "npm_config_loglevel=verbose", "npm_config_provenance=false")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	wheel := func(version string) string {
		b, err := wheelOf("trusted", version, version)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Join(dir, "trusted-"+version+"-py3-none-any.whl")
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	uv := filepath.Join(python, "bin", "uv")
	npm := filepath.Join(modules, "node_modules", ".bin", "npm")
	upload := n.TLS + "/repository/py/"
	if out, err := publish(uv, "publish", "--trusted-publishing", "always", "--publish-url", upload, wheel("1.0")); err != nil {
		t.Errorf("uv: %v\n%s", err, out)
	}
	n.Want(200, "GET", "/repository/py/packages/trusted/1.0/trusted-1.0-py3-none-any.whl", nil)
	if err := os.WriteFile(filepath.Join(dir, "package.json"), []byte(`{"name":"@acme/trusted","version":"1.0.0"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := publish(npm, "publish", "--access", "public"); err != nil {
		t.Errorf("npm: %v\n%s", err, out)
	}
	n.Want(200, "GET", "/repository/js/@acme/trusted/1.0.0", nil)

	i.set(func() { repository = "evil/app" })
	if out, err := publish(uv, "publish", "--trusted-publishing", "always", "--publish-url", upload, wheel("2.0")); err == nil || !strings.Contains(out, "no rule fits") {
		t.Errorf("a job of another repository: %v\n%s", err, out)
	}
	n.Want(404, "GET", "/repository/py/packages/trusted/2.0/trusted-2.0-py3-none-any.whl", nil)
}
