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

// Layers and manifests whose bytes are gone or changed on the disk are an error
// to clients, are known after an audit, and come back by the next push, for which
// clients ask first what is there.
func TestDamagedImages(t *testing.T) {
	if _, err := exec.LookPath("skopeo"); err != nil {
		need(t, "skopeo")
	}
	n := node.Start(t, node.Options{})
	n.Create(`{"name":"images","repo_type":"hosted","format":"docker"}`)
	n.Create(`{"name":"all","repo_type":"proxy","format":"docker","members":["images"]}`)
	host := strings.TrimPrefix(n.URL, "http://")
	skopeo := func(args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), "skopeo", append([]string{"--insecure-policy"}, args...)...).CombinedOutput()
		return string(out), err
	}
	pull := func(name string) (string, error) {
		return skopeo("copy", "--src-tls-verify=false", "--src-creds", "admin:"+node.Password, "docker://"+host+"/"+name+":v1", "dir:"+t.TempDir())
	}
	for _, c := range []struct {
		name     string
		change   func(string) error
		manifest bool
	}{
		{"gone", os.Remove, false}, {"cut", cut, false}, {"changed", flip, false}, {"manifest", flip, true},
	} {
		i := newImage(c.name)
		i.push(t, n)
		good := t.TempDir()
		if out, err := skopeo("copy", "--src-tls-verify=false", "--src-creds", "admin:"+node.Password, "docker://"+host+"/"+i.name+":v1", "dir:"+good); err != nil {
			t.Fatalf("%s before: %v\n%s", c.name, err, out)
		}
		path, bad := i.blob(), i.layer
		if c.manifest {
			path, bad = "/v2/"+i.name+"/manifests/v1", i.manifest
		}
		damage(t, n, bad, c.change)
		if out, err := pull("all/" + c.name); err == nil {
			t.Errorf("%s is pulled as if nothing were wrong:\n%s", c.name, out)
		}
		if got := startCheck(t, n, `{}`).until(t, n); len(got.Result.Findings) == 0 {
			t.Errorf("the audit finds nothing wrong with %s: %+v", c.name, got)
		}
		resp, body := n.Do(http.MethodGet, path, nil)
		var said struct {
			Errors []struct{ Code, Message string }
		}
		if err := json.Unmarshal(body, &said); resp.StatusCode != http.StatusInternalServerError || err != nil || len(said.Errors) != 1 || !strings.Contains(said.Errors[0].Message, "missing or damaged") {
			t.Errorf("%s after the audit: %s\n%.300s", c.name, resp.Status, body)
		}
		notThere(t, n, path)
		if out, err := skopeo("copy", "--dest-tls-verify=false", "--dest-creds", "admin:"+node.Password, "dir:"+good, "docker://"+host+"/"+i.name+":v1"); err != nil {
			t.Errorf("push %s again: %v\n%s", c.name, err, out)
		}
		if out, err := pull("all/" + c.name); err != nil {
			t.Errorf("%s after the next push: %v\n%s", c.name, err, out)
		}
		if got := n.Want(http.StatusOK, http.MethodGet, path, nil); !bytes.Equal(got, bad) {
			t.Errorf("%s came back with other bytes", c.name)
		}
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
