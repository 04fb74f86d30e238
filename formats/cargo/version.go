package cargo

import (
	"context"
	"strings"
	"time"

	"granary/formats"
)

var _ formats.Versioner = (*Format)(nil)

// Package is the crate, in lower case.
func (*Format) Package(rec formats.Record) string {
	_, name, _ := strings.Cut(rec.Scope, "/")
	return name
}

// Version is that of a crate's file, or of its line in the index.
func (f *Format) Version(rec formats.Record) string {
	if version, ok := strings.CutPrefix(rec.Name, ":"); ok {
		return version
	}
	version := strings.TrimSuffix(rec.Name, crateExt)
	return strings.TrimPrefix(version, f.Package(rec)+"-")
}

// Release is the crate, and the version of a file or line.
func (f *Format) Release(scope, name string) (pkg, version string) {
	rec := formats.Record{Scope: scope, Name: name}
	if !strings.HasPrefix(scope, cratesDir+"/") {
		return "", ""
	}
	if name != "" {
		version = f.Version(rec)
	}
	return f.Package(rec), version
}

// Published is the pubtime of a version in the index of an upstream.
func (f *Format) Published(ctx context.Context, rec formats.Record, src formats.Source) (time.Time, error) {
	for r, err := range f.Parse(ctx, rec.Scope, src) {
		if err != nil || r.Name == rec.Name {
			return r.Time, err
		}
	}
	return time.Time{}, nil
}
