package repo_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/raw"
	"granary/repo/config"
	"granary/repo/repotest"
)

// A cache over its quota serves all the same, and keeps nothing.
func TestQuotaOfACache(t *testing.T) {
	r := repotest.New(t, repotest.Options{Formats: func(func() time.Time) []formats.Format { return []formats.Format{raw.New()} }})
	var asked atomic.Int64
	content := map[string][]byte{
		"/small": bytes.Repeat([]byte("s"), 40_000), "/long": bytes.Repeat([]byte("0123456789abcdef"), 600_000), "/other": bytes.Repeat([]byte("o"), 30_000),
	}
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		asked.Add(1)
		body, ok := content[req.URL.Path]
		if !ok {
			http.NotFound(w, req)
			return
		}
		w.Header().Set("ETag", fmt.Sprintf(`"%d%c"`, len(body), body[0]))
		http.ServeContent(w, req, "", time.Time{}, bytes.NewReader(body))
	}))
	defer up.Close()
	r.Cache("c", "raw", up.URL, -1)
	quota := func(n int64) {
		t.Helper()
		change(t, r, "c", func(c *config.Repository) { c.QuotaBytes = &n })
	}
	quota(50_000)
	is := func(path string) {
		t.Helper()
		if got := r.Get("c", path); !bytes.Equal(got, content["/"+path]) {
			t.Fatalf("%s: %d bytes", path, len(got))
		}
		_, size, err := r.Service.Usage(t.Context(), r.Open("c").Config.ID)
		if err != nil || size > 50_000 {
			t.Errorf("after %s there are %d bytes, %v", path, size, err)
		}
	}
	counted := func(path string) int64 {
		before := asked.Load()
		r.Get("c", path)
		return asked.Load() - before
	}
	is("small")
	if n := counted("small"); n != 0 {
		t.Errorf("what is kept was asked for %d times", n)
	}
	for _, path := range []string{"other", "long"} {
		is(path)
		if n := counted(path); n == 0 {
			t.Errorf("%s was kept", path)
		}
	}
	// A part of what is not kept.
	_, body, err := r.Send(t.Context(), "c", "GET", "long", nil)
	if err != nil || !bytes.Equal(body, content["/long"]) {
		t.Errorf("%d bytes, %v", len(body), err)
	}
	c, err := r.Open("c").View().Open(t.Context(), formats.Op{Kind: formats.File, Name: "long"})
	if err != nil {
		t.Fatal(err)
	}
	rd, err := c.Open(t.Context(), 1_000_001, 5)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(rd); string(got) != string(content["/long"][1_000_001:1_000_006]) || err != nil {
		t.Errorf("part %q, %v", got, err)
	}
	rd.Close() //nolint:errcheck // only read

	// A copy that is replaced by what there is no room for goes.
	change(t, r, "c", func(c *config.Repository) { c.CacheTTL = nil })
	content["/small"] = bytes.Repeat([]byte("S"), 60_000)
	if got := r.Get("c", "small"); !bytes.Equal(got, content["/small"]) {
		t.Errorf("%d bytes of %q", len(got), got[:1])
	}
	if n, size, err := r.Service.Usage(t.Context(), r.Open("c").Config.ID); n != 0 || size != 0 || err != nil {
		t.Errorf("%d artifacts of %d bytes are left, %v", n, size, err)
	}
	quota(100_000)
	r.Get("c", "small")
	up.Close()
	if got := r.Get("c", "small"); !bytes.Equal(got, content["/small"]) {
		t.Errorf("with room it was not kept: %d bytes", len(got))
	}
}
