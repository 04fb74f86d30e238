package pypi_test

import (
	"fmt"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/formattest"
	"granary/formats/pypi"
)

func TestViews(t *testing.T) {
	version := func(n int) string { return fmt.Sprintf("1.%d", n) }
	send := func(t testing.TB, n int, more string) formattest.Upload {
		header, body := form(t, wheelName("Corp-Lib", version(n)), wheel(t, "Corp-Lib", version(n), more))
		return formattest.Upload{Method: "POST", Target: "", Header: header, Body: body}
	}
	file := func(n int) string {
		return "packages/corp-lib/" + version(n) + "/" + wheelName("Corp-Lib", version(n))
	}
	formattest.Views(t, formattest.Sample{
		New:      func(func() time.Time) formats.Format { return pypi.New() },
		Upload:   func(t testing.TB, n int) formattest.Upload { return send(t, n, "") },
		Conflict: func(t testing.TB, n int) formattest.Upload { return send(t, n, "Summary: other\n") },
		Files:    func(n int) []string { return []string{file(n), file(n) + ".metadata"} },
		Docs:     []string{"simple/corp-lib/", "simple/corp-lib/?format=application/vnd.pypi.simple.v1%2Bjson"},
		Release:  func(n int) string { return "corp-lib@" + version(n) },
		Named:    func(n int) string { return "/" + version(n) + "/" },
		Checked:  []string{file(0)},
		Remove:   file,
		Upstream: "/simple/",
	})
}
