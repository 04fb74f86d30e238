package cargo_test

import (
	"fmt"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/cargo"
	"granary/formats/formattest"
)

func TestViews(t *testing.T) {
	version := func(n int) string { return fmt.Sprintf("1.%d.0", n) }
	upload := func(t testing.TB, n int, more string) formattest.Upload {
		return formattest.Upload{Method: "PUT", Target: "api/v1/crates/new", Body: body(metadata("lib_a", version(n), ""), crate(t, "lib_a", version(n), more))}
	}
	formattest.Views(t, formattest.Sample{
		New:      func(now func() time.Time) formats.Format { return cargo.New(now) },
		Upload:   func(t testing.TB, n int) formattest.Upload { return upload(t, n, "") },
		Conflict: func(t testing.TB, n int) formattest.Upload { return upload(t, n, "description = \"other\"\n") },
		Files: func(n int) []string {
			return []string{"api/v1/crates/lib_a/" + version(n) + "/download", "crates/lib_a/lib_a-" + version(n) + ".crate"}
		},
		Docs:    []string{"li/b_/lib_a", "index/li/b_/lib_a"},
		Release: func(n int) string { return "lib_a@" + version(n) },
		Named:   func(n int) string { return `"vers":"` + version(n) + `"` },
		Checked: []string{"api/v1/crates/lib_a/1.0.0/download"},
		Remove:  func(n int) string { return "api/v1/crates/lib_a/" + version(n) },
	})
}
