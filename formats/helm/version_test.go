package helm_test

import (
	"testing"
	"time"

	"granary/formats"
	"granary/formats/formattest"
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

func TestReleases(t *testing.T) {
	src := &formattest.Source{Files: map[string]string{"index.yaml": block}}
	for file, want := range map[string]string{"foo-1.0.0+b.tgz": "2024-05-06 07:08:09", "foo-1.0.0+b.tgz.prov": "2024-05-06 07:08:09", "sub-v1.2.tgz": "0001-01-01 00:00:00", "none-1.0.0.tgz": "0001-01-01 00:00:00"} {
		got, err := helm.New().Published(t.Context(), formats.Record{Name: file}, src)
		if err != nil || got.Format(time.DateTime) != want {
			t.Errorf("%s: %v, %v", file, got, err)
		}
	}
	if pkg, version := helm.New().Release("", "foo-1.0.0.tgz.prov"); pkg != "foo" || version != "1.0.0" {
		t.Errorf("%s %s", pkg, version)
	}
}
