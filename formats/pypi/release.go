package pypi

import (
	"context"
	"strings"
	"time"

	"granary/formats"
)

var _ formats.Releaser = (*Format)(nil)

// Release reads the project in the scope, or in the list of projects in the
// name, and the version in the first segment of a file's name; "-" is that of a
// file whose name tells none.
func (*Format) Release(scope, name string) (pkg, version string) {
	if scope == rootScope {
		return strings.TrimPrefix(name, ":"), ""
	}
	if !strings.HasPrefix(scope, packages) {
		return "", ""
	}
	if dir, _, ok := strings.Cut(name, "/"); ok {
		version = dir
	}
	return projectOf(scope), version
}

// Published is when the upstream got a file, or the file that one is beside: of
// a release the files may have come one after another. Pages in HTML don't tell.
func (f *Format) Published(ctx context.Context, rec formats.Record, src formats.Source) (time.Time, error) {
	file := rec.Name
	for _, end := range [...]string{endMetadata, endSignature, endProvenance} {
		file = strings.TrimSuffix(file, end)
	}
	for r, err := range f.Parse(ctx, rec.Scope, src) {
		if err != nil || r.Name == file {
			return r.Time, err
		}
	}
	return time.Time{}, nil
}
