package golang

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/mod/module"

	"granary/digest"
	"granary/formats"
)

var _ formats.Releaser = (*Format)(nil)

// Release is the module and, for files and pointers of one, the version. What a
// branch is called is no version: the version that it leads to is asked for by
// its own name.
func (*Format) Release(scope, name string) (pkg, version string) {
	escaped, ok := strings.CutSuffix(scope, versions)
	if !ok {
		if escaped, ok = strings.CutSuffix(scope, latest); !ok {
			return "", ""
		}
	}
	pkg, err := module.UnescapePath(escaped)
	if err != nil || name == "" {
		return pkg, ""
	}
	base := strings.TrimPrefix(name, ":")
	if base == name {
		if base, _, ok = splitExt(name); !ok {
			return pkg, ""
		}
	}
	if version, err = module.UnescapeVersion(base); err != nil || !canonical(pkg, version) {
		return pkg, ""
	}
	return pkg, version
}

// Published reads the version's .info.
func (f *Format) Published(ctx context.Context, rec formats.Record, src formats.Source) (time.Time, error) {
	pkg, version := f.Release(rec.Scope, rec.Name)
	if version == "" {
		return time.Time{}, nil
	}
	name, err := module.EscapePath(pkg)
	if err != nil {
		return time.Time{}, formats.BadRequest("%v", err)
	}
	base, err := module.EscapeVersion(version)
	if err != nil {
		return time.Time{}, formats.BadRequest("%v", err)
	}
	path := name + versions + "/" + base + "." + labelInfo
	r, err := src.Open(ctx, path, digest.Sums{})
	if err != nil {
		return time.Time{}, err
	}
	defer r.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(r, maxInfo+1))
	if err != nil {
		return time.Time{}, fmt.Errorf("read %s: %w", path, err)
	}
	i, err := parseInfo(data)
	if err != nil {
		return time.Time{}, formats.Unusable(path, "%v", err)
	}
	return i.Time, nil
}
