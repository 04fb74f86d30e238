package formats

import (
	"io"
	"time"

	"granary/digest"
)

// Pub receives the documents of one publication. It becomes visible as a
// whole, or not at all.
type Pub interface {
	// Create begins a document and ends the one before it. BLAKE3 and SHA-256
	// are computed, and what else is asked.
	Create(path, contentType string, also ...digest.Algorithm) (io.Writer, error)
	// URL returns a stand-in for the absolute URL of a path in the
	// repository; it is replaced when the document is sent.
	URL(path string) string
	// Document ends the document being written and returns the one created at
	// path, of which others are made: its digests are listed, its bytes
	// compressed or signed. It is read before Render returns.
	Document(path string) (Document, error)
	// Compressor compresses what is written to it into form, ".gz" or ".xz", and
	// writes that to w. Close ends it and leaves w open. What is mostly the same
	// as what was compressed before costs little.
	Compressor(w io.Writer, form string) (io.WriteCloser, error)
	// Link serves the bytes of the document created at path under another
	// path too, which is named by a digest.
	Link(path, other string) error
	// Scratch begins bytes that are no document but that documents are made of.
	// Several may be written at once, beside a document too. They are dropped
	// when Render returns.
	Scratch() (Scratch, error)
	// Date returns the date, in whole seconds, of documents that say when they
	// were made: now, or later where a publication of the scope has a later date
	// already. Clients don't go back to a document that is older.
	Date(now time.Time) (time.Time, error)
	// Signer returns the keys that the repository signs with.
	Signer() (Signer, error)
	// Settings returns what the repository is set to; other settings make
	// another publication.
	Settings() Settings
}

// Settings are those settings of a repository that change what its documents
// say. The zero value is the default.
type Settings struct {
	Architectures []string      // apt: listed beside those that were uploaded
	Components    []string      // apt: likewise
	ValidFor      time.Duration // apt: Release files expire after it; 0: never
	SQLite        bool          // yum: databases beside the XML
	Zstd          bool          // yum: documents are compressed with zstd instead of gzip
	RepodataDepth int           // yum: of the directories that packages are in, those that have metadata of their own
}

// Document is one document of the publication being rendered.
type Document interface {
	Size() int64
	Sums() digest.Sums
	// Open reads it from its beginning.
	Open() (io.ReadCloser, error)
}

// Scratch is bytes that a rendering keeps for itself, in bounded memory.
type Scratch interface {
	io.Writer
	// Done ends them; they can be read from then on.
	Done() (Document, error)
}

// Signer signs the documents of a repository (RFC 9580). While keys are being
// rotated there are several, and what is signed carries a signature of each. A
// signature that can't be made is an error: nothing is published unsigned.
type Signer interface {
	// Clear returns text with its signature around it (cleartext signature
	// framework).
	Clear(text []byte) ([]byte, error)
	// Detached returns an armored signature of data.
	Detached(data io.Reader) ([]byte, error)
	// Public returns the public keys, armored or binary.
	Public(armored bool) ([]byte, error)
	// Fingerprints returns those of the keys in upper-case hex, the one in
	// force first.
	Fingerprints() []string
}
