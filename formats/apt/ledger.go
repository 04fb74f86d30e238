package apt

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"strings"

	"granary/digest"
	"granary/formats"
)

var _ formats.Ledger = (*Format)(nil)

// Entered is what lies in a pool, or beside the indexes of a flat repository.
func (*Format) Entered(op formats.Op) bool {
	return op.Kind == formats.File && op.Label == labelPackage
}

// Index is Packages or Sources in any form, also by digest, where the name is
// not told: but for Release files only they lie in these directories.
func (*Format) Index(scope, at string) bool {
	if dir, _, byHash := strings.Cut(strings.TrimPrefix(at, base(scope)), "/by-hash/"); byHash {
		last := path.Base(dir)
		return strings.HasPrefix(scope, flat) || last == "source" || strings.HasPrefix(last, "binary-")
	}
	name, form, packed := strings.Cut(path.Base(at), ".")
	return (name == "Packages" || name == "Sources") && (!packed || rank("."+form) >= 0)
}

// Promises reads the paths and digests of an index.
func (*Format) Promises(_ string, document io.Reader) iter.Seq2[formats.Promise, error] {
	return func(yield func(formats.Promise, error) bool) {
		plain, err := formats.Sniffed(document)
		if err != nil {
			yield(formats.Promise{}, fmt.Errorf("%w: index: %w", formats.ErrUpstream, err))
			return
		}
		defer plain.Close() //nolint:errcheck // only read
		ps := newParagraphs(formats.Limit(plain, maxIndex, "index"))
		for {
			p, err := ps.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				yield(formats.Promise{}, fmt.Errorf("%w: index: %s", formats.ErrUpstream, err.Error()))
				return
			}
			if p.get("Package") == "" {
				return // another kind of document
			}
			for e := range p.promises() {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// promises are the files that a stanza names with a SHA-256.
func (p paragraph) promises() iter.Seq[formats.Promise] {
	return func(yield func(formats.Promise) bool) {
		if file := p.get("Filename"); file != "" {
			if sum, err := digest.ParseHex(digest.SHA256, p.get("SHA256")); err == nil {
				yield(formats.Promise{Path: path.Clean(file), SHA256: sum})
			}
			return
		}
		for line := range strings.Lines(p.get("Checksums-Sha256")) {
			words := strings.Fields(line)
			if len(words) != 3 {
				continue
			}
			sum, err := digest.ParseHex(digest.SHA256, words[0])
			if err == nil && !yield(formats.Promise{Path: path.Join(p.get("Directory"), words[2]), SHA256: sum}) {
				return
			}
		}
	}
}
