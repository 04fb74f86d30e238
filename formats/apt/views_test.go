package apt_test

import (
	"fmt"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/apt"
	"granary/formats/formattest"
)

func TestViews(t *testing.T) {
	upload := func(t testing.TB, n int, text string) formattest.Upload {
		deb := debOf(t, []string{".gz", ".xz", ".zst", ""}[n%4], control("hello", fmt.Sprintf("1.%d-1", n), "amd64"), text)
		header, body := formattest.Form(t,
			formattest.Part{Name: "distribution", Content: "stable"}, formattest.Part{Name: "component", Content: "main"},
			formattest.Part{Name: "file", File: "x.deb", Content: deb})
		return formattest.Upload{Method: "POST", Target: "upload", Header: header, Body: body}
	}
	file := func(n int) string { return fmt.Sprintf("pool/main/h/hello/hello_1.%d-1_amd64.deb", n) }
	formattest.Views(t, formattest.Sample{
		New:      func(now func() time.Time) formats.Format { return apt.New(now) },
		Upload:   func(t testing.TB, n int) formattest.Upload { return upload(t, n, "same") },
		Conflict: func(t testing.TB, n int) formattest.Upload { return upload(t, n, "other") },
		Files:    func(n int) []string { return []string{file(n)} },
		Docs:     []string{"dists/stable/main/binary-amd64/Packages"},
		First:    []string{"dists/stable/InRelease"},
		Release:  func(n int) string { return fmt.Sprintf("hello@1.%d-1", n) },
		Verbatim: true,
		Undated:  true,
		Named:    func(n int) string { return fmt.Sprintf("Version: 1.%d-1\n", n) },
		Remove:   file,
	})
}
