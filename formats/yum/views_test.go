package yum_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/formattest"
	"granary/formats/yum"
)

func TestViews(t *testing.T) {
	upload := func(n int, text string) formattest.Upload {
		r := hello(n, text)
		return formattest.Upload{Method: "PUT", Target: pathOf(r), Header: http.Header{}, Body: r.build()}
	}
	formattest.Views(t, formattest.Sample{
		New:      func(now func() time.Time) formats.Format { return yum.New(now) },
		Upload:   func(_ testing.TB, n int) formattest.Upload { return upload(n, "same") },
		Conflict: func(_ testing.TB, n int) formattest.Upload { return upload(n, "other") },
		Files:    func(n int) []string { return []string{pathOf(hello(n, ""))} },
		Docs:     []string{"repodata/primary.xml.gz"},
		Text:     unzipped,
		First:    []string{"repodata/repomd.xml"},
		Release:  func(n int) string { return fmt.Sprintf("hello@1.%d-1", n) },
		Verbatim: true,
		Named:    func(n int) string { return fmt.Sprintf(`<version epoch="0" ver="1.%d" rel="1"/>`, n) },
		Checked:  []string{pathOf(hello(0, ""))},
		Remove:   func(n int) string { return pathOf(hello(n, "")) },
	})
}

// unzipped is the text of a compressed document.
func unzipped(t testing.TB, b []byte) string {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
