package yum

import (
	"context"
	"encoding/hex"
	"errors"
	"path"
	"strings"

	"granary/digest"
	"granary/formats"
)

// repomd.xml and its signature are two requests, between which the next
// generation may be published. A client that is given a list of mirrors takes
// both from one mirror: ours is a root at which nothing ever changes, named by
// the digest of its repomd.xml. See docs/decisions/0041-generations.md.

const (
	generations = "generations"
	mirrorList  = "mirrorlist"
)

// ofGeneration is the name under which repomd.xml and what goes with it stay
// when the next generation is published.
func ofGeneration(sum, name string) string { return sum + "-" + name }

// cutGeneration reads "generations/<SHA-256 of repomd.xml>/<path>".
func cutGeneration(p string) (sum, rest string, ok bool) {
	below, ok := strings.CutPrefix(p, generations+"/")
	if !ok {
		return "", "", false
	}
	sum, rest, ok = strings.Cut(below, "/")
	if _, err := digest.ParseHex(digest.SHA256, sum); err != nil || !ok {
		return "", "", false
	}
	return sum, rest, true
}

// routeGeneration reads a path in the root of a generation. Packages are those
// that are there now.
func routeGeneration(sum, p string) (formats.Op, bool) {
	dir, name := dirOf(p), path.Base(p)
	if path.Base(dir) != repodata {
		return routeFile(formats.File, p)
	}
	op, ok := document(dir, name)
	if op.Label == labelEntry {
		op = pinned(op.Scope, sum, name)
	}
	return op, ok
}

// pinned is repomd.xml, or what goes with it, of a generation.
func pinned(scope, sum, name string) formats.Op {
	return formats.Op{Kind: formats.Doc, Label: labelMetadata, Scope: scope, Path: ofGeneration(sum, name), Fixed: true, Kept: true}
}

// mirrorsOf lists, for the metadata in a scope, the generation in force and,
// for when that is gone, the root itself. A cache has no generations: its
// upstream names them.
func mirrorsOf(ctx context.Context, op formats.Op) (string, error) {
	scope, root := op.Scope, dirOf(op.Scope)
	plain := rootURL(ctx, root) + "\n"
	op, _ = document(scope, repomd)
	entry, err := formats.DocumentOf(ctx, op)
	if errors.Is(err, formats.ErrNotFound) {
		return plain, nil
	}
	if err != nil {
		return "", err
	}
	sum := hex.EncodeToString(entry.Sums.SHA256)
	_, err = formats.DocumentOf(ctx, pinned(scope, sum, repomd))
	switch {
	case errors.Is(err, formats.ErrNotFound):
		return plain, nil
	case err != nil:
		return "", err
	}
	return rootURL(ctx, strings.TrimSuffix(generations+"/"+sum+"/"+root, "/")) + "\n" + plain, nil
}
