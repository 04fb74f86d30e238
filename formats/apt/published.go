package apt

import (
	"context"
	"strings"
	"time"

	"granary/formats"
)

var (
	_ formats.Releaser = (*Format)(nil)
	_ formats.Placer   = (*Format)(nil)

	_ formats.Versioner = (*Format)(nil)
)

// Release reads name and version, without its epoch, of a package in the name
// of its file, "<name>_<version>_<architecture>.deb", or of its pointer,
// "<component>/<architecture>/<name>/:<version>".
func (*Format) Release(scope, name string) (pkg, version string) {
	if scope == dists || scope == keys {
		return "", ""
	}
	if _, _, pkg, _, ok := pointed(name); ok && strings.HasPrefix(scope, dists+"/") {
		version, _, _ = strings.Cut(name[strings.LastIndexByte(name, '/')+2:], ",")
		return pkg, withoutEpoch(version)
	}
	words := strings.Split(name, "_")
	switch {
	case strings.HasPrefix(scope, dists+"/") || len(words) < 2 || !packageName.MatchString(words[0]):
		return "", ""
	case len(words) == 3:
		return words[0], words[1]
	}
	// A source: "hello_1.0-1.dsc", "hello_1.0-1.debian.tar.xz".
	version = words[1]
	for _, end := range [...]string{".dsc", ".debian.tar.", ".orig", ".diff.gz", ".tar."} {
		if at := strings.Index(version, end); at >= 0 {
			version = version[:at]
		}
	}
	return words[0], version
}

// Package is what retention counts versions of: a package in all architectures,
// with the source that has its name. What several revisions of a source share,
// the upstream's tarball, is a package of its own: its versions are others.
func (f *Format) Package(rec formats.Record) string {
	pkg, _ := f.Release(rec.Scope, rec.Name)
	switch {
	case pkg == "":
		return formats.Join(rec.Scope, rec.Name)
	case strings.Contains(rec.Name, ".orig"):
		return pkg + ".orig"
	}
	return pkg
}

// Version is without epoch, as names of files are.
func (f *Format) Version(rec formats.Record) string {
	_, version := f.Release(rec.Scope, rec.Name)
	return version
}

// ClaimScope is the distribution: indexes lead to files, and by the indexes of a
// group nobody gets to a file of a name that is claimed.
func (*Format) ClaimScope(scope string) string {
	if strings.HasPrefix(scope, dists+"/") {
		return scope
	}
	return ""
}

// Aged is true for files. An index does not tell how old a package is, and to
// ask for each that it lists would take too long.
func (*Format) Aged(scope, _ string) bool { return !strings.HasPrefix(scope, dists+"/") }

// Published is when the upstream's file was last modified: mirrors keep the time
// at which the archive got it.
func (*Format) Published(ctx context.Context, rec formats.Record, src formats.Source) (time.Time, error) {
	path := rec.Path
	if path == "" {
		path = rec.Key()
	}
	return formats.Modified(ctx, src, path)
}
