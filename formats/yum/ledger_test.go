package yum_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"granary/formats"
	"granary/repo/config"
)

// What primary promises of a package is checked before the package is kept: a
// package that is in order but another one is not taken.
func TestPackagesAreChecked(t *testing.T) {
	for _, index := range []string{"primary.xml.gz", "repomd.xml"} {
		r := newRig(t)
		r.Create("origin", config.Hosted, "yum", func(c *config.Repository) { depth := int64(1); c.RepodataDepth = &depth })
		a, b := hello(1, "x"), hello(2, "x")
		for _, p := range []rpm{a, b} {
			r.Put("origin", "el9/"+pathOf(p), p.build())
		}
		up := r.Serve(t)
		r.Cache("c", "yum", up.URL+"/origin", 60)
		r.Get("c", "el9/repodata/"+index)
		up.Misbehave(func(w http.ResponseWriter, req *http.Request) bool {
			if path.Base(req.URL.Path) != path.Base(pathOf(a)) {
				return false
			}
			w.Write(b.build()) //nolint:errcheck // the test sees what has come
			return true
		})
		if index == "repomd.xml" {
			// Nobody has read what there is: it is taken as it comes.
			if got := r.Get("c", "el9/"+pathOf(a)); !bytes.Equal(got, b.build()) {
				t.Errorf("%d bytes", len(got))
			}
			continue
		}
		r.Refused(formats.ErrUpstream, "c", "GET", "el9/"+pathOf(a), nil)
		if got := r.Get("c", "el9/"+pathOf(b)); !bytes.Equal(got, b.build()) {
			t.Errorf("%d bytes of the other", len(got))
		}
		up.Misbehave(nil)
		if got := r.Get("c", "el9/"+pathOf(a)); !bytes.Equal(got, a.build()) {
			t.Errorf("%d bytes", len(got))
		}
	}
}

// A mirror that has another package at the path is passed by, and remembered as
// little as one that has none.
func TestBadMirror(t *testing.T) {
	r := newRig(t)
	r.Create("origin", config.Hosted, "yum", nil)
	publish(t, r, "origin", hello(1, "x"), hello(2, "x"))
	up := r.Serve(t)
	var asked atomic.Int32
	bad := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, ".rpm") {
			asked.Add(1)
			w.Write(hello(2, "x").build()) //nolint:errcheck // the test sees what has come
			return
		}
		http.NotFound(w, req)
	}))
	defer bad.Close()
	lists := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, "%s\n%s/origin\n", bad.URL, up.URL)
	}))
	defer lists.Close()
	r.Cache("c", "yum", lists.URL+"/mirrorlist", 60)
	r.Get("c", "repodata/primary.xml.gz")
	if got := r.Get("c", pathOf(hello(1, ""))); !bytes.Equal(got, hello(1, "x").build()) || asked.Load() != 1 {
		t.Errorf("%d bytes after %d answers of the bad mirror", len(got), asked.Load())
	}
}

func TestPromises(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	element := func(kind, sum, location string) string {
		return fmt.Sprintf("<package><name>a</name><checksum type=%q pkgid=\"YES\"> %s </checksum><location %s/></package>", kind, sum, location)
	}
	head := `<metadata xmlns="http://linux.duke.edu/metadata/common">`
	for _, c := range []struct{ scope, text, want string }{
		{"repodata", head + element("sha256", sum, `href="a.rpm"`) + element("sha256", sum, `href="./P/b.rpm"`) + "</metadata>", "a.rpm P/b.rpm"},
		{"el9/x/repodata", head + element("sha256", sum, `href="a.rpm"`) + "</metadata>", "el9/x/a.rpm"},
		{"repodata", head + element("sha512", sum, `href="a.rpm"`) + element("sha256", "x", `href="a.rpm"`) + "</metadata>", ""},
		{"repodata", head + element("sha256", sum, `href="../a.rpm"`) + element("sha256", sum, `xml:base="https://example.com" href="b.rpm"`) + "</metadata>", ""},
		{"el9/x/repodata", head + element("sha256", sum, `href="../pool/a.rpm"`) + element("sha256", sum, `href="../../../a.rpm"`) + "</metadata>", "el9/pool/a.rpm"},
		{"repodata", head + element("sha256", sum, `href="https://example.com/a.rpm"`) + element("sha256", sum, `href="/a.rpm"`) + element("sha256", sum, `href=""`) + "</metadata>", ""},
		{"repodata", head + "</metadata>", ""},
		{"repodata", head + "<package><checksum", "error"},
		{"repodata", "\x1f\x8bnot gzip", "error"},
		{"repodata", "", ""},
	} {
		var got []string
		for p, err := range format().Promises(c.scope, strings.NewReader(c.text)) {
			if err != nil {
				got = []string{"error"}
				break
			}
			if len(p.SHA256) != 32 {
				t.Errorf("%+v", p)
			}
			got = append(got, p.Path)
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%.80q: %q, want %q", c.text, s, c.want)
		}
	}
	for at, want := range map[string]bool{
		"repodata/primary.xml": true, "repodata/ab-primary.xml.gz": true, "el9/repodata/ab-primary.xml.zst": true, "repodata/primary.xml.xz": true,
		"repodata/ab-primary.xml.zck": false, "repodata/ab-filelists.xml.gz": false, "repodata/repomd.xml": false, "repodata/ab-primary.sqlite.bz2": false,
	} {
		if got := format().Index(path.Dir(at), at); got != want {
			t.Errorf("%s: %v", at, got)
		}
	}
}

func FuzzPromises(f *testing.F) {
	f.Add([]byte(`<metadata><package><checksum type="sha256">` + strings.Repeat("ab", 32) + `</checksum><location href="a"/></package></metadata>`))
	f.Add([]byte("\x28\xb5\x2f\xfd"))
	f.Add([]byte("BZh9"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for p, err := range format().Promises("a/repodata", bytes.NewReader(b)) {
			if err == nil && (!strings.HasPrefix(p.Path, "a/") || len(p.SHA256) != 32) {
				t.Errorf("%+v", p)
			}
		}
	})
}

// A package that its upstream has replaced, as when it is signed again, is fetched
// again when the metadata says so; while the upstream is down the old one is there.
func TestReplacedUpstream(t *testing.T) {
	r := newRig(t)
	for name, text := range map[string]string{"before": "x", "after": "y"} {
		r.Create(name, config.Hosted, "yum", nil)
		publish(t, r, name, hello(1, text), hello(2, "same"))
	}
	up := r.Serve(t)
	var state atomic.Value
	state.Store("before")
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		at := state.Load().(string)
		if at == "" && strings.HasSuffix(req.URL.Path, ".rpm") {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if at == "" {
			at = "after"
		}
		resp, err := http.Get(up.URL + "/" + at + req.URL.Path) //nolint:noctx // of the test
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer resp.Body.Close()
		w.Header().Set("Content-Length", resp.Header.Get("Content-Length"))
		w.WriteHeader(resp.StatusCode)
		io.Copy(w, resp.Body) //nolint:errcheck // the client sees it
	}))
	defer upstream.Close()
	r.Cache("c", "yum", upstream.URL, 60)
	get := func() string {
		t.Helper()
		r.Get("c", "repodata/primary.xml.gz")
		return string(r.Get("c", pathOf(hello(1, ""))))
	}
	before, after := string(hello(1, "x").build()), string(hello(1, "y").build())
	for range 3 {
		if got := get(); got != before {
			t.Fatalf("%d bytes", len(got))
		}
	}
	state.Store("")
	r.Clock.Advance(time.Hour)
	for range 20 {
		if got := get(); got != before {
			t.Fatalf("%d bytes while the upstream is down", len(got))
		}
		time.Sleep(5 * time.Millisecond)
	}
	state.Store("after")
	for end := time.Now().Add(time.Minute); get() != after; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the package that was replaced is not fetched again")
		}
		r.Clock.Advance(time.Minute)
	}
	if got := r.Get("c", pathOf(hello(2, ""))); !bytes.Equal(got, hello(2, "same").build()) {
		t.Errorf("%d bytes of the other", len(got))
	}
}
