package npm_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/formattest"
	"granary/formats/npm"
	"granary/repo/config"
	"granary/repo/repotest"
)

func TestViews(t *testing.T) {
	for _, name := range []string{"left-pad", "@corp/lib"} {
		version := func(n int) string { return fmt.Sprintf("1.%d.0", n) }
		send := func(t testing.TB, n int, more string) formattest.Upload {
			return formattest.Upload{Method: "PUT", Target: name, Body: document(t, name, version(n), tarball(t, packageJSON(name, version(n), more)))}
		}
		file := func(n int) string {
			return name + "/-/" + name[strings.LastIndex(name, "/")+1:] + "-" + version(n) + ".tgz"
		}
		t.Run(name, func(t *testing.T) {
			formattest.Views(t, formattest.Sample{
				New:      func(func() time.Time) formats.Format { return npm.New() },
				Upload:   func(t testing.TB, n int) formattest.Upload { return send(t, n, "") },
				Conflict: func(t testing.TB, n int) formattest.Upload { return send(t, n, `,"description":"other"`) },
				Files:    func(n int) []string { return []string{file(n)} },
				Docs:     []string{name},
				Release:  func(n int) string { return name + "@" + version(n) },
				Named:    func(n int) string { return `"` + version(n) + `":{` },
				Checked:  []string{file(0)},
				Remove:   file,
			})
		})
	}
}

// Publishing costs the same whatever is published already, and a packument that
// nothing changed one read.
func TestCosts(t *testing.T) {
	r := repotest.New(t, repotest.Options{Formats: func(func() time.Time) []formats.Format { return []formats.Format{format()} }})
	r.Create("h", config.Hosted, "npm", nil)
	cost := func(n int) string {
		version := fmt.Sprintf("1.%d.0", n)
		body := document(t, "lib", version, tarball(t, packageJSON("lib", version, `,"dependencies":{"a":"1"}`)))
		r.KV.Reset()
		if _, _, err := r.Send(t.Context(), "h", "PUT", "lib", body); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%d reads, %d writes", r.KV.Reads(), r.KV.Writes())
	}
	cost(0)
	cost(1)
	// From here on the tag latest has a history, which is looked at.
	third := cost(2)
	for n := 3; n < 1000; n++ {
		if c := cost(n); c != third {
			t.Fatalf("version %d cost %s, the third %s", n, c, third)
		}
	}
	began := time.Now()
	doc := r.Get("h", "lib")
	if took := time.Since(began); strings.Count(string(doc), `"tarball"`) != 1000 || took > 30*time.Second {
		t.Errorf("packument of %d bytes took %v", len(doc), took)
	} else {
		t.Logf("a publish: %s; the packument of 1,000 versions: %d bytes in %v", third, len(doc), took)
	}
	r.KV.Reset()
	r.Get("h", "lib")
	if r.KV.Reads() != 1 || r.KV.Writes() != 0 {
		t.Errorf("the packument unchanged cost %v", r.KV.Calls())
	}
}

// Times that an upstream does not tell are left out: an empty one is none.
func TestUntoldTimes(t *testing.T) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte(`{"name":"lib","versions":{"1.0.0":{"name":"lib","version":"1.0.0","dist":{"tarball":"x.tgz"}}},"time":{"1.0.0":"long ago"}}`)) //nolint:errcheck // a test server
	}))
	defer up.Close()
	r := repotest.New(t, repotest.Options{Formats: func(func() time.Time) []formats.Format { return []formats.Format{format()} }})
	r.Cache("c", "npm", up.URL, 60)
	doc := string(r.Get("c", "lib"))
	if !strings.Contains(doc, `"time":{}`) || !strings.Contains(doc, `"latest":"1.0.0"`) {
		t.Errorf("the packument is %s", doc)
	}
	_, short, err := r.Send(t.Context(), "c", "GET", "lib", nil, "Accept", "application/vnd.npm.install-v1+json")
	if err != nil || strings.Contains(string(short), "modified") || !strings.Contains(string(short), `"1.0.0":{`) {
		t.Errorf("the short packument is %s, %v", short, err)
	}
}
