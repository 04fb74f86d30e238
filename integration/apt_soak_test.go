package integration_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"granary/integration/node"
)

// soakTime is how long publishers and readers go on: $GRANARY_TEST_SOAK, or a
// few seconds.
func soakTime(t *testing.T) time.Duration {
	t.Helper()
	if s := os.Getenv("GRANARY_TEST_SOAK"); s != "" {
		d, err := time.ParseDuration(s)
		if err != nil {
			t.Fatalf("GRANARY_TEST_SOAK: %v", err)
		}
		return d
	}
	if testing.Short() {
		return 4 * time.Second
	}
	return 8 * time.Second
}

// Four publishers upload and delete on two nodes while eight clients update from
// them: no update fails, whatever generation it began with.
func TestAptSoak(t *testing.T) {
	const publishers, readers, packages = 4, 8, 3
	nodes := node.Cluster(t, 2)
	aptRepository(nodes[0], "debs", "hosted", "")
	clients := make([]*aptClient, readers)
	for i := range clients {
		clients[i] = newApt(t)
	}
	clients[0].upload(nodes[0], "debs", "stable", debPackage(t, "anchor", "1.0", "amd64"))
	for i, c := range clients {
		c.setUp(nodes[i%2], "debs", "stable")
	}
	debs := map[string][]byte{}
	for p := range publishers {
		for i := range packages {
			name := fmt.Sprintf("pkg%d-%d", p, i)
			b, err := os.ReadFile(debPackage(t, name, "1.0", "amd64"))
			if err != nil {
				t.Fatal(err)
			}
			debs[name] = b
		}
	}
	until := time.Now().Add(soakTime(t))
	var uploads, updates atomic.Int64
	var wg sync.WaitGroup
	for p := range publishers {
		n := nodes[p%2]
		wg.Go(func() {
			for i := 0; time.Now().Before(until) && !t.Failed(); i++ {
				name := fmt.Sprintf("pkg%d-%d", p, i%packages)
				for _, step := range []struct {
					method, path string
					body         []byte
					want         int
				}{
					{http.MethodPut, "pool/stable/main/upload", debs[name], http.StatusCreated},
					{http.MethodDelete, "pool/main/p/" + name + "/" + name + "_1.0_amd64.deb", nil, http.StatusNoContent},
				} {
					resp, text, err := n.Try(t.Context(), step.method, "/repository/debs/"+step.path, bytes.NewReader(step.body))
					if err != nil || resp.StatusCode != step.want {
						t.Errorf("%s %s: %v\n%.500s", step.method, step.path, err, text)
						return
					}
				}
				uploads.Add(1)
			}
		})
	}
	for _, c := range clients {
		wg.Go(func() {
			for time.Now().Before(until) && !t.Failed() {
				out, err := c.try(c.root, "apt-get", append(c.options(), "update", "-o", "APT::Update::Error-Mode=any")...)
				if err != nil || strings.Contains(out, "W: ") || strings.Contains(out, "E: ") {
					t.Errorf("update %d: %v\n%s", updates.Load(), err, out)
					return
				}
				updates.Add(1)
			}
		})
	}
	wg.Wait()
	t.Logf("%d uploads with a delete each, %d updates", uploads.Load(), updates.Load())
	if uploads.Load() < publishers || updates.Load() < readers {
		t.Errorf("only %d uploads and %d updates", uploads.Load(), updates.Load())
	}
	// In the end everybody sees what there is.
	for _, c := range clients {
		c.apt("update")
		if out := c.run(c.root, "apt-cache", append(c.options(), "pkgnames")...); strings.TrimSpace(out) != "anchor" {
			t.Errorf("a client sees %q in the end", out)
		}
	}
}
