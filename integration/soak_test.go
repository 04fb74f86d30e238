package integration_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"granary/integration/node"
)

// The clock goes on by hours while eight clients push, pull and delete images
// with shared layers, so that history ends, graces pass and round follows
// round: what was collected would be missed at once.
func TestSoakWithCollector(t *testing.T) {
	const clients, length = 8, 40 * time.Second
	clock := filepath.Join(t.TempDir(), "clock")
	setClock(t, clock, 0)
	n := node.Start(t, node.Options{Env: []string{"TEST_CLOCK_FILE=" + clock}})
	n.Create(`{"name":"images","repo_type":"hosted","format":"docker"}`)
	n.Want(200, "PUT", "/api/v1/settings", strings.NewReader(`{"gc_interval_secs":0,"gc_min_interval_secs":0,"gc_grace_secs":60,"access_log":false}`),
		"Content-Type", "application/json")
	layers := make([][]byte, 12)
	for i := range layers {
		layers[i] = bytes.Repeat(fmt.Appendf(nil, "layer %d ", i), 3000+500*i)
	}
	end := time.Now().Add(length)
	var pushed atomic.Int64
	var wg sync.WaitGroup
	for c := range clients {
		s := &soaker{t: t, n: n, image: fmt.Sprintf("app%d", c), layers: layers, dice: rand.New(rand.NewPCG(1, uint64(c)))} //nolint:gosec // what to push
		wg.Go(func() {
			for time.Now().Before(end) && !t.Failed() {
				s.round()
				pushed.Add(1)
			}
		})
	}
	hours := 0
	for time.Now().Before(end) && !t.Failed() {
		time.Sleep(500 * time.Millisecond)
		hours += 2
		setClock(t, clock, hours)
	}
	wg.Wait()
	deleted := collected(t, n)
	if pushed.Load() < clients || deleted == 0 {
		t.Errorf("%d images were pushed, %d blobs collected: the test shows nothing", pushed.Load(), deleted)
	}
	t.Logf("%d images pushed and pulled, %d blobs collected, in %d hours of the clock", pushed.Load(), deleted, hours)
}

func setClock(t *testing.T, path string, hours int) {
	t.Helper()
	// Renamed into place: the server reads it at any time.
	if err := os.WriteFile(path+".new", []byte("+"+strconv.Itoa(hours)+"h"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

// collected is the number of blobs that the rounds so far have deleted.
func collected(t *testing.T, n *node.Node) int64 {
	t.Helper()
	var tasks []struct {
		Kind   struct{ Type string } `json:"kind"`
		Result struct {
			Deleted int64 `json:"orphaned_blobs_deleted"`
			Refs    int64 `json:"deleted_dedup_refs"`
		} `json:"result"`
	}
	if err := json.Unmarshal(n.Want(200, "GET", "/api/v1/tasks", nil), &tasks); err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, task := range tasks {
		if task.Kind.Type == "blob_gc" {
			sum += task.Result.Deleted + task.Result.Refs
		}
	}
	return sum
}

// soaker is one client with an image of its own.
type soaker struct {
	t      *testing.T
	n      *node.Node
	image  string
	layers [][]byte
	dice   *rand.Rand
	rounds int
}

func (s *soaker) do(method, path string, body []byte, want int, header ...string) ([]byte, http.Header) {
	resp, data, err := s.n.Try(s.t.Context(), method, "/v2/images/"+s.image+path, bytes.NewReader(body), header...)
	if err != nil {
		s.t.Errorf("%s %s: %v", method, path, err)
		return nil, nil
	}
	if resp.StatusCode != want {
		s.t.Errorf("%s %s%s: %d, want %d: %.300s", method, s.image, path, resp.StatusCode, want, data)
	}
	return data, resp.Header
}

// digestOf is the name of content in a registry.
func digestOf(b []byte) string { return fmt.Sprintf("sha256:%x", sha256.Sum256(b)) }

// put pushes a blob as clients do: not if it is there.
func (s *soaker) put(b []byte) {
	resp, _, err := s.n.Try(s.t.Context(), http.MethodHead, "/v2/images/"+s.image+"/blobs/"+digestOf(b), nil)
	if err == nil && resp.StatusCode == http.StatusOK {
		return
	}
	s.do(http.MethodPost, "/blobs/uploads/?digest="+digestOf(b), b, http.StatusCreated, "Content-Type", "application/octet-stream")
}

// round pushes an image, pulls it back whole, and mostly deletes all of it.
func (s *soaker) round() {
	s.rounds++
	parts := [][]byte{fmt.Appendf(nil, `{"n":%d,"pad":%q}`, s.rounds, strings.Repeat(s.image, 8000))}
	for _, i := range s.dice.Perm(len(s.layers))[:2+s.dice.IntN(3)] {
		parts = append(parts, s.layers[i])
	}
	type descriptor struct {
		MediaType string `json:"mediaType"`
		Digest    string `json:"digest"`
		Size      int    `json:"size"`
	}
	manifest := struct {
		SchemaVersion int          `json:"schemaVersion"`
		MediaType     string       `json:"mediaType"`
		Config        descriptor   `json:"config"`
		Layers        []descriptor `json:"layers"`
	}{SchemaVersion: 2, MediaType: "application/vnd.oci.image.manifest.v1+json"}
	for i, p := range parts {
		s.put(p)
		d := descriptor{"application/vnd.oci.image.layer.v1.tar", digestOf(p), len(p)}
		if i == 0 {
			d.MediaType = "application/vnd.oci.image.config.v1+json"
			manifest.Config = d
		} else {
			manifest.Layers = append(manifest.Layers, d)
		}
	}
	text, err := json.Marshal(manifest)
	if err != nil {
		s.t.Error(err)
		return
	}
	s.do(http.MethodPut, "/manifests/v1", text, http.StatusCreated, "Content-Type", manifest.MediaType)
	time.Sleep(time.Duration(s.dice.IntN(300)) * time.Millisecond)
	if got, _ := s.do(http.MethodGet, "/manifests/v1", nil, http.StatusOK, "Accept", manifest.MediaType); !bytes.Equal(got, text) {
		s.t.Errorf("%s: another manifest came back", s.image)
	}
	for _, p := range parts {
		if got, _ := s.do(http.MethodGet, "/blobs/"+digestOf(p), nil, http.StatusOK); !bytes.Equal(got, p) {
			s.t.Errorf("%s: a blob of %d bytes came back as %d others", s.image, len(p), len(got))
		}
	}
	if s.dice.IntN(5) == 0 {
		return // its layers are there for the next one
	}
	s.do(http.MethodDelete, "/manifests/"+digestOf(text), nil, http.StatusAccepted)
	for _, p := range parts {
		s.do(http.MethodDelete, "/blobs/"+digestOf(p), nil, http.StatusAccepted)
	}
}
