package cargo_test

import (
	"errors"
	"testing"
	"time"

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

func TestReleases(t *testing.T) {
	src := upstream("3/f/foo", indexLine("foo", "1.0.0", 1, `,"pubtime":"2024-05-06T07:08:09Z"`)+indexLine("foo", "1.1.0", 2, ""), "https://dl.example")
	for name, want := range map[string]string{"foo-1.0.0.crate": "2024-05-06 07:08:09", ":1.0.0": "2024-05-06 07:08:09", "foo-1.1.0.crate": "0001-01-01 00:00:00", "foo-2.0.0.crate": "0001-01-01 00:00:00"} {
		got, err := format().Published(t.Context(), formats.Record{Scope: "crates/foo", Name: name}, src)
		if err != nil || got.Format(time.DateTime) != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	if _, err := format().Published(t.Context(), formats.Record{Scope: "crates/bar", Name: "bar-1.0.0.crate"}, src); !errors.Is(err, formats.ErrNotFound) {
		t.Errorf("unknown crate: %v", err)
	}
	for _, tc := range [][4]string{{"crates/foo", "foo-1.0.0.crate", "foo", "1.0.0"}, {"crates/foo", "", "foo", ""}, {"names/foo", ":crate", "", ""}} {
		if pkg, version := format().Release(tc[0], tc[1]); pkg != tc[2] || version != tc[3] {
			t.Errorf("%q: %s %s", tc, pkg, version)
		}
	}
}
