package integration_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"granary/integration/node"
)

// check is a task check as far as these tests look at it.
type check struct {
	ID, Status, Summary string
	Result              struct {
		TotalBlobs int64 `json:"total_blobs"`
		Passed     int64
		Mismatched int64
		Fixed      int64
		Findings   []struct {
			Repo     string
			Path     string
			Expected string `json:"expected_hash"`
			Actual   string `json:"actual_hash"`
			Fixed    bool
		}
	}
}

// startCheck starts an audit; until waits for its end, asking n.
func startCheck(t *testing.T, n *node.Node, body string) (c check) {
	t.Helper()
	b := n.Want(http.StatusCreated, http.MethodPost, "/api/v1/tasks/check", strings.NewReader(body), "Content-Type", "application/json")
	if err := json.Unmarshal(b, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c check) until(t *testing.T, n *node.Node) (got check) {
	t.Helper()
	for began := time.Now(); time.Since(began) < 2*time.Minute; time.Sleep(100 * time.Millisecond) {
		got = check{}
		if err := json.Unmarshal(n.Want(http.StatusOK, http.MethodGet, "/api/v1/tasks/"+c.ID, nil), &got); err != nil {
			t.Fatal(err)
		}
		if got.Status != "pending" && got.Status != "running" {
			if got.Status != "completed" {
				t.Fatalf("the audit has ended: %+v", got)
			}
			return got
		}
	}
	t.Fatalf("the audit does not end: %+v", got)
	return got
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

// A bit that has turned over on the disk is found, reported with the artifact,
// and repaired by an upload after the audit has removed it.
func TestAuditFindsDamage(t *testing.T) {
	n := node.Start(t, node.Options{})
	n.Create(`{"name":"files","repo_type":"hosted","format":"raw"}`)
	want := map[string][]byte{}
	for i := range 3 {
		path := fmt.Sprintf("dir/f%d", i)
		want[path] = randomBytes(300_000 + i)
		n.Want(http.StatusCreated, http.MethodPut, "/repository/files/"+path, bytes.NewReader(want[path]))
	}
	damaged := false
	err := filepath.WalkDir(filepath.Join(n.Data, "blobs"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || damaged {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(b, want["dir/f1"]) {
			return err
		}
		damaged = true
		b[100_000] ^= 4
		if err := os.Chmod(path, 0o600); err != nil {
			return err
		}
		return os.WriteFile(path, b, 0o600)
	})
	if err != nil || !damaged {
		t.Fatalf("nothing was damaged: %v", err)
	}
	got := startCheck(t, n, `{"verify_blob_hashes":false}`).until(t, n)
	if got.Result.TotalBlobs != 3 || got.Result.Passed != 3 {
		t.Errorf("by size: %+v", got)
	}
	got = startCheck(t, n, `{}`).until(t, n)
	if r := got.Result; r.TotalBlobs != 3 || r.Passed != 2 || r.Mismatched != 1 || len(r.Findings) != 1 || r.Fixed != 0 {
		t.Fatalf("by bytes: %+v", got)
	}
	f := got.Result.Findings[0]
	if f.Repo != "files" || f.Path != "dir/f1" || len(f.Expected) != 64 || f.Actual == f.Expected || f.Fixed {
		t.Errorf("finding %+v", f)
	}
	got = startCheck(t, n, `{"dry_run":false}`).until(t, n)
	if r := got.Result; r.Fixed != 1 || len(r.Findings) != 1 || !r.Findings[0].Fixed {
		t.Errorf("repaired: %+v", got)
	}
	n.Want(http.StatusNotFound, http.MethodGet, "/repository/files/dir/f1", nil)
	n.Want(http.StatusCreated, http.MethodPut, "/repository/files/dir/f1", bytes.NewReader(want["dir/f1"]))
	for path, b := range want {
		if !bytes.Equal(n.Want(http.StatusOK, http.MethodGet, "/repository/files/"+path, nil), b) {
			t.Errorf("%s has other bytes", path)
		}
	}
	if got = startCheck(t, n, `{}`).until(t, n); got.Result.Passed != 3 || len(got.Result.Findings) != 0 {
		t.Errorf("in the end: %+v", got)
	}
}

// clusterNode is a node as GET /api/v1/cluster shows it.
type clusterNode struct {
	ID         string
	Alive      bool
	Self       bool
	TaskShards int `json:"task_shards"`
}

func clusterNodes(t *testing.T, n *node.Node) []clusterNode {
	t.Helper()
	var out struct{ Nodes []clusterNode }
	if err := json.Unmarshal(n.Want(http.StatusOK, http.MethodGet, "/api/v1/cluster", nil), &out); err != nil {
		t.Fatal(err)
	}
	return out.Nodes
}

// self is the node that answers as it sees itself.
func self(t *testing.T, n *node.Node) clusterNode {
	t.Helper()
	for _, c := range clusterNodes(t, n) {
		if c.Self {
			return c
		}
	}
	t.Fatal("a node does not list itself")
	return clusterNode{}
}

// Three processes share an audit; one that holds shards is killed, and the
// others finish. Then each is restarted in turn under load.
func TestThreeProcesses(t *testing.T) {
	nodes := node.Cluster(t, 3, "GRANARY_CLUSTER_BEAT=2s", "GRANARY_CLUSTER_DEAD=8s", "GRANARY_AUDIT_RATE=400000")
	nodes[0].Create(`{"name":"files","repo_type":"hosted","format":"raw"}`)
	t.Run("killed node", func(t *testing.T) { testKilledHolder(t, nodes) })
	t.Run("rolling restart", func(t *testing.T) { testRollingRestart(t, nodes) })
}

func testKilledHolder(t *testing.T, nodes []*node.Node) {
	const files = 48
	for i := range files {
		nodes[i%3].Want(http.StatusCreated, http.MethodPut, fmt.Sprintf("/repository/files/audited/%d", i), bytes.NewReader(randomBytes(300_000)))
	}
	begun := startCheck(t, nodes[0], `{}`)
	victim := nodes[2]
	held := 0
	for began := time.Now(); held == 0; time.Sleep(50 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatal("the node takes no shards")
		}
		held = self(t, victim).TaskShards
	}
	id := self(t, victim).ID
	victim.Kill()
	killed := time.Now()
	got := begun.until(t, nodes[1])
	if got.Result.TotalBlobs != files || got.Result.Passed != files {
		t.Errorf("the audit: %+v", got)
	}
	t.Logf("killed while it held %d shards; the audit was over %v later", held, time.Since(killed))
	if out := nodes[0].Output() + nodes[1].Output(); !strings.Contains(out, "take a shard over") || !strings.Contains(out, id) {
		t.Error("no shard of the killed node was taken over")
	}
	victim.Restart()
}

// testRollingRestart has clients write and read while each node is restarted. A
// client goes to the next node when one does not serve it.
func testRollingRestart(t *testing.T, nodes []*node.Node) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var mu sync.Mutex
	acknowledged := map[string][]byte{}
	var retried, lost atomic.Int64
	var clients sync.WaitGroup
	for c := range 4 {
		clients.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				path := fmt.Sprintf("/repository/files/rolling/%d/%d", c, i)
				b := randomBytes([]int{100, 30_000, 200_000}[i%3])
				if !served(t, nodes, c+i, http.MethodPut, path, b, &retried) {
					lost.Add(1)
					continue
				}
				mu.Lock()
				acknowledged[path] = b
				mu.Unlock()
				if !served(t, nodes, c+i+1, http.MethodGet, path, nil, &retried) {
					lost.Add(1)
				}
			}
		})
	}
	for _, n := range nodes {
		time.Sleep(2 * time.Second)
		n.Stop()
		n.Restart()
	}
	time.Sleep(time.Second)
	stop()
	clients.Wait()
	for path, b := range acknowledged {
		if got := nodes[len(path)%3].Want(http.StatusOK, http.MethodGet, path, nil); !bytes.Equal(got, b) {
			t.Errorf("%s has other bytes", path)
		}
	}
	if lost.Load() > 0 || len(acknowledged) < 20 {
		t.Errorf("%d requests were not served by any node, %d writes were acknowledged", lost.Load(), len(acknowledged))
	}
	t.Logf("%d writes acknowledged over three restarts, none lost; %d requests were repeated", len(acknowledged), retried.Load())
}

// outage is how long a client goes on until it takes the cluster for down: longer
// than a node that was too busy to say that it lives may take to do so.
const outage = 15 * time.Second

// served sends a request to one node after the other until one serves it.
func served(t *testing.T, nodes []*node.Node, first int, method, path string, body []byte, retried *atomic.Int64) bool {
	end := time.Now().Add(outage)
	for try := 0; time.Now().Before(end); try++ {
		// Not the test's end but an answer ends it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 20*time.Second)
		resp, _, err := nodes[(first+try)%len(nodes)].Try(ctx, method, path, bytes.NewReader(body))
		cancel()
		if err == nil && resp.StatusCode < 300 {
			return true
		}
		if err == nil && resp.StatusCode < 500 && resp.StatusCode != http.StatusTooManyRequests {
			t.Errorf("%s %s answered %s", method, path, resp.Status)
			return false
		}
		retried.Add(1)
		time.Sleep(50 * time.Millisecond)
	}
	return false
}
