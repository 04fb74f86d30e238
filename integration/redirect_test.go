package integration_test

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"granary/integration/node"
)

// pushBlob puts content where blobs of an image are, and returns its path.
func pushBlob(t *testing.T, n *node.Node, image string, content []byte) string {
	t.Helper()
	sum := sha256.Sum256(content)
	name := "sha256:" + hex.EncodeToString(sum[:])
	n.Want(http.StatusCreated, http.MethodPost, "/v2/"+image+"/blobs/uploads/?digest="+name, bytes.NewReader(content))
	return "/v2/" + image + "/blobs/" + name
}

// once sends a request as admin and does not follow where it is told to go.
func once(t *testing.T, method, address string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("admin", node.Password)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, b
}

// fetch asks without credentials of ours.
func fetch(t *testing.T, address string) (int, []byte) {
	t.Helper()
	resp, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, b
}

// Where a repository says so the bucket itself answers for a blob, for a while,
// to whoever has the URL. Nothing else is answered so.
func TestPresignedRedirect(t *testing.T) {
	n := node.Cluster(t, 1)[0]
	n.Create(`{"name":"images","repo_type":"hosted","format":"docker","presigned_redirects":true}`)
	n.Create(`{"name":"plain","repo_type":"hosted","format":"docker"}`)
	// A URL is good for a fifth of what the collector waits.
	n.Want(http.StatusOK, http.MethodPut, "/api/v1/settings", strings.NewReader(`{"gc_grace_secs":25}`), "Content-Type", "application/json")
	content := make([]byte, 300_000)
	rand.Read(content) //nolint:errcheck // never fails
	path := pushBlob(t, n, "images/app", content)

	resp, body := once(t, http.MethodGet, n.URL+path)
	if resp.StatusCode != http.StatusTemporaryRedirect || len(body) != 0 {
		t.Fatalf("GET answered %s with %d bytes", resp.Status, len(body))
	}
	to := resp.Header.Get("Location")
	if u, err := url.Parse(to); err != nil || u.Query().Get("X-Amz-Expires") != "5" {
		t.Fatalf("it leads to %s (%v)", to, err)
	}
	began := time.Now()
	status, got := fetch(t, to)
	if time.Since(began) > 4*time.Second {
		t.Log("the machine is too slow to say what the URL is good for in time")
	} else if status != http.StatusOK || !bytes.Equal(got, content) {
		t.Errorf("the URL answers %d with %d bytes, want %d", status, len(got), len(content))
	}
	if status, _ := fetch(t, strings.Replace(to, "X-Amz-Expires=5", "X-Amz-Expires=5000", 1)); status != http.StatusForbidden {
		t.Errorf("a URL with a longer time answers %d", status)
	}
	if resp, _ := once(t, http.MethodHead, n.URL+path); resp.StatusCode != http.StatusOK || resp.ContentLength != int64(len(content)) {
		t.Errorf("HEAD answers %s, %d bytes", resp.Status, resp.ContentLength)
	}
	// The client of the test follows, without the credentials, to the end.
	if got := n.Want(http.StatusOK, http.MethodGet, path, nil); !bytes.Equal(got, content) {
		t.Errorf("%d bytes at the end of the redirect", len(got))
	}
	if resp, _ := once(t, http.MethodGet, n.URL+pushBlob(t, n, "plain/app", content)); resp.StatusCode != http.StatusOK {
		t.Errorf("a repository without the option answers %s", resp.Status)
	}
	// What lies in its record is sent: there is nothing in the bucket.
	if resp, got := once(t, http.MethodGet, n.URL+pushBlob(t, n, "images/app", []byte("few"))); resp.StatusCode != http.StatusOK || string(got) != "few" {
		t.Errorf("a small blob: %s, %q", resp.Status, got)
	}
	for status == http.StatusOK {
		if time.Since(began) > time.Minute {
			t.Fatal("the URL is good for ever")
		}
		time.Sleep(500 * time.Millisecond)
		status, _ = fetch(t, to)
	}
	if status != http.StatusForbidden {
		t.Errorf("after its time the URL answers %d", status)
	}
}

// A store of files has no URLs of its own: the option does nothing there.
func TestRedirectFromFiles(t *testing.T) {
	n := node.Start(t, node.Options{})
	n.Create(`{"name":"images","repo_type":"hosted","format":"docker","presigned_redirects":true}`)
	content := bytes.Repeat([]byte("layer "), 50_000)
	resp, got := once(t, http.MethodGet, n.URL+pushBlob(t, n, "images/app", content))
	if resp.StatusCode != http.StatusOK || !bytes.Equal(got, content) {
		t.Errorf("%s with %d bytes", resp.Status, len(got))
	}
}

// A repository with a port of its own answers there as a registry of its own,
// and nothing else does; the port follows the configuration.
func TestPortOfARepository(t *testing.T) {
	n := node.Start(t, node.Options{})
	first, second := unused(t), unused(t)
	n.Create(fmt.Sprintf(`{"name":"images","repo_type":"hosted","format":"docker","listen":%q}`, first))
	n.Create(`{"name":"files","repo_type":"hosted","format":"raw"}`)
	content := bytes.Repeat([]byte("layer "), 5_000)
	name := strings.TrimPrefix(pushBlob(t, n, "images/team/app", content), "/v2/images")
	waitFor(t, first, true)
	resp, got := once(t, http.MethodGet, "http://"+first+"/v2"+name)
	if resp.StatusCode != http.StatusOK || !bytes.Equal(got, content) {
		t.Errorf("a blob at the port: %s, %d bytes", resp.Status, len(got))
	}
	if resp, _ := once(t, http.MethodGet, "http://"+first+"/v2/images"+name); resp.StatusCode != http.StatusNotFound {
		t.Errorf("the repository's name at its own port: %s", resp.Status)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+first+"/v2/", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err = http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close() //nolint:errcheck // only its header counts
	if got := resp.Header.Get("WWW-Authenticate"); resp.StatusCode != http.StatusUnauthorized || !strings.Contains(got, `realm="http://`+first+`/v2/token"`) {
		t.Errorf("nobody at the port: %s, %s", resp.Status, got)
	}

	n.Want(http.StatusOK, http.MethodPut, "/api/v1/repositories/images", strings.NewReader(fmt.Sprintf(`{"listen":%q}`, second)), "Content-Type", "application/json")
	waitFor(t, second, true)
	waitFor(t, first, false)
	if resp, _ := once(t, http.MethodHead, "http://"+second+"/v2"+name); resp.StatusCode != http.StatusOK {
		t.Errorf("a blob at the new port: %s", resp.Status)
	}
	n.Want(http.StatusNoContent, http.MethodDelete, "/api/v1/repositories/images", nil)
	waitFor(t, second, false)
}

// unused is an address that nobody listens on.
func unused(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", freeTCPPort(t))
}

// waitFor waits until somebody listens on an address, or nobody does.
func waitFor(t *testing.T, address string, open bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close() //nolint:errcheck // it was only to see
		}
		if (err == nil) == open {
			return
		}
	}
	t.Fatalf("%s: still open is %v", address, !open)
}
