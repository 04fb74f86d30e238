package golang

import (
	"strings"

	"golang.org/x/mod/module"

	"granary/formats"
)

var _ formats.Versioner = (*Format)(nil)

// Package is the module path.
func (*Format) Package(rec formats.Record) string {
	escaped := strings.TrimSuffix(strings.TrimSuffix(rec.Scope, versions), latest)
	name, err := module.UnescapePath(escaped)
	if err != nil {
		return escaped
	}
	return name
}

// Version is that of a module's file.
func (*Format) Version(rec formats.Record) string {
	base, _, _ := splitExt(strings.TrimPrefix(rec.Name, ":"))
	version, err := module.UnescapeVersion(base)
	if err != nil {
		return base
	}
	return version
}
