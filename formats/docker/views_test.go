package docker_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/docker"
	"granary/formats/formattest"
)

// A version is a tag on an index that says when it was made: one request, as
// the blobs of an image are not versions.
func TestViews(t *testing.T) {
	const mediaType = "application/vnd.oci.image.index.v1+json"
	began := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC) // when the clocks of tests do
	path := func(n int) string { return fmt.Sprintf("v2/team/app/manifests/v%d", n) }
	formattest.Views(t, formattest.Sample{
		New: func(func() time.Time) formats.Format { return docker.New() },
		Upload: func(_ testing.TB, n int) formattest.Upload {
			made := began.AddDate(0, 0, 10*min(n, 1))
			body := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[],"annotations":{"org.opencontainers.image.created":%q,"version":"%100d"}}`,
				mediaType, made.Format(time.RFC3339), n)
			return formattest.Upload{Method: "PUT", Target: path(n), Body: body, Header: http.Header{"Content-Type": {mediaType}}}
		},
		Files:   func(n int) []string { return []string{path(n)} },
		Docs:    []string{"v2/team/app/tags/list"},
		Named:   func(n int) string { return fmt.Sprintf("%q", fmt.Sprint("v", n)) },
		Release: func(n int) string { return fmt.Sprint("team/app@v", n) },
		Undated: true,
		Checked: []string{path(0)},
		Remove:  path,
	})
}
