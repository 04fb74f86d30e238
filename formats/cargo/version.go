package cargo

import (
	"strings"

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
