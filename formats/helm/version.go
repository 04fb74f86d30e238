package helm

import (
	"context"
	"strings"
	"time"

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

// Release is the chart and the version of a file.
func (Format) Release(scope, name string) (pkg, version string) {
	if scope != "" {
		return "", ""
	}
	return splitFile(name)
}

// Published is what the index of an upstream says of a version.
func (f Format) Published(ctx context.Context, rec formats.Record, src formats.Source) (time.Time, error) {
	for r, err := range f.Parse(ctx, rec.Scope, src) {
		if err != nil || r.Name == rec.Name {
			return r.Time, err
		}
	}
	return time.Time{}, nil
}
