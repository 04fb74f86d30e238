package yum_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/yum"
	"granary/gc/retention"
	"granary/repo/config"
	"granary/repo/repotest"
)

// Retention counts versions, not files: of each package of a directory the last
// two stay in all architectures, whatever the files are called, and are listed.
func TestRetentionCountsVersions(t *testing.T) {
	r := repotest.New(t, repotest.Options{Formats: func(now func() time.Time) []formats.Format { return []formats.Format{yum.New(now)} }})
	c := r.Create("r", config.Hosted, "yum", func(c *config.Repository) { c.CleanupKeepLast = new(int64(2)) })
	var want []string
	put := func(path string, p rpm, stays bool) {
		r.Put("r", path, p.build())
		if stays {
			want = append(want, path)
		}
	}
	for n := range 4 {
		for _, arch := range []string{"x86_64", "i686", "src"} {
			p := hello(n, "")
			p.arch = arch
			put(pathOf(p), p, n >= 2)
		}
		p := rpm{name: "hello-libs", version: fmt.Sprintf("1.%d", n), release: "1", arch: "noarch", payload: "payload"}
		put(fmt.Sprintf("Packages/odd%d.rpm", n), p, n >= 2)
		r.Clock.Advance(24 * time.Hour)
	}
	one := rpm{name: "single", version: "1", release: "1", arch: "noarch", payload: "payload"}
	put(pathOf(one), one, true)
	rules, err := retention.RulesOf(c)
	if err != nil {
		t.Fatal(err)
	}
	p := &retention.Planner{Repositories: r.Service, Records: r.Records, Now: r.Clock.Now}
	if _, err := p.Clean(t.Context(), c, rules, false, func(retention.Item) error { return nil }); err != nil {
		t.Fatal(err)
	}
	var got []string
	for rec, err := range r.Open("r").Walk(t.Context(), "Packages") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, rec.Key())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("left are %q, want %q", got, want)
	}
	listed := 0
	for rec, err := range r.Open("r").View().Records(t.Context(), "repodata") {
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(rec.Name, "packages/") && !strings.Contains(rec.Name, ",") {
			listed++
		}
	}
	if listed != len(want) {
		t.Errorf("%d packages are listed, want %d", listed, len(want))
	}
}
