package yum

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"granary/digest"
	"granary/formats"
)

// Entry is repomd.xml.
func (*Format) Entry(scope string) string {
	if path.Base(scope) != repodata {
		return ""
	}
	return scope + "/" + repomd
}

// Verbatim passes on all metadata, and the public key.
func (*Format) Verbatim(op formats.Op) (at string, entry, ok bool) {
	if op.Scope == keys {
		return repodata + "/" + op.Path, true, true
	}
	return op.Scope + "/" + op.Path, op.Label == labelEntry, true
}

// Companions are the signature of repomd.xml and the key to it.
func (f *Format) Companions(scope string) (of string, paths []string) {
	if path.Base(scope) != repodata {
		return "", nil
	}
	return f.Entry(scope), []string{scope + "/" + repomdSig, scope + "/" + repomdKey}
}

// Listed looks a document up in repomd.xml, also by its name without the digest
// that it begins with.
func (*Format) Listed(ctx context.Context, op formats.Op, src formats.Source) (digest.Sums, string, error) {
	list, err := readRepomd(ctx, op.Scope, src)
	if err != nil {
		return digest.Sums{}, "", err
	}
	at := slices.IndexFunc(list, func(d upstreamData) bool {
		name, ok := strings.CutPrefix(d.Location.Href, repodata+"/")
		return ok && (name == op.Path || strings.HasSuffix(name, "-"+op.Path))
	})
	if at < 0 {
		return digest.Sums{}, "", fmt.Errorf("%s/%s is not in the upstream's repomd.xml: %w", op.Scope, op.Path, formats.ErrNotFound)
	}
	sums, err := list[at].sums()
	return sums, formats.Join(dirOf(op.Scope), list[at].Location.Href), err
}

// Verifies looks at packages.
func (*Format) Verifies(op formats.Op) bool { return op.Label == labelPackage }

// Verify holds a package against the digests that it carries itself: what an
// upstream broke off or damaged is not kept.
func (*Format) Verify(_ context.Context, op formats.Op, b formats.Blob, _ formats.Source) error {
	if op.Label != labelPackage {
		return nil
	}
	return verify(b)
}
