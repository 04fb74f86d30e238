package integration_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"granary/integration/component"
	"granary/integration/node"
)

// dockerOf runs docker with the daemon of some flags, logged in at the node.
func dockerOf(t *testing.T, n *node.Node, flags ...string) func(args ...string) (string, error) {
	t.Helper()
	daemon, config := component.Docker(t, flags...), t.TempDir()
	run := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), "docker", args...)
		cmd.Env = append(os.Environ(), "DOCKER_HOST="+daemon, "DOCKER_CONFIG="+config, "DOCKER_BUILDKIT=0")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run("login", strings.TrimPrefix(n.URL, "http://"), "-u", "admin", "-p", node.Password); err != nil {
		t.Fatalf("log in: %v\n%s", err, out)
	}
	return run
}

// A Docker daemon that pulls a layer whose bytes are lost or wrong on the disk
// hears so, and another one that has the image brings it back by pushing it.
func TestDamagedImagesDocker(t *testing.T) {
	if _, err := exec.LookPath("docker"); err != nil {
		need(t, "docker")
	}
	n := node.Start(t, node.Options{})
	n.Create(`{"name":"images","repo_type":"hosted","format":"docker"}`)
	has, pulls := dockerOf(t, n), dockerOf(t, n, "--max-download-attempts", "1")
	must := func(docker func(...string) (string, error), args ...string) {
		t.Helper()
		if out, err := docker(args...); err != nil {
			t.Fatalf("docker %q: %v\n%s", args, err, out)
		}
	}
	for _, c := range []struct {
		name   string
		change func(string) error
	}{
		{"gone", os.Remove}, {"cut", cut}, {"changed", flip},
	} {
		dir, image := t.TempDir(), strings.TrimPrefix(n.URL, "http://")+"/images/"+c.name+":v1"
		if err := os.WriteFile(filepath.Join(dir, "layer"), randomBytes(200_000), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte("FROM scratch\nCOPY layer /layer\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		must(has, "build", "-q", "-t", image, dir)
		must(has, "push", image)
		var m struct{ Layers []struct{ Digest string } }
		if err := json.Unmarshal(n.Want(http.StatusOK, http.MethodGet, "/v2/images/"+c.name+"/manifests/v1", nil), &m); err != nil || len(m.Layers) != 1 {
			t.Fatalf("%+v, %v", m, err)
		}
		path := "/v2/images/" + c.name + "/blobs/" + m.Layers[0].Digest
		layer := n.Want(http.StatusOK, http.MethodGet, path, nil)
		damage(t, n, layer, c.change)
		if out, err := pulls("pull", image); err == nil {
			t.Errorf("%s is pulled as if nothing were wrong:\n%s", c.name, out)
		}
		if got := startCheck(t, n, `{}`).until(t, n); len(got.Result.Findings) == 0 {
			t.Errorf("the audit finds nothing wrong with %s: %+v", c.name, got)
		}
		notThere(t, n, path)
		must(has, "push", image)
		must(pulls, "pull", image)
		if got := n.Want(http.StatusOK, http.MethodGet, path, nil); !bytes.Equal(got, layer) {
			t.Errorf("%s came back with other bytes", c.name)
		}
	}
}
