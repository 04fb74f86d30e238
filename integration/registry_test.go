package integration_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"granary/integration/component"
	"granary/integration/node"
)

// The same scripts run against one embedded node and against two nodes, with
// the clients of registries.
func TestRegistryEmbedded(t *testing.T) {
	n := node.Start(t, node.Options{})
	registryWalk(t, n, n)
}

func TestRegistryTwoNodes(t *testing.T) {
	nodes := node.Cluster(t, 2)
	registryWalk(t, nodes[0], nodes[1])
}

func registryWalk(t *testing.T, a, b *node.Node) {
	t.Helper()
	for _, program := range []string{"skopeo", "buildah", "podman"} {
		if _, err := exec.LookPath(program); err != nil {
			need(t, program)
		}
	}
	registryScripts(t, "testdata/registry", a, b, func(*testscript.Env) {})
}

// A real Docker daemon, which needs root, and pulls from one node what it has
// pushed to another.
func TestDockerDaemon(t *testing.T) {
	if _, err := exec.LookPath("docker"); err != nil {
		need(t, "docker")
	}
	daemon := component.Docker(t)
	nodes := node.Cluster(t, 2)
	registryScripts(t, "testdata/docker", nodes[0], nodes[1], func(e *testscript.Env) {
		e.Setenv("DOCKER_HOST", daemon)
		e.Setenv("DOCKER_CONFIG", filepath.Join(e.WorkDir, ".docker"))
		e.Setenv("DOCKER_BUILDKIT", "0") // the daemon's own builder: no other program
	})
}

// A Docker daemon and containerd as they are set up to ask a mirror for what
// another registry has.
func TestMirrors(t *testing.T) {
	for _, program := range []string{"docker", "ctr"} {
		if _, err := exec.LookPath(program); err != nil {
			need(t, program)
		}
	}
	n := node.Start(t, node.Options{})
	daemon, socket := component.Docker(t, "--registry-mirror", n.URL), component.Containerd(t)
	registryScripts(t, "testdata/mirrors", n, n, func(e *testscript.Env) {
		e.Setenv("DOCKER_HOST", daemon)
		e.Setenv("DOCKER_CONFIG", filepath.Join(e.WorkDir, ".docker"))
		e.Setenv("DOCKER_BUILDKIT", "0")
		e.Setenv("CONTAINERD_ADDRESS", socket)
	})
}

func registryScripts(t *testing.T, dir string, a, b *node.Node, setup func(*testscript.Env)) {
	t.Helper()
	path := os.Getenv("PATH")
	for _, program := range []string{component.Crane(t), component.Regctl(t), component.Cosign(t), filepath.Join(component.Helm(t), "helm")} {
		path = filepath.Dir(program) + string(os.PathListSeparator) + path
	}
	testscript.Run(t, testscript.Params{
		Dir:                 dir,
		RequireExplicitExec: true,
		Setup: func(e *testscript.Env) error {
			up := node.Start(t, node.Options{})
			e.Values["upstream"] = up
			e.Setenv("A", a.URL)
			e.Setenv("B", b.URL)
			e.Setenv("HOSTA", strings.TrimPrefix(a.URL, "http://"))
			e.Setenv("HOSTB", strings.TrimPrefix(b.URL, "http://"))
			e.Setenv("UPSTREAM", strings.TrimPrefix(up.URL, "http://"))
			e.Setenv("USER", "admin:"+node.Password)
			e.Setenv("PASSWORD", node.Password)
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("PATH", path)
			e.Setenv("ID", strings.ToLower(rand.Text()[:8]))
			setup(e)
			return storage(e)
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"random":     random,
			"repository": repository,
			"status":     status,
			// upstream-repository JSON creates a repository on $UPSTREAM.
			"upstream-repository": func(ts *testscript.TestScript, _ bool, args []string) {
				ts.Check(ts.Exec("curl", "-fsS", "-u", ts.Getenv("USER"), "-H", "Content-Type: application/json", "-d", args[0],
					"http://"+ts.Getenv("UPSTREAM")+"/api/v1/repositories"))
			},
			"kill-upstream": func(ts *testscript.TestScript, _ bool, _ []string) { ts.Value("upstream").(*node.Node).Kill() },
		},
	})
}

// storage gives buildah and podman a place of their own, of plain files.
func storage(e *testscript.Env) error {
	at := filepath.Join(e.WorkDir, "storage")
	conf := fmt.Sprintf("[storage]\ndriver = \"vfs\"\ngraphroot = %q\nrunroot = %q\n", filepath.Join(at, "graph"), filepath.Join(at, "run"))
	path := filepath.Join(e.WorkDir, "storage.conf")
	e.Setenv("CONTAINERS_STORAGE_CONF", path)
	e.Setenv("REGISTRY_AUTH_FILE", filepath.Join(e.WorkDir, "containers-auth.json"))
	return os.WriteFile(path, []byte(conf), 0o600)
}

// An upload begun on one node goes on at another, and ends there when the first
// is dead.
func TestUploadOutlivesItsNode(t *testing.T) {
	nodes := node.Cluster(t, 2)
	a, b := nodes[0], nodes[1]
	a.Create(`{"name":"images","repo_type":"hosted","format":"docker"}`)
	const part = 6 << 20
	content := make([]byte, 3*part+1000)
	rand.Read(content) //nolint:errcheck // never fails
	resp, _ := a.Do(http.MethodPost, "/v2/images/app/blobs/uploads/", nil)
	at := resp.Header.Get("Location")
	if resp.StatusCode != http.StatusAccepted || at == "" {
		t.Fatalf("begin: %s", resp.Status)
	}
	for i, n := range []*node.Node{a, b, a} {
		body := content[i*part : (i+1)*part]
		n.Want(http.StatusAccepted, http.MethodPatch, at, bytes.NewReader(body), "Content-Range", fmt.Sprintf("%d-%d", i*part, (i+1)*part-1))
	}
	a.Kill()
	// A chunk again whose answer may have been lost is told where to go on.
	resp, _ = b.Do(http.MethodPatch, at, bytes.NewReader(content[:part]), "Content-Range", fmt.Sprintf("0-%d", part-1))
	if resp.StatusCode != http.StatusRequestedRangeNotSatisfiable || resp.Header.Get("Range") != fmt.Sprintf("0-%d", 3*part-1) {
		t.Errorf("an old chunk: %s, range %q", resp.Status, resp.Header.Get("Range"))
	}
	sum := sha256.Sum256(content)
	name := "sha256:" + hex.EncodeToString(sum[:])
	for range 2 { // the second finisher answers from the record
		b.Want(http.StatusCreated, http.MethodPut, at+"?digest="+name, bytes.NewReader(content[3*part:]))
		content = content[:3*part] // nothing is left to send
	}
	got := b.Want(http.StatusOK, http.MethodGet, "/v2/images/app/blobs/"+name, nil)
	if sum := sha256.Sum256(got); "sha256:"+hex.EncodeToString(sum[:]) != name {
		t.Errorf("%d bytes came back wrong", len(got))
	}
}
