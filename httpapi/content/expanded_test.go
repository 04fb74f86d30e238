package content

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"granary/formats"
)

// template is a document in which BASE stands for the URL.
func template(text string, opened *atomic.Int64, fails error) *formats.Content {
	return &formats.Content{
		Record: formats.Record{Name: "doc", Type: "application/json", Size: int64(len(text)), Sums: sumsOf([]byte(text)), Time: modified},
		Expand: true,
		Open: func(context.Context, int64, int64) (io.ReadCloser, error) {
			opened.Add(1)
			return io.NopCloser(strings.NewReader(text)), fails
		},
	}
}

func newExpanded(t *testing.T, size int64) *Expanded {
	t.Helper()
	x, err := NewExpanded(size, func(w io.Writer, base string) io.WriteCloser { return &replacer{w: w, base: base} })
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestExpanded(t *testing.T) {
	x := newExpanded(t, 1<<20)
	var opened atomic.Int64
	c := template(strings.Repeat(`{"tarball":"BASE/a.tgz"}`, 100), &opened, nil)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := x.Of(t.Context(), c, "http://one"); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := opened.Load(); n != 1 {
		t.Errorf("the document was read %d times", n)
	}
	get := func(base string, header ...string) *httptest.ResponseRecorder {
		t.Helper()
		e, err := x.Of(t.Context(), c, base)
		if err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		w := httptest.NewRecorder()
		if err := Serve(w, r, e, Options{Document: true}); err != nil {
			t.Fatal(err)
		}
		return w
	}
	want := strings.Repeat(`{"tarball":"http://one/a.tgz"}`, 100)
	plain := get("http://one")
	if plain.Body.String() != want || plain.Header().Get("Content-Length") != fmt.Sprint(len(want)) {
		t.Errorf("got %d bytes, Content-Length %s", plain.Body.Len(), plain.Header().Get("Content-Length"))
	}
	packed := get("http://one", "Accept-Encoding", "gzip")
	z, err := gzip.NewReader(packed.Body)
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(z); err != nil || string(b) != want || packed.Header().Get("Etag") == plain.Header().Get("Etag") {
		t.Errorf("compressed: %v, tag %s", err, packed.Header().Get("Etag"))
	}
	other := get("http://other")
	if other.Body.String() == want || other.Header().Get("Etag") == plain.Header().Get("Etag") {
		t.Error("another URL got the same document")
	}
	if w := get("http://one", "If-None-Match", plain.Header().Get("Etag")); w.Code != http.StatusNotModified {
		t.Errorf("unchanged: %d", w.Code)
	}
	if w := get("http://one", "Range", "bytes=0-4"); w.Code != http.StatusPartialContent || w.Body.String() != want[:5] {
		t.Errorf("range: %d %q", w.Code, w.Body)
	}
}

// What is too long streams, and a failure is not remembered.
func TestExpandedLimits(t *testing.T) {
	x := newExpanded(t, 1<<20)
	var opened atomic.Int64
	long := template(strings.Repeat("x", maxExpanded+1), &opened, nil)
	if c, err := x.Of(t.Context(), long, "http://one"); err != nil || c != long || opened.Load() != 0 {
		t.Errorf("a long document was read: %v", err)
	}
	boom := errors.New("boom")
	bad, good := template("BASE", &opened, boom), template("BASE", &opened, nil)
	if _, err := x.Of(t.Context(), bad, "http://one"); !errors.Is(err, boom) {
		t.Errorf("got %v", err)
	}
	if c, err := x.Of(t.Context(), good, "http://one"); err != nil || string(c.Inline) != "http://one" {
		t.Errorf("after a failure: %v", err)
	}
}
