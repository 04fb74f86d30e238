package pypi

import (
	"context"
	"strings"

	"granary/formats"
)

// Derived tells that the metadata of a wheel is in the wheel.
func (*Format) Derived(op formats.Op) (formats.Op, bool) {
	file, ok := strings.CutSuffix(op.Name, endMetadata)
	if !ok || !strings.HasSuffix(file, ".whl") {
		return formats.Op{}, false
	}
	version, name, _ := strings.Cut(file, "/")
	return routeFile(projectOf(op.Scope), version, name)
}

// Derive reads the metadata out of a wheel: its directory, and that file.
func (*Format) Derive(ctx context.Context, op formats.Op, whole formats.Blob) ([]byte, error) {
	_, file, _ := strings.Cut(strings.TrimSuffix(op.Name, endMetadata), "/")
	d, err := parseFile(file, projectOf(op.Scope))
	if err != nil {
		return nil, err
	}
	data, err := inspectWheel(ctx, d, whole)
	if err != nil {
		return nil, err
	}
	_, err = parseMetadata(data)
	return data, err
}
