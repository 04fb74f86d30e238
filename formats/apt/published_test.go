package apt_test

import (
	"testing"

	"granary/formats"
	"time"

	"granary/formats/apt"
)

func TestRelease(t *testing.T) {
	f := apt.New(time.Now)
	for _, c := range []struct{ scope, name, pkg, version string }{
		{"pool/main/h/hello", "hello_1.0-1_amd64.deb", "hello", "1.0-1"},
		{"pool/main/h/hello", "hello_1.0-1.dsc", "hello", "1.0-1"},
		{"pool/main/h/hello", "hello_1.0-1.debian.tar.xz", "hello", "1.0-1"},
		{"pool/main/h/hello", "hello_1.0.orig.tar.gz", "hello", "1.0"},
		{"pool/main/h/hello", "hello_1.0.orig-docs.tar.gz", "hello", "1.0"},
		{"pool/main/h/hello", "hello_1.0.tar.xz", "hello", "1.0"},
		{"pool/main/h/hello", "hello_1.0-1.diff.gz", "hello", "1.0-1"},
		{"pool/main/h/hello", "hello", "", ""},
		{"pool/main/h/hello", "_1.0_amd64.deb", "", ""},
		{"pool/main/h/hello", "", "", ""},
		{"dists/stable", "main/amd64/hello/:2:1.0-1", "hello", "1.0-1"},
		{"dists/stable", "main/source/hello/:1.0-1", "hello", "1.0-1"},
		{"dists/stable", "main/amd64", "", ""},
		{"dists/stable", "main/amd64/:section", "", ""},
		{"dists/stable", "", "", ""},
		{"dists", ":stable", "", ""},
		{":keys", "", "", ""},
	} {
		if pkg, version := f.Release(c.scope, c.name); pkg != c.pkg || version != c.version {
			t.Errorf("%s/%s is of %q %q, want %q %q", c.scope, c.name, pkg, version, c.pkg, c.version)
		}
	}
}

// What retention takes for one version goes together, and nothing else does.
func TestVersions(t *testing.T) {
	for name, want := range map[string]string{
		"hello_1.0-1_amd64.deb":         "hello 1.0-1",
		"hello_1.0-1_arm64.deb":         "hello 1.0-1",
		"hello_1.0-1.dsc":               "hello 1.0-1",
		"hello_1.0-1.debian.tar.xz":     "hello 1.0-1",
		"hello_1.0.orig.tar.gz":         "hello.orig 1.0",
		"hello_1.0.orig-extra.tar.gz":   "hello.orig 1.0",
		"hello-data_1.0-1_all.deb":      "hello-data 1.0-1",
		"native_2.0.tar.xz":             "native 2.0",
		"README":                        "pool/main/h/hello/README ",
		"hello-data_1.0-1+orig_all.deb": "hello-data 1.0-1+orig",
	} {
		rec := formats.Record{Scope: "pool/main/h/hello", Name: name}
		if got := format().Package(rec) + " " + format().Version(rec); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}
