package yum

import (
	"errors"
	"fmt"
	"io"
	"iter"
	"path"
	"slices"
	"strings"

	"granary/digest"
	"granary/formats"
)

var _ formats.Ledger = (*Format)(nil)

// Entered is true for packages, which lie anywhere below a root.
func (*Format) Entered(op formats.Op) bool {
	return op.Kind == formats.File && op.Label == labelPackage
}

// Index is primary in a form that can be read from its beginning to its end.
func (*Format) Index(scope, at string) bool {
	name, ext := path.Base(at), ""
	if !strings.HasSuffix(name, ".xml") {
		ext = path.Ext(name)
		name = strings.TrimSuffix(name, ext)
	}
	return path.Base(scope) == repodata && (name == "primary.xml" || strings.HasSuffix(name, "-primary.xml")) &&
		slices.Contains([]string{"", ".gz", ".xz", ".zst", ".bz2"}, ext)
}

// promised is what a ledger needs of a package's element.
type promised struct {
	Checksum struct {
		Type  string `xml:"type,attr"`
		Value string `xml:",chardata"`
	} `xml:"checksum"`
	Location xmlLocation `xml:"location"`
}

// Promises reads the paths and digests of primary. Packages that lie elsewhere,
// or whose digest is of another kind, are left out.
func (*Format) Promises(scope string, document io.Reader) iter.Seq2[formats.Promise, error] {
	return func(yield func(formats.Promise, error) bool) {
		fail := func(err error) {
			yield(formats.Promise{}, fmt.Errorf("%w: primary: %s", formats.ErrUpstream, err.Error()))
		}
		plain, err := formats.Sniffed(document)
		if err != nil {
			fail(err)
			return
		}
		defer plain.Close() //nolint:errcheck // only read
		packages := newElements(&opened{Reader: formats.Limit(plain, maxMetadata, "metadata"), name: "primary"})
		for {
			var x promised
			err := packages.next(&x)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				fail(err)
				return
			}
			sum, err := digest.ParseHex(digest.SHA256, strings.TrimSpace(x.Checksum.Value))
			at, ok := x.Location.under(dirOf(scope))
			if err != nil || x.Checksum.Type != "sha256" || !ok {
				continue
			}
			if !yield(formats.Promise{Path: at, SHA256: sum}, nil) {
				return
			}
		}
	}
}
