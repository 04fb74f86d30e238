package cargo_test

import (
	"testing"

	"granary/formats"
)

func TestVersions(t *testing.T) {
	for name, want := range map[string]string{"foo-bar-1.0.0+b.crate": "1.0.0+b", "foo-bar-2.0.0-rc.1.crate": "2.0.0-rc.1", ":1.0.0": "1.0.0"} {
		rec := formats.Record{Scope: "crates/foo-bar", Name: name}
		if got := format().Version(rec); got != want || format().Package(rec) != "foo-bar" {
			t.Errorf("%s: %s of %s", name, got, format().Package(rec))
		}
	}
}
