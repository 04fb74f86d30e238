package helm_test

import (
	"fmt"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/formattest"
	"granary/formats/helm"
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
