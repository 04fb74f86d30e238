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
	crane := component.Crane(t)
	if _, err := exec.LookPath("skopeo"); err != nil {
		need(t, "skopeo")
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/registry",
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
			e.Setenv("PATH", filepath.Dir(crane)+string(os.PathListSeparator)+e.Getenv("PATH"))
			e.Setenv("ID", strings.ToLower(rand.Text()[:8]))
			return nil
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
