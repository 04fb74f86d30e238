package helm_test

import (
	"testing"

	"granary/formats"
	"granary/formats/helm"
)

// All charts lie in one scope: what they are called tells them apart.
func TestVersions(t *testing.T) {
	for file, want := range map[string][2]string{
		"lib-1.0.0.tgz":           {"lib", "1.0.0"},
		"lib-1.0.0.tgz.prov":      {"lib", "1.0.0"},
		"my-lib-2-1.0.0+b.1.tgz":  {"my-lib-2", "1.0.0+b.1"},
		"lib-1.0.0-rc.1-x.tgz":    {"lib", "1.0.0-rc.1-x"},
		"lib-v2.tgz":              {"lib", "v2"},
		"k8s-at-home-0.1.0-0.tgz": {"k8s-at-home", "0.1.0-0"},
		"nothing.tgz":             {"nothing", ""},
	} {
		rec := formats.Record{Name: file}
		if got := [2]string{helm.New().Package(rec), helm.New().Version(rec)}; got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
}
