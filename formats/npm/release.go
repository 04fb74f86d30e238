package npm

import (
	"context"
	"strings"
	"time"

	"granary/formats"
)

var _ formats.Releaser = (*Format)(nil)

// Release reads the package in the scope, or in the list of packages in the
// name, and the version in the name of a tarball. Tags are of no one version:
// one whose version is hidden is not shown.
func (*Format) Release(scope, name string) (pkg, version string) {
	if scope == listScope {
		return strings.Replace(name, ":", "", 1), ""
	}
	if !goodName(scope) {
		return "", ""
	}
	if v, ok := versionOf(scope, name); ok {
		return scope, v
	}
	return scope, ""
}

// Published is the time of a version in the packument of an upstream.
func (f *Format) Published(ctx context.Context, rec formats.Record, src formats.Source) (time.Time, error) {
	for r, err := range f.Parse(ctx, rec.Scope, src) {
		if err != nil || r.Name == rec.Name {
			return r.Time, err
		}
	}
	return time.Time{}, nil
}
