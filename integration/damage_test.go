package integration_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"granary/integration/component"
	"granary/integration/node"
)

// damage changes the file of a content in a node's store.
func damage(t *testing.T, n *node.Node, content []byte, change func(path string) error) {
	t.Helper()
	found := false
	err := filepath.WalkDir(filepath.Join(n.Data, "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || found {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(b, content) {
			return err
		}
		found = true
		if err := os.Chmod(path, 0o600); err != nil {
			return err
		}
		return change(path)
	})
	if err != nil || !found {
		t.Fatalf("nothing was damaged: %v", err)
	}
}

// flip changes one bit of a file, cut leaves its beginning.
func flip(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[len(b)/2] ^= 1
	return os.WriteFile(path, b, 0o600)
}

func cut(path string) error { return os.Truncate(path, 10_000) }

// image is one of one layer, of which it knows the bytes.
type image struct {
	name            string
	layer, manifest []byte
}

func nameOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (i image) blob() string { return "/v2/" + i.name + "/blobs/" + nameOf(i.layer) }

func (i image) push(t *testing.T, n *node.Node) {
	t.Helper()
	pushBlob(t, n, i.name, []byte("{}"))
	pushBlob(t, n, i.name, i.layer)
	n.Want(http.StatusCreated, http.MethodPut, "/v2/"+i.name+"/manifests/v1", bytes.NewReader(i.manifest), "Content-Type", "application/vnd.oci.image.manifest.v1+json")
}

func newImage(name string) image {
	i := image{name: "images/" + name, layer: randomBytes(200_000)}
	// So long that it is a blob itself.
	i.manifest = fmt.Appendf(nil, `{"schemaVersion":2,"config":{"mediaType":"application/vnd.example.config","digest":%q,"size":2},"layers":[{"mediaType":"application/vnd.example.layer","digest":%q,"size":%d}],"annotations":{"x":%q}}`,
		nameOf([]byte("{}")), nameOf(i.layer), len(i.layer), hex.EncodeToString(randomBytes(20_000)))
	return i
}

// notThere waits until it is known that something is lost: who has read it says
// so to all nodes.
func notThere(t *testing.T, n *node.Node, path string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		resp, _ := n.Do(http.MethodHead, path, nil)
		if resp.StatusCode == http.StatusNotFound {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("HEAD %s still answers %s", path, resp.Status)
		}
	}
}

// registryClient pulls an image into a directory and pushes one from there.
type registryClient struct {
	name       string
	pull, push func(image, dir string) (string, error)
	again      string // the tag of the push that brings lost bytes back
}

// registryClients are those that keep images as they are; n is who they talk to.
func registryClients(t *testing.T, n *node.Node) []registryClient {
	t.Helper()
	if _, err := exec.LookPath("skopeo"); err != nil {
		need(t, "skopeo")
	}
	host, home, crane := strings.TrimPrefix(n.URL, "http://"), t.TempDir(), component.Crane(t)
	run := func(program string, args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), program, args...)
		cmd.Env = append(os.Environ(), "HOME="+home, "DOCKER_CONFIG="+home)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	if out, err := run(crane, "auth", "login", host, "-u", "admin", "-p", node.Password); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return []registryClient{
		{
			name: "skopeo",
			pull: func(image, dir string) (string, error) {
				return run("skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", "--src-creds", "admin:"+node.Password, "docker://"+host+"/"+image, "dir:"+dir)
			},
			push: func(image, dir string) (string, error) {
				return run("skopeo", "--insecure-policy", "copy", "--dest-tls-verify=false", "--dest-creds", "admin:"+node.Password, "dir:"+dir, "docker://"+host+"/"+image)
			},
			again: "v1",
		},
		{
			name: "crane",
			pull: func(image, dir string) (string, error) {
				return run(crane, "pull", "--format", "oci", host+"/"+image, dir)
			},
			push:  func(image, dir string) (string, error) { return run(crane, "push", dir, host+"/"+image) },
			again: "v2", // it sends nothing if the tag has the manifest
		},
	}
}

// Layers and manifests whose bytes are gone or changed on the disk are an error
// to clients, are known after an audit, and come back by the next push, for which
// clients ask first what is there.
func TestDamagedImages(t *testing.T) {
	n := node.Start(t, node.Options{})
	n.Create(`{"name":"images","repo_type":"hosted","format":"docker"}`)
	n.Create(`{"name":"all","repo_type":"proxy","format":"docker","members":["images"]}`)
	for _, client := range registryClients(t, n) {
		for _, c := range []struct {
			name     string
			change   func(string) error
			manifest bool
		}{
			{"gone", os.Remove, false}, {"cut", cut, false}, {"changed", flip, false}, {"manifest", flip, true},
		} {
			t.Run(client.name+" "+c.name, func(t *testing.T) { damaged(t, n, client, client.name+"-"+c.name, c.change, c.manifest) })
		}
	}
}

// damaged is the way of one image with one client.
func damaged(t *testing.T, n *node.Node, client registryClient, name string, change func(string) error, manifest bool) {
	t.Helper()
	i := newImage(name)
	i.push(t, n)
	good := filepath.Join(t.TempDir(), "good")
	if out, err := client.pull(i.name+":v1", good); err != nil {
		t.Fatalf("before: %v\n%s", err, out)
	}
	path, bad := i.blob(), i.layer
	if manifest {
		path, bad = "/v2/"+i.name+"/manifests/v1", i.manifest
	}
	damage(t, n, bad, change)
	if out, err := client.pull("all/"+name+":v1", filepath.Join(t.TempDir(), "bad")); err == nil {
		t.Errorf("it is pulled as if nothing were wrong:\n%s", out)
	}
	if got := startCheck(t, n, `{}`).until(t, n); len(got.Result.Findings) == 0 {
		t.Errorf("the audit finds nothing wrong: %+v", got)
	}
	notThere(t, n, path) // the audit is enough
	resp, body := n.Do(http.MethodGet, path, nil)
	var said struct {
		Errors []struct{ Code, Message string }
	}
	if err := json.Unmarshal(body, &said); resp.StatusCode != http.StatusInternalServerError || err != nil || len(said.Errors) != 1 || !strings.Contains(said.Errors[0].Message, "missing or damaged") {
		t.Errorf("after the audit: %s\n%.300s", resp.Status, body)
	}
	if out, err := client.push(i.name+":"+client.again, good); err != nil {
		t.Errorf("push again: %v\n%s", err, out)
	}
	if out, err := client.pull("all/"+name+":v1", filepath.Join(t.TempDir(), "again")); err != nil {
		t.Errorf("after the next push: %v\n%s", err, out)
	}
	if got := n.Want(http.StatusOK, http.MethodGet, path, nil); !bytes.Equal(got, bad) {
		t.Error("it came back with other bytes")
	}
}

// A reader who finds a layer gone is enough for the next push to bring it.
func TestLostLayerIsPushedAgain(t *testing.T) {
	n := node.Start(t, node.Options{})
	n.Create(`{"name":"images","repo_type":"hosted","format":"docker"}`)
	i := newImage("app")
	i.push(t, n)
	damage(t, n, i.layer, os.Remove)
	if resp, body := n.Do(http.MethodGet, i.blob(), nil); resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("%s\n%.300s", resp.Status, body)
	}
	notThere(t, n, i.blob())
	i.push(t, n)
	if got := n.Want(http.StatusOK, http.MethodGet, i.blob(), nil); !bytes.Equal(got, i.layer) {
		t.Error("it came back with other bytes")
	}
	n.Want(http.StatusOK, http.MethodHead, i.blob(), nil)
}
