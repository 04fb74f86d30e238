package integration_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"granary/integration/component"
	"granary/integration/node"
)

// Limits of resident memory in bytes.
const (
	idleMemory     = 40 << 20  // of a server on an empty store
	transferMemory = 32 << 20  // by which one transfer may make it grow, however long
	busyMemory     = 128 << 20 // under 64 clients at once
	bucketMemory   = 144 << 20 // with parts on their way to a bucket; see docs/performance.md
)

// startTime is how long it takes to the first answer on an empty store, on a
// machine that has nothing else to do; timePatience times that is a failure.
const (
	startTime    = 60 * time.Millisecond
	timePatience = 5
)

func mib(n int64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

// plain skips tests that a program built with the race detector can't pass.
func plain(t *testing.T) {
	t.Helper()
	if os.Getenv("GRANARY_TEST_RACE") != "" {
		t.Skip("the race detector takes memory and time of its own")
	}
}

func TestIdleMemoryAndStart(t *testing.T) {
	plain(t)
	n := node.Start(t, node.Options{})
	// The first start has made up keys and hashed a password. Of the others the
	// best tells what the program itself needs.
	best := time.Hour
	for round, until := 0, time.Now().Add(patience); round < 5 || best > timePatience*startTime && time.Now().Before(until); round++ {
		n.Stop()
		n.Restart()
		best = min(best, n.Took)
	}
	t.Logf("first answer after %s", best)
	if best > timePatience*startTime {
		t.Errorf("first answer after %s at best, want %s", best, startTime)
	}
	// A second after the start it gives back what that has needed.
	time.Sleep(2 * time.Second)
	for until := time.Now().Add(patience); n.RSS() > idleMemory && time.Now().Before(until); {
		time.Sleep(100 * time.Millisecond)
	}
	t.Logf("idle: %s, peak %s\n%s", mib(n.RSS()), mib(n.PeakRSS()), n.MemoryMap())
	if got := n.RSS(); got > idleMemory {
		t.Errorf("an idle server has %s resident, want at most %s", mib(got), mib(idleMemory))
	}
}

// One long upload and one long download, whose bytes are made up and judged as
// they flow.
func TestTransferMemory(t *testing.T) {
	plain(t)
	size := int64(2 << 30)
	if testing.Short() {
		size = 256 << 20
	}
	n := node.Start(t, node.Options{})
	n.Create(`{"name":"files","repo_type":"hosted","format":"raw"}`)
	// What the first requests need is no matter of length.
	n.Want(201, http.MethodPut, "/repository/files/first", io.LimitReader(zeros{}, 20<<20))
	n.Want(200, http.MethodGet, "/repository/files/first", nil)
	time.Sleep(2 * time.Second)
	before := n.RSS()
	measure := func(what string, transfer func()) {
		t.Helper()
		n.ResetPeak()
		began := time.Now()
		transfer()
		peak := n.PeakRSS()
		t.Logf("%s of %s in %s: from %s to %s", what, mib(size), time.Since(began).Round(time.Millisecond), mib(before), mib(peak))
		if peak-before > transferMemory {
			t.Errorf("%s made it grow by %s, want at most %s\n%s", what, mib(peak-before), mib(transferMemory), n.MemoryMap())
		}
	}
	sum := sha256.New()
	measure("upload", func() {
		body := io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{1}), size), sum)
		n.Want(201, http.MethodPut, "/repository/files/long", body)
	})
	measure("download", func() {
		got := sha256.New()
		if length := download(t, n, "/repository/files/long", got); length != size || !bytes.Equal(got.Sum(nil), sum.Sum(nil)) {
			t.Errorf("%d bytes with SHA-256 %s came back, want %d with %s", length, hex.EncodeToString(got.Sum(nil)), size, hex.EncodeToString(sum.Sum(nil)))
		}
	})
}

// download hashes what it gets and returns its length.
func download(t *testing.T, n *node.Node, path string, h hash.Hash) int64 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, n.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.SetBasicAuth("admin", node.Password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end
	length, err := io.Copy(h, resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("download: %s, %v after %d bytes", resp.Status, err, length)
	}
	return length
}

// What a build farm does: sixty in a hundred requests are GET, thirty PUT, five
// DELETE and five listings, of 64 KiB each, by 64 clients at once.
func TestBusyMemory(t *testing.T) {
	plain(t)
	n := node.Start(t, node.Options{})
	n.Create(`{"name":"files","repo_type":"hosted","format":"raw"}`)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	do := func(method, path string, body []byte) (int, error) {
		req, err := http.NewRequestWithContext(t.Context(), method, n.URL+path, bytes.NewReader(body))
		if err != nil {
			return 0, err
		}
		req.SetBasicAuth("admin", node.Password)
		resp, err := client.Do(req)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close() //nolint:errcheck // read to its end
		_, err = io.Copy(io.Discard, resp.Body)
		return resp.StatusCode, err
	}
	until := time.Now().Add(5 * time.Second)
	var requests sync.Map
	var wg sync.WaitGroup
	for w := range 64 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 1))
			body := make([]byte, 64<<10)
			count := 0
			for ; time.Now().Before(until) && !t.Failed(); count++ {
				path := fmt.Sprintf("/repository/files/d%d/f%d", random.IntN(20), random.IntN(50))
				method, good := http.MethodGet, []int{200, 404}
				switch x := random.IntN(100); {
				case x < 30:
					for i := range body[:64] {
						body[i] = byte(random.Uint32())
					}
					method, good = http.MethodPut, []int{201}
				case x < 35:
					method, good = http.MethodDelete, []int{204, 404}
				case x < 40:
					path, good = fmt.Sprintf("/api/v1/repositories/files/artifacts?prefix=d%d", random.IntN(20)), []int{200, 404}
				}
				sent := body
				if method != http.MethodPut {
					sent = nil
				}
				status, err := do(method, path, sent)
				if err != nil || status != good[0] && status != good[len(good)-1] {
					t.Errorf("%s %s: %d, %v", method, path, status, err)
				}
			}
			requests.Store(w, count)
		})
	}
	wg.Wait()
	total := 0
	requests.Range(func(_, v any) bool { total += v.(int); return true })
	t.Logf("%d requests, peak %s\n%s", total, mib(n.PeakRSS()), n.MemoryMap())
	if peak := n.PeakRSS(); peak > busyMemory {
		t.Errorf("%s resident under 64 clients, want at most %s", mib(peak), mib(busyMemory))
	}
}

// Many images at once: the layers come in by POST, PATCH without a length, and
// PUT, as Docker sends them. The 64 KiB of each are all that the client has.
func TestManyLayersMemory(t *testing.T) {
	plain(t)
	n := node.Start(t, node.Options{})
	n.Create(`{"name":"images","repo_type":"hosted","format":"docker"}`)
	manyLayers(t, n, busyMemory)
}

// The same on a bucket, to which parts are sent that wait in memory.
func TestManyLayersMemoryBucket(t *testing.T) {
	plain(t)
	bucket := component.VersityGW(t)
	n := node.Start(t, node.Options{})
	n.Want(http.StatusCreated, http.MethodPost, "/api/v1/stores", strings.NewReader(fmt.Sprintf(
		`{"name":"bucket","store_type":"s3","bucket":%q,"endpoint":%q,"region":%q,"access_key":%q,"secret_key":%q}`,
		bucket.Bucket, bucket.Endpoint, bucket.Region, bucket.AccessKey, bucket.SecretKey)), "Content-Type", "application/json")
	n.Create(`{"name":"images","repo_type":"hosted","format":"docker","store":"bucket"}`)
	manyLayers(t, n, bucketMemory)
}

func manyLayers(t *testing.T, n *node.Node, limit int64) {
	t.Helper()
	pushes, size := 32, int64(64<<20)
	if testing.Short() {
		size = 8 << 20
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: pushes}}
	defer client.CloseIdleConnections()
	do := func(want int, method, url string, body io.Reader) (http.Header, error) {
		req, err := http.NewRequestWithContext(t.Context(), method, url, body)
		if err != nil {
			return nil, err
		}
		req.SetBasicAuth("admin", node.Password)
		resp, err := client.Do(req)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close() //nolint:errcheck // read to its end
		text, err := io.ReadAll(resp.Body)
		if err == nil && resp.StatusCode != want {
			err = fmt.Errorf("%s %s: %s\n%.500s", method, url, resp.Status, text)
		}
		return resp.Header, err
	}
	at := func(header http.Header) string {
		if l := header.Get("Location"); l != "" && l[0] == '/' {
			return n.URL + l
		}
		return header.Get("Location")
	}
	began := time.Now()
	var wg sync.WaitGroup
	for i := range pushes {
		wg.Go(func() {
			sum := sha256.New()
			// Only what hides the length is sent in chunks.
			body := io.MultiReader(io.TeeReader(io.LimitReader(rand.NewChaCha8([32]byte{byte(i)}), size), sum))
			header, err := do(http.StatusAccepted, http.MethodPost, n.URL+fmt.Sprintf("/v2/images/app%d/blobs/uploads/", i), nil)
			if err == nil {
				header, err = do(http.StatusAccepted, http.MethodPatch, at(header), body)
			}
			if err == nil {
				_, err = do(http.StatusCreated, http.MethodPut, at(header)+"?digest=sha256:"+hex.EncodeToString(sum.Sum(nil)), nil)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	t.Logf("%d layers of %s in %s, peak %s\n%s", pushes, mib(size), time.Since(began).Round(time.Millisecond), mib(n.PeakRSS()), n.MemoryMap())
	if peak := n.PeakRSS(); peak > limit {
		t.Errorf("%s resident while %d layers are pushed, want at most %s", mib(peak), pushes, mib(limit))
	}
}
