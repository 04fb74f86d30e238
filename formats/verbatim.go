package formats

import (
	"context"
	"io"
	"iter"
	"time"

	"granary/digest"
)

// Ledger is implemented by formats whose upstream indexes promise the digests of
// files that lie elsewhere: the path of such a file does not tell which index
// names it. A cache looks in those that it has passed on.
type Ledger interface {
	// Entered tells whether op is a file that an index names.
	Entered(op Op) bool
	// Index tells whether an upstream's document of a scope may be such an
	// index. It may say so of one that is none.
	Index(scope, path string) bool
	// Promises yields what a document of a scope promises, and one error, last.
	// A document that is no index promises nothing.
	Promises(scope string, document io.Reader) iter.Seq2[Promise, error]
}

// Promise is what an index says of a file.
type Promise struct {
	Path   string // of a file, below the upstream's base
	SHA256 []byte
}

// Verbatim is implemented by an [Indexer] whose upstream documents are signed:
// a cache passes them on byte by byte instead of rendering its own.
type Verbatim interface {
	// Verbatim names the upstream document of a Doc. entry: it is asked for
	// again when it is due. Otherwise the scope's entry document says, by
	// Listed, which bytes it has, so that documents of two generations are never
	// mixed; a document that op names by digest needs neither.
	Verbatim(op Op) (path string, entry, ok bool)
	// Listed reads from the scope's entry document the digest of a document,
	// and another path that has these very bytes, "" for none. ErrNotFound if it
	// does not list it.
	Listed(ctx context.Context, op Op, src Source) (sums digest.Sums, fixed string, err error)
}

// Mirrored is implemented by formats whose upstream_url may be that of a list of
// mirrors in the place of the upstream's own.
type Mirrored interface {
	// Lists tells whether a URL is that of such a list.
	Lists(upstreamURL string) bool
	// Mirrors reads a list: base URLs in the order in which to try them, and the
	// digests of those documents, by path, whose digests it tells. What can't be
	// read is an ErrUpstream.
	Mirrors(list []byte) (bases []string, sums map[string]digest.Sums, err error)
}

// Companion is implemented by a [Verbatim] format with documents that go with
// the very bytes of another, such as a signature of it.
type Companion interface {
	// Companions returns the paths of those of a scope, and of the document that
	// they go with, an entry one for [Verbatim]; none without. A cache fetches
	// them whenever that document has changed, and not otherwise.
	Companions(scope string) (of string, paths []string)
}

// Attested is implemented by formats whose upstreams sign documents with
// OpenPGP, so that a cache that was given their keys can verify them.
type Attested interface {
	// Attestation tells how an upstream's document of a scope is signed: within
	// itself (signature is ""), or by another document. ok is false for one that
	// is not.
	Attestation(scope, path string) (signature string, ok bool)
	// Valid reads from the text of such a document when it was made and until
	// when it is good, the zero time for what it does not say.
	Valid(text []byte) (made, until time.Time)
}
