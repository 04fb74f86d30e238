package pypi_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/formattest"
	"granary/repo/config"
	"granary/repo/repotest"
)

func newRig(t *testing.T) *repotest.Rig {
	t.Helper()
	return repotest.New(t, repotest.Options{Formats: func(func() time.Time) []formats.Format { return []formats.Format{format()} }})
}

// plainIndex is an upstream that knows HTML only and nothing of metadata, with a
// wheel of 8 MB.
type plainIndex struct {
	*httptest.Server
	sent   atomic.Int64 // bytes of the wheel
	ranges bool
}

const bigWheel = "big-1.0-py3-none-any.whl"

func newPlainIndex(t *testing.T, ranges bool) *plainIndex {
	t.Helper()
	data := make([]byte, 8<<20)
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // test data
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	whl := formattest.Zip(t,
		formattest.Entry{Name: "big/data.bin", Content: string(data)},
		formattest.Entry{Name: "big-1.0.dist-info/METADATA", Content: metadata("big", "1.0", "Summary: big\n")},
		formattest.Entry{Name: "big-1.0.dist-info/WHEEL"}, formattest.Entry{Name: "big-1.0.dist-info/RECORD"})
	p := &plainIndex{ranges: ranges}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/simple/big/":
			fmt.Fprintf(w, `<a href="/files/%s#sha256=%s">%s</a>`, bigWheel, sha(string(whl)), bigWheel) //nolint:errcheck // a test server
		case "/files/" + bigWheel:
			if !p.ranges {
				r.Header.Del("Range")
			}
			http.ServeContent(&sending{w, &p.sent}, r, "", time.Time{}, bytes.NewReader(whl))
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

type sending struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (s *sending) Write(b []byte) (int, error) {
	n, err := s.ResponseWriter.Write(b)
	s.n.Add(int64(n))
	return n, err
}

// Metadata of a wheel that an upstream does not tell is read out of the wheel:
// of parts of it, where the upstream has ranges.
func TestMetadataFromUpstreamWheel(t *testing.T) {
	for _, ranges := range []bool{true, false} {
		r, up := newRig(t), newPlainIndex(t, ranges)
		r.Cache("c", "pypi", up.URL+"/simple", 60)
		if page := string(r.Get("c", "simple/big/")); !strings.Contains(page, `data-core-metadata="true"`) {
			t.Errorf("page:\n%s", page)
		}
		const path = "packages/big/1.0/" + bigWheel + ".metadata"
		want := metadata("big", "1.0", "Summary: big\n")
		if got := string(r.Get("c", path)); got != want {
			t.Errorf("metadata %q", got)
		}
		if n := up.sent.Load(); ranges && n > 3<<20 || !ranges && n < 8<<20 {
			t.Errorf("ranges %v: the upstream sent %d bytes", ranges, n)
		}
		up.Close()
		if got := string(r.Get("c", path)); got != want {
			t.Errorf("metadata that is stored: %q", got)
		}
	}
}

// Where the upstream is gone, the wheel that is here is enough.
func TestMetadataFromStoredWheel(t *testing.T) {
	r := newRig(t)
	r.Create("origin", config.Hosted, "pypi", nil)
	up := r.Serve(t)
	r.Cache("c", "pypi", up.URL+"/origin/simple/", 3600)
	for _, v := range []string{"1.0", "2.0"} {
		header, body := form(t, wheelName("lib", v), wheel(t, "lib", v, ""))
		if _, _, err := r.Send(t.Context(), "origin", "POST", "", body, "Content-Type", header.Get("Content-Type")); err != nil {
			t.Fatal(err)
		}
	}
	const file = "packages/lib/1.0/lib-1.0-py3-none-any.whl"
	r.Get("c", file)
	up.Kill()
	if got := string(r.Get("c", file+".metadata")); got != metadata("lib", "1.0", "") {
		t.Errorf("metadata %q", got)
	}
	r.Refused(formats.ErrUpstream, "c", "GET", "packages/lib/2.0/lib-2.0-py3-none-any.whl.metadata", nil)
}

// Publishing costs the same whatever is published already, and a page that
// nothing changed one read.
func TestCosts(t *testing.T) {
	r := newRig(t)
	r.Create("h", config.Hosted, "pypi", nil)
	cost := func(n int) string {
		version := fmt.Sprintf("1.%d", n)
		header, body := form(t, wheelName("lib", version), wheel(t, "lib", version, ""))
		r.KV.Reset()
		if _, _, err := r.Send(t.Context(), "h", "POST", "", body, "Content-Type", header.Get("Content-Type")); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d reads, %d writes", r.KV.Reads(), r.KV.Writes())
	}
	cost(0)
	second := cost(1)
	for n := 2; n < 999; n++ {
		cost(n)
	}
	if last := cost(999); last != second {
		t.Errorf("the 1,000th version cost %s, the second %s", last, second)
	}
	began := time.Now()
	page := r.Get("h", "simple/lib/")
	if took := time.Since(began); strings.Count(string(page), "<a href") != 1000 || took > 30*time.Second {
		t.Errorf("page of %d bytes took %v", len(page), took)
	} else {
		t.Logf("a publish: %s; the page of 1,000 versions: %d bytes in %v", second, len(page), took)
	}
	for _, doc := range []string{"simple/lib/", "simple/"} {
		r.Get("h", doc)
		r.KV.Reset()
		r.Get("h", doc)
		if r.KV.Reads() != 1 || r.KV.Writes() != 0 {
			t.Errorf("%s unchanged cost %v", doc, r.KV.Calls())
		}
	}
}
