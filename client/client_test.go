package client

import (
	"bytes"
	"encoding/hex"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/zeebo/blake3"
)

func content(n int) ([]byte, string) {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b) //nolint:errcheck // never fails
	sum := blake3.Sum256(b)
	return b, `"` + hex.EncodeToString(sum[:]) + `"`
}

// flaky serves content and breaks off after every limit bytes.
func flaky(t *testing.T, b []byte, etag string, limit int, requests *atomic.Int64) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if u, p, _ := r.BasicAuth(); u != "u" || p != "p" {
			http.Error(w, `{"error":{"code":"UNAUTHORIZED","message":"who are you?"}}`, http.StatusUnauthorized)
			return
		}
		w.Header().Set("ETag", etag)
		if r.Method == http.MethodGet {
			requests.Add(1)
			w = &cut{w, limit}
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
	}))
	t.Cleanup(s.Close)
	return s.URL + "/repository/files/dir/file.bin"
}

type cut struct {
	http.ResponseWriter
	left int
}

func (c *cut) Write(b []byte) (int, error) {
	if c.left < len(b) {
		c.ResponseWriter.Write(b[:c.left]) //nolint:errcheck // broken off below
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(b)
	return c.ResponseWriter.Write(b)
}

func quick() *Client {
	return &Client{Username: "u", Password: "p", Retries: 20, Wait: func(int) time.Duration { return 0 }}
}

func get(t *testing.T, c *Client, address, file string) error {
	t.Helper()
	a, err := ParseArtifact(address)
	if err != nil {
		t.Fatal(err)
	}
	return c.Get(t.Context(), a, file)
}

func TestGetResumes(t *testing.T) {
	b, etag := content(500_000)
	var requests atomic.Int64
	address := flaky(t, b, etag, 100_000, &requests)
	file := filepath.Join(t.TempDir(), "file.bin")
	if err := get(t, quick(), address, file); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, b) {
		t.Errorf("received %d bytes (%v), other than were sent", len(got), err)
	}
	if n := requests.Load(); n < 5 || n > 8 {
		t.Errorf("%d requests for five stretches", n)
	}
	if left, _ := filepath.Glob(file + ".*"); len(left) > 0 {
		t.Errorf("%q is left over", left)
	}
}

func TestGetResumesOfAnEarlierProcess(t *testing.T) {
	b, etag := content(500_000)
	var requests atomic.Int64
	address := flaky(t, b, etag, 400_000, &requests)
	file := filepath.Join(t.TempDir(), "file.bin")
	c := quick()
	c.Retries = -1
	if err := get(t, c, address, file); err == nil {
		t.Fatal("a transfer that broke off succeeded")
	}
	if _, err := os.Stat(file); err == nil {
		t.Fatal("a part of the file is at its place")
	}
	if err := get(t, c, address, file); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, b) {
		t.Errorf("received %d bytes (%v), other than were sent", len(got), err)
	}
}

func TestGetDamaged(t *testing.T) {
	b, _ := content(1000)
	_, etag := content(1001)
	var requests atomic.Int64
	file := filepath.Join(t.TempDir(), "file.bin")
	if err := get(t, quick(), flaky(t, b, etag, 1<<20, &requests), file); !errors.Is(err, ErrDamaged) {
		t.Errorf("err = %v, want ErrDamaged", err)
	}
	if left, _ := filepath.Glob(file + "*"); len(left) > 0 {
		t.Errorf("%q is left of damaged content", left)
	}
}

func TestRefusals(t *testing.T) {
	b, etag := content(10)
	var requests atomic.Int64
	address := flaky(t, b, etag, 1<<20, &requests)
	c := quick()
	c.Password = "wrong"
	err := get(t, c, address, filepath.Join(t.TempDir(), "x"))
	if !errors.Is(err, ErrUnauthorized) {
		t.Errorf("err = %v, want ErrUnauthorized", err)
	}
	a, err := ParseArtifact(address)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Remove(t.Context(), a); err == nil || !strings.Contains(err.Error(), "who are you?") {
		t.Errorf("err = %v, want what the server said", err)
	}
}

func TestPutRetries(t *testing.T) {
	b, _ := content(300_000)
	var tries atomic.Int64
	var got []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if tries.Add(1) < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		got, _ = io.ReadAll(r.Body)
		w.WriteHeader(http.StatusCreated)
	}))
	t.Cleanup(s.Close)
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	a, err := ParseArtifact(s.URL + "/repository/files/f")
	if err != nil {
		t.Fatal(err)
	}
	if err := quick().Put(t.Context(), file, a); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, b) || tries.Load() != 3 {
		t.Errorf("%d bytes arrived in %d tries", len(got), tries.Load())
	}
}

func TestParseArtifact(t *testing.T) {
	for raw, want := range map[string]Artifact{
		"http://h/repository/r/a/b":           {"http://h", "r", "a/b"},
		"https://h:1/prefix/repository/r/":    {"https://h:1/prefix", "r", ""},
		"https://h/repository/r":              {"https://h", "r", ""},
		"https://h/repository/r/a%20b/%23c":   {"https://h", "r", "a b/#c"},
		"https://h/repository/r/repository/x": {"https://h", "r", "repository/x"},
	} {
		got, err := ParseArtifact(raw)
		if err != nil || got != want {
			t.Errorf("ParseArtifact(%q) = %+v, %v, want %+v", raw, got, err, want)
		}
	}
	for _, raw := range []string{"", "h/repository/r", "ftp://h/repository/r/x", "http://h/r/x", "http://h/repository//x", "http://[/"} {
		if got, err := ParseArtifact(raw); err == nil {
			t.Errorf("ParseArtifact(%q) = %+v, want an error", raw, got)
		}
	}
}

func TestPutWithoutServerFailsAtOnce(t *testing.T) {
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := quick()
	c.Wait = func(int) time.Duration { t.Error("tried again"); return 0 }
	if err := c.Put(t.Context(), file, Artifact{Server: "http://127.0.0.1:1", Repository: "r", Path: "f"}); err == nil {
		t.Error("an upload to nobody succeeded")
	}
}
