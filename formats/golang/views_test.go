package golang_test

import (
	"fmt"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/formattest"
	"granary/formats/golang"
)

func TestViews(t *testing.T) {
	const module = "corp.example/lib"
	version := func(n int) string { return fmt.Sprintf("v1.%d.0", n) }
	upload := func(t testing.TB, n int, text string) formattest.Upload {
		zip := formattest.Module(t, module, version(n), map[string]string{
			"go.mod": "module " + module + "\n", "lib.go": "package lib // " + text + "\n",
		})
		header, body := formattest.Form(t,
			formattest.Part{Name: "module", Content: module},
			formattest.Part{Name: "version", Content: version(n)},
			formattest.Part{Name: "zip", File: "m.zip", Content: string(zip)})
		return formattest.Upload{Method: "POST", Target: "upload", Header: header, Body: body}
	}
	file := func(n int, ext string) string { return module + "/@v/" + version(n) + ext }
	formattest.Views(t, formattest.Sample{
		New:      func(now func() time.Time) formats.Format { return golang.New(now) },
		Upload:   func(t testing.TB, n int) formattest.Upload { return upload(t, n, "same") },
		Conflict: func(t testing.TB, n int) formattest.Upload { return upload(t, n, "other") },
		Files:    func(n int) []string { return []string{file(n, ".zip"), file(n, ".mod"), file(n, ".info")} },
		Docs:     []string{module + "/@v/list"},
		Release:  func(n int) string { return module + "@" + version(n) },
		Named:    func(n int) string { return version(n) + "\n" },
		Checked:  []string{file(0, ".zip")},
		Remove:   func(n int) string { return file(n, ".zip") },
	})
}
