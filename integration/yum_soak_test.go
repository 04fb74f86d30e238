package integration_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"granary/integration/node"
)

// yumSoak is how long TestYumSoak takes; GRANARY_TEST_SOAK is another duration.
const yumSoak = 15 * time.Second

// Publishers upload and delete while clients update: no client meets a file
// that is missing or is not what the metadata says.
func TestYumSoak(t *testing.T) {
	const publishers, clients = 2, 3
	d := yumSoak
	if s := os.Getenv("GRANARY_TEST_SOAK"); s != "" {
		var err error
		if d, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	all := make([]*dnfClient, clients)
	for i := range all {
		all[i] = newDnf(t)
	}
	n := node.Start(t, node.Options{})
	yumRepository(n, "rpms", "hosted", "")
	all[0].upload(n, "rpms", "", rpmPackage(t, "stays", "1"))
	var packages [publishers][]byte
	for i := range packages {
		b, err := os.ReadFile(rpmPackage(t, fmt.Sprintf("goes%d", i), "1"))
		if err != nil {
			t.Fatal(err)
		}
		packages[i] = b
	}
	for _, c := range all {
		c.setUp(n, "rpms")
		// The signature is another request than what it signs: see docs/formats/yum.md.
		c.run("sed", "-i", "s/repo_gpgcheck=1/repo_gpgcheck=0/", filepath.Join(c.root, "repos/rpms.repo"))
	}
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	var wg sync.WaitGroup
	var written, read atomic.Int64
	for i, b := range packages {
		wg.Go(func() {
			for ctx.Err() == nil {
				for _, method := range []string{http.MethodPut, http.MethodDelete} {
					resp, body, err := n.Try(t.Context(), method, fmt.Sprintf("/repository/rpms/goes%d.rpm", i), bodyOf(method, b))
					if err != nil || resp.StatusCode >= 300 {
						t.Errorf("%s: %v %s", method, err, body)
						return
					}
					written.Add(1)
				}
			}
		})
	}
	for _, c := range all {
		wg.Go(func() {
			for ctx.Err() == nil {
				if out, err := c.try("dnf", c.args("makecache", "--refresh")...); err != nil {
					t.Errorf("dnf makecache: %v\n%s", err, out)
					return
				}
				read.Add(1)
			}
		})
	}
	wg.Wait()
	t.Logf("%d publications, %d updates in %s", written.Load(), read.Load(), d)
	if written.Load() == 0 || read.Load() < clients {
		t.Errorf("%d publications and %d updates", written.Load(), read.Load())
	}
}

func bodyOf(method string, b []byte) io.Reader {
	if method == http.MethodDelete {
		return nil
	}
	return bytes.NewReader(b)
}
