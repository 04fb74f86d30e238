package helm

import (
	"strings"

	"granary/formats"
)

var _ formats.Versioner = Format{}

// Package is the chart that a file is of, or whose provenance it is.
func (Format) Package(rec formats.Record) string {
	name, _ := splitFile(rec.Name)
	return name
}

// Version is that of the chart.
func (Format) Version(rec formats.Record) string {
	_, version := splitFile(rec.Name)
	return version
}

// splitFile takes the name of a file apart: the version begins after the first
// dash behind which there is one.
func splitFile(file string) (name, version string) {
	base := strings.TrimSuffix(strings.TrimSuffix(file, provExt), chartExt)
	for i, c := range base {
		if c == '-' && validVersion(base[i+1:]) && validName(base[:i]) {
			return base[:i], base[i+1:]
		}
	}
	return base, ""
}
