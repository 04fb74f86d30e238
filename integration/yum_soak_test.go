package integration_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"granary/integration/node"
)

// inTurns serves the nodes at one address, each request from another than the
// one before: a balancer that keeps no client with a node.
func inTurns(t *testing.T, nodes []*node.Node) string {
	t.Helper()
	var n atomic.Uint64
	s := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		u, err := url.Parse(nodes[n.Add(1)%uint64(len(nodes))].URL)
		if err != nil {
			panic(err) // it was used before
		}
		r.SetURL(u)
		r.Out.Host = r.In.Host
	}})
	t.Cleanup(s.Close)
	return s.URL
}

// Four publishers upload and delete on two nodes while eight clients update by
// way of both: none meets a file that is missing, that is not what the metadata
// says, or a signature of another generation.
func TestYumSoak(t *testing.T) {
	const publishers, readers = 4, 8
	clients := make([]*dnfClient, readers)
	for i := range clients {
		clients[i] = newDnf(t)
	}
	nodes := node.Cluster(t, 2)
	yumRepository(nodes[0], "rpms", "hosted", "")
	clients[0].upload(nodes[0], "rpms", "", rpmPackage(t, "anchor", "1"))
	balanced := inTurns(t, nodes)
	for _, c := range clients {
		c.setUp(nodes[0], "rpms")
		file := filepath.Join(c.root, "repos/rpms.repo")
		c.run("sed", "-i", "-e", "s|"+nodes[0].URL+"|"+balanced+"|g", "-e", "s/^gpgcheck=0/gpgcheck=1/", file)
		if text := string(mustRead(t, file)); !strings.Contains(text, "repo_gpgcheck=1") || !strings.Contains(text, "\ngpgcheck=1") || !strings.Contains(text, "baseurl="+balanced) {
			t.Fatalf("the clients are set up so:\n%s", text)
		}
	}
	var rpms [publishers][]byte
	for p := range rpms {
		rpms[p] = mustRead(t, rpmPackage(t, fmt.Sprintf("pkg%d", p), "1"))
	}
	until := time.Now().Add(soakTime(t))
	var uploads, updates atomic.Int64
	var wg sync.WaitGroup
	for p := range publishers {
		n, path := nodes[p%2], fmt.Sprintf("/repository/rpms/pkg%d.rpm", p)
		wg.Go(func() {
			for time.Now().Before(until) && !t.Failed() {
				resp, text, err := n.Try(t.Context(), http.MethodPut, path, bytes.NewReader(rpms[p]))
				if err != nil || resp.StatusCode != http.StatusCreated {
					t.Errorf("PUT %s: %v\n%.500s", path, err, text)
					return
				}
				resp, text, err = n.Try(t.Context(), http.MethodDelete, path, nil)
				if err != nil || resp.StatusCode != http.StatusNoContent {
					t.Errorf("DELETE %s: %v\n%.500s", path, err, text)
					return
				}
				uploads.Add(1)
			}
		})
	}
	for _, c := range clients {
		wg.Go(func() {
			for time.Now().Before(until) && !t.Failed() {
				out, err := c.try("dnf", c.args("makecache", "--refresh")...)
				if err != nil || strings.Contains(out, "rror") {
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
		if out := c.dnf("repoquery", "--refresh", "--qf", "%{name}"); strings.TrimSpace(lastLine(out)) != "anchor" {
			t.Errorf("a client sees in the end\n%s", out)
		}
	}
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}
