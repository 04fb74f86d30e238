package raw_test

import (
	"fmt"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/formattest"
	"granary/formats/raw"
)

func TestViews(t *testing.T) {
	path := func(n int) string { return fmt.Sprintf("dir/sub/file-%d.bin", n) }
	formattest.Views(t, formattest.Sample{
		New: func(func() time.Time) formats.Format { return raw.New() },
		Upload: func(_ testing.TB, n int) formattest.Upload {
			return formattest.Upload{Method: "PUT", Target: path(n), Body: fmt.Appendf(nil, "content of %150d", n)}
		},
		Files:  func(n int) []string { return []string{path(n)} },
		Remove: path,
	})
}
