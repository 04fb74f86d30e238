package yum_test

import (
	"testing"
	"time"

	"granary/formats"
	"granary/formats/yum"
	"granary/repo"
	"granary/repo/config"
	"granary/repo/repotest"
)

// A root that came by promotion has metadata when its last package goes, as one
// that was published to.
func TestPromotedRootStays(t *testing.T) {
	r := repotest.New(t, repotest.Options{Formats: func(now func() time.Time) []formats.Format { return []formats.Format{yum.New(now)} }})
	src, dst := r.Create("staging", config.Hosted, "yum", nil), r.Create("release", config.Hosted, "yum", nil)
	p := hello(1, "")
	r.Put("staging", pathOf(p), p.build())
	promotion := repo.Promotion{ID: "p", Source: src.ID, Target: dst.ID, Paths: []string{"Packages"}}
	if err := r.Promote(t.Context(), promotion, "", func(string, repo.Copied) error { return nil }); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"staging", "release"} {
		if _, _, err := r.Send(t.Context(), name, "DELETE", pathOf(p), nil); err != nil {
			t.Fatal(err)
		}
		if _, _, err := r.Send(t.Context(), name, "GET", "repodata/repomd.xml", nil); err != nil {
			t.Errorf("%s without packages: %v", name, err)
		}
	}
}
