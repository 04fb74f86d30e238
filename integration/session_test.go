package integration_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"granary/blob/s3"
	"granary/integration/component"
	"granary/integration/node"
)

// onBucket is a new node whose repository "images" lies in a bucket.
func onBucket(t *testing.T) (*node.Node, *s3.Store) {
	t.Helper()
	bucket := component.VersityGW(t)
	n := node.Start(t, node.Options{})
	n.Want(http.StatusCreated, http.MethodPost, "/api/v1/stores", strings.NewReader(fmt.Sprintf(
		`{"name":"bucket","store_type":"s3","bucket":%q,"endpoint":%q,"region":%q,"access_key":%q,"secret_key":%q}`,
		bucket.Bucket, bucket.Endpoint, bucket.Region, bucket.AccessKey, bucket.SecretKey)), "Content-Type", "application/json")
	n.Create(`{"name":"images","repo_type":"hosted","format":"docker","store":"bucket"}`)
	s, err := s3.Open(t.Context(), s3.Config{Bucket: bucket.Bucket, Endpoint: bucket.Endpoint, Region: bucket.Region, AccessKey: bucket.AccessKey, SecretKey: bucket.SecretKey})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() }) //nolint:errcheck // of idle connections
	return n, s
}

// beginUpload sends the first chunk of an upload, long enough to be a part of
// what it becomes, and returns where to go on.
func beginUpload(t *testing.T, n *node.Node) string {
	t.Helper()
	resp, _ := n.Do(http.MethodPost, "/v2/images/app/blobs/uploads/", nil)
	at := resp.Header.Get("Location")
	const size = 6 << 20
	n.Want(http.StatusAccepted, http.MethodPatch, at, bytes.NewReader(make([]byte, size)), "Content-Range", fmt.Sprintf("0-%d", size-1))
	return at
}

// collectOnce waits for a whole round of the collector.
func collectOnce(t *testing.T, n *node.Node) {
	t.Helper()
	var task struct{ ID, Status string }
	end := time.Now().Add(3 * time.Minute)
	for task.ID == "" && time.Now().Before(end) {
		resp, body := n.Do(http.MethodPost, "/api/v1/tasks/gc", strings.NewReader(`{}`), "Content-Type", "application/json")
		if resp.StatusCode == http.StatusCreated {
			if err := json.Unmarshal(body, &task); err != nil {
				t.Fatal(err)
			}
			break
		}
		time.Sleep(200 * time.Millisecond) // one is running
	}
	for ; time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if err := json.Unmarshal(n.Want(http.StatusOK, http.MethodGet, "/api/v1/tasks/"+task.ID, nil), &task); err != nil {
			t.Fatal(err)
		}
		if task.Status == "completed" {
			return
		}
	}
	t.Fatalf("the collector does not end: %+v", task)
}

// An upload that nobody goes on with is gone after its time, and what the bucket
// had of it too.
func TestAbandonedUploadIsSwept(t *testing.T) {
	n, bucket := onBucket(t)
	at := beginUpload(t, n)
	n.Want(http.StatusNoContent, http.MethodGet, at, nil)
	n.Want(http.StatusOK, http.MethodPut, "/api/v1/settings", strings.NewReader(`{"upload_session_ttl_secs":1}`), "Content-Type", "application/json")
	end := time.Now().Add(2 * time.Minute)
	for ; ; time.Sleep(100 * time.Millisecond) {
		resp, body := n.Do(http.MethodGet, at, nil)
		if resp.StatusCode == http.StatusNotFound && bytes.Contains(body, []byte("BLOB_UPLOAD_UNKNOWN")) {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the session is still there: %s %s", resp.Status, body)
		}
	}
	n.Want(http.StatusNotFound, http.MethodPatch, at, strings.NewReader("more"))
	collectOnce(t, n)
	// All that are in the bucket are old by this measure: it counts them.
	if left, err := bucket.StaleUploads(t.Context(), -time.Hour); err != nil || left != 0 {
		t.Errorf("%d multipart uploads are left in the bucket, %v", left, err)
	}
	beginUpload(t, n)
	if left, err := bucket.StaleUploads(t.Context(), -time.Hour); err != nil || left != 1 {
		t.Errorf("%d multipart uploads of a session that has begun, want 1, %v", left, err)
	}
	for info, err := range bucket.List(t.Context(), "") {
		t.Errorf("%v, %v is left in the bucket", info, err)
	}
}

// A node that dies in the middle of a chunk takes only that chunk along.
func TestNodeDiesInAChunk(t *testing.T) {
	nodes := node.Cluster(t, 2)
	a, b := nodes[0], nodes[1]
	a.Create(`{"name":"images","repo_type":"hosted","format":"docker"}`)
	at := beginUpload(t, a)
	const first = 6 << 20
	rest := randomBytes(12 << 20)
	pr, pw := io.Pipe()
	answered := make(chan error, 1)
	go func() {
		_, _, err := a.Try(t.Context(), http.MethodPatch, at, pr, "Content-Range", fmt.Sprintf("%d-%d", first, first+len(rest)-1))
		answered <- err
	}()
	if _, err := pw.Write(rest[:10<<20]); err != nil {
		t.Fatal(err)
	}
	a.Kill()
	pw.CloseWithError(io.ErrClosedPipe) //nolint:errcheck // never fails
	if err := <-answered; err == nil {
		t.Error("the chunk was answered by a dead node")
	}
	resp, _ := b.Do(http.MethodGet, at, nil)
	if resp.StatusCode != http.StatusNoContent || resp.Header.Get("Range") != fmt.Sprintf("0-%d", first-1) {
		t.Fatalf("the session on the other node: %s, range %q", resp.Status, resp.Header.Get("Range"))
	}
	b.Want(http.StatusAccepted, http.MethodPatch, at, bytes.NewReader(rest), "Content-Range", fmt.Sprintf("%d-%d", first, first+len(rest)-1))
	all := append(make([]byte, first), rest...)
	b.Want(http.StatusCreated, http.MethodPut, at+"?digest="+nameOf(all), nil)
	if got := b.Want(http.StatusOK, http.MethodGet, "/v2/images/app/blobs/"+nameOf(all), nil); !bytes.Equal(got, all) {
		t.Errorf("%d bytes came back wrong", len(got))
	}
}
