package integration_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"granary/integration/node"
)

// fewest is how many uploads are acknowledged at least before each kill.
const fewest = 20

// What was acknowledged before a kill -9 is there after it, whole; what was not
// is there whole or not at all.
func TestKillUnderLoad(t *testing.T) {
	n := node.Start(t, node.Options{})
	n.Create(`{"name":"files","repo_type":"hosted","format":"raw"}`)
	rounds := 5
	if testing.Short() {
		rounds = 2
	}
	acknowledged, tried := map[string]string{}, map[string]string{}
	for round := range rounds {
		putUntilKilled(t, n, round, acknowledged, tried)
		n.Restart()
		for path, sum := range tried {
			resp, body := n.Do(http.MethodGet, "/repository/files/"+path, nil)
			got := sha256.Sum256(body)
			switch {
			case resp.StatusCode == http.StatusOK && hex.EncodeToString(got[:]) == sum:
			case resp.StatusCode == http.StatusNotFound && acknowledged[path] == "":
			default:
				t.Fatalf("round %d: %s answers %s with %d bytes after the crash; acknowledged: %v", round, path, resp.Status, len(body), acknowledged[path] != "")
			}
		}
	}
	if len(acknowledged) < fewest*rounds {
		t.Fatalf("only %d uploads were acknowledged", len(acknowledged))
	}
	t.Logf("%d of %d uploads were acknowledged over %d kills, none was lost", len(acknowledged), len(tried), rounds)
}

// putUntilKilled has eight clients put files of several sizes, kills the server
// in the midst of it, and notes what was tried and what was acknowledged.
func putUntilKilled(t *testing.T, n *node.Node, round int, acknowledged, tried map[string]string) {
	t.Helper()
	var mu sync.Mutex
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(round), uint64(w)))
			for i := 0; ctx.Err() == nil; i++ {
				b := make([]byte, []int{100, 20_000, 300_000, 9 << 20}[min(3, random.IntN(20)/6)])
				for j := range b {
					b[j] = byte(random.Uint32())
				}
				sum := sha256.Sum256(b)
				path := fmt.Sprintf("r%d/w%d/%d", round, w, i)
				mu.Lock()
				tried[path] = hex.EncodeToString(sum[:])
				mu.Unlock()
				resp, _, err := n.Try(ctx, http.MethodPut, "/repository/files/"+path, bytes.NewReader(b))
				if err == nil && resp.StatusCode == http.StatusCreated {
					mu.Lock()
					acknowledged[path] = tried[path]
					mu.Unlock()
				}
			}
		})
	}
	// On a slow disk it takes longer until there is something to lose.
	time.Sleep(1500 * time.Millisecond)
	for until := time.Now().Add(patience); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		mu.Lock()
		enough := len(acknowledged) >= fewest*(round+1)
		mu.Unlock()
		if enough {
			break
		}
	}
	n.Kill()
	cancel()
	wg.Wait()
}
