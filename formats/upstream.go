package formats

import (
	"context"
	"net/http"

	"granary/digest"
)

// Asker is implemented by formats whose requests to an upstream are more than
// a path below its base.
type Asker interface {
	// Ask returns the path to ask for in the place of path, that of an [Op] or
	// a [Source], and headers, at the upstream with a base URL.
	Ask(base, path string) (string, http.Header)
}

// Pointer is implemented by formats with files whose name stands for content
// that has another, fixed name: a tag for a manifest that is named by its
// digest. A cache asks for such a file by HEAD, which upstreams don't count as a
// download, takes the content by its fixed name, and keeps both.
type Pointer interface {
	// Points tells whether op, a File, is such a name.
	Points(op Op) bool
	// Target returns the file with the fixed name, from the header of the
	// upstream's answer or, if that does not tell and the content was fetched
	// under the name that points, from its digests. The other one is zero.
	Target(op Op, header http.Header, sums digest.Sums) (Op, bool)
}

// Paged is implemented by sources that remember what an upstream said follows
// a document (RFC 8288, rel="next").
type Paged interface {
	// Next returns what to Open after the document at path, "" if it was the
	// last.
	Next(ctx context.Context, path string) (string, error)
}

// NextPage asks src; "" where it does not know.
func NextPage(ctx context.Context, src Source, path string) (string, error) {
	if p, ok := src.(Paged); ok {
		return p.Next(ctx, path)
	}
	return "", nil
}
