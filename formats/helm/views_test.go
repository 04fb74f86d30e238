package helm_test

import (
	"fmt"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/formattest"
	"granary/formats/helm"
	"granary/repo/config"
	"granary/repo/repotest"
)

func TestViews(t *testing.T) {
	version := func(n int) string { return fmt.Sprintf("1.%d.0+b", n) }
	file := func(n int) string { return "lib-" + version(n) + ".tgz" }
	upload := func(t testing.TB, n int, more string) formattest.Upload {
		chart := pack(t, "lib", version(n), more)
		header, body := formattest.Form(t, formattest.Part{Name: "chart", File: "c.tgz", Content: string(chart)},
			formattest.Part{Name: "prov", File: "c.prov", Content: string(provenance(file(n), chart))})
		return formattest.Upload{Method: "POST", Target: "upload", Header: header, Body: body}
	}
	formattest.Views(t, formattest.Sample{
		New:      func(func() time.Time) formats.Format { return helm.New() },
		Upload:   func(t testing.TB, n int) formattest.Upload { return upload(t, n, "") },
		Conflict: func(t testing.TB, n int) formattest.Upload { return upload(t, n, "description: other\n") },
		Files:    func(n int) []string { return []string{file(n), "charts/" + file(n), file(n) + ".prov"} },
		Docs:     []string{"index.yaml"},
		Empty:    true,
		Release:  func(n int) string { return "lib@" + version(n) },
		Named:    func(n int) string { return "lib-" + version(n) + ".tgz" },
		Checked:  []string{file(0)},
		Remove:   func(n int) string { return "api/charts/lib/" + version(n) },
	})
}

// Where charts may be overwritten no client is told to keep one for ever.
func TestOverwritten(t *testing.T) {
	r := repotest.New(t, repotest.Options{Formats: func(func() time.Time) []formats.Format { return []formats.Format{helm.New()} }})
	for _, policy := range []config.Policy{config.Allow, config.AllowIdentical, config.Deny} {
		name := "charts-" + string(policy)
		r.Create(name, config.Hosted, "helm", func(c *config.Repository) { c.ConflictPolicy = policy })
		r.Put(name, "a-1.0.0.tgz", pack(t, "a", "1.0.0", ""))
		r.Group("group-"+string(policy), "helm", name)
		for _, repository := range []string{name, "group-" + string(policy)} {
			c, _, err := r.Send(t.Context(), repository, "GET", "a-1.0.0.tgz", nil)
			if err != nil || c.Fixed != (policy != config.Allow) {
				t.Errorf("%s: fixed is %v, %v", repository, c.Fixed, err)
			}
		}
	}
	r.Put("charts-allow", "a-1.0.0.tgz", pack(t, "a", "1.0.0", "description: other\n"))
	if got := r.Get("charts-allow", "a-1.0.0.tgz"); string(got) != string(pack(t, "a", "1.0.0", "description: other\n")) {
		t.Error("the overwritten chart is served")
	}
}
