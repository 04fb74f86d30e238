package yum

import "granary/formats"

var _ formats.Versioner = (*Format)(nil)

// Package is what retention counts versions of: a package of one directory in
// all architectures, with its source. Another file is one by itself.
func (f *Format) Package(rec formats.Record) string {
	if pkg, _ := f.releaseOf(rec); pkg != "" {
		return pkg
	}
	return rec.Key()
}

// Version is "<version>-<release>", without epoch.
func (f *Format) Version(rec formats.Record) string {
	_, version := f.releaseOf(rec)
	return version
}

// releaseOf goes by what a package calls itself, whatever its file is called.
func (f *Format) releaseOf(rec formats.Record) (pkg, version string) {
	name := f.Described(rec)
	if name == "" {
		name = rec.Name
	}
	return f.Release(rec.Scope, name)
}
