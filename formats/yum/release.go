package yum

import (
	"context"
	"io"
	"path"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"

	"granary/formats"
)

var (
	_ formats.Releaser = (*Format)(nil)
	_ formats.Placer   = (*Format)(nil)

	_ formats.Describer = (*Format)(nil)
)

// Release reads name and "<version>-<release>", without epoch and architecture,
// of a package in the custom name of its file,
// "<name>-<version>-<release>.<architecture>.rpm", or of its pointers.
func (*Format) Release(scope, name string) (pkg, version string) {
	if pkg, evra, _, ok := packageOf(name); ok && path.Base(scope) == repodata {
		evra, _, _ = strings.Cut(evra, ",") // pieces are of the same package
		_, evra, _ = strings.Cut(evra, ":")
		return pkg, withoutArch(evra)
	}
	nvra, ok := strings.CutSuffix(name, ".rpm")
	if !ok {
		return "", ""
	}
	nvr := withoutArch(nvra)
	at := strings.LastIndexByte(nvr, '-')
	if at > 0 {
		at = strings.LastIndexByte(nvr[:at], '-')
	}
	if at <= 0 {
		return "", ""
	}
	return nvr[:at], nvr[at+1:]
}

// withoutArch cuts the last word, which is all that has no point in it.
func withoutArch(s string) string {
	if at := strings.LastIndexByte(s, '.'); at >= 0 {
		return s[:at]
	}
	return s
}

// ClaimScope is the root's metadata: it leads to packages, and by the metadata of
// a group nobody gets to one of a name that is claimed.
func (*Format) ClaimScope(scope string) string {
	if path.Base(scope) == repodata {
		return scope
	}
	return ""
}

// Aged is true for packages and for what lists them.
func (*Format) Aged(string, string) bool { return true }

// Published is when the upstream's file was last modified: mirrors keep the time
// at which the distribution got it. Of what is listed the metadata tells it (see
// published); to ask for each file would take too long.
func (*Format) Published(ctx context.Context, rec formats.Record, src formats.Source) (time.Time, error) {
	if path.Base(rec.Scope) == repodata {
		return time.Time{}, nil
	}
	at := rec.Path
	if at == "" {
		at = rec.Key()
	}
	return formats.Modified(ctx, src, at)
}

// Describe keeps what a package calls itself where its file is called otherwise.
func (*Format) Describe(op formats.Op, b formats.Blob) ([]byte, error) {
	if op.Label != labelPackage {
		return nil, nil
	}
	h, err := readHeaders(io.NewSectionReader(formats.ReadAhead(b), 0, b.Size()))
	if err != nil {
		return nil, err
	}
	p, err := h.describe()
	if err != nil || p.fileName() == op.Name {
		return nil, err
	}
	return cbor.Marshal(stored{Of: p.pointerName()})
}

// Described is the custom name of a package's file.
func (*Format) Described(rec formats.Record) string {
	if !isPackage(rec.Name) || path.Base(rec.Scope) == repodata || rec.Meta == nil {
		return ""
	}
	var s stored
	if err := cbor.Unmarshal(rec.Meta, &s); err != nil {
		return ""
	}
	pkg, evra, _, ok := packageOf(s.Name + s.Of)
	_, vra, found := strings.Cut(evra, ":")
	if !ok || !found {
		return ""
	}
	return pkg + "-" + vra + ".rpm"
}
