package pypi

import (
	"bufio"
	"context"
	"errors"
	"io"
	"iter"
	"strings"

	"granary/digest"
	"granary/formats"
)

// Limits of an upstream's page.
const (
	maxPage     = 256 << 20 // bytes
	maxFiles    = 100_000
	maxProjects = 5_000_000
)

// Entry is the project's page, or the list of projects. The upstream's base is
// that list.
func (*Format) Entry(scope string) string {
	switch {
	case scope == rootScope:
		return "/"
	case strings.HasPrefix(scope, packages):
		return projectOf(scope) + "/"
	}
	return ""
}

// Accepts asks for pages as JSON, which says more.
func (*Format) Accepts(path string) string {
	if strings.HasSuffix(path, "/") {
		return typeJSON + ", " + typeHTML + ";q=0.2, " + mediaText + ";q=0.1"
	}
	return ""
}

// Promised is true for all files: the page of their project says where they are
// and what digest they have.
func (*Format) Promised(op formats.Op) bool { return op.Kind == formats.File }

// Parse reads a page of an upstream.
func (f *Format) Parse(ctx context.Context, scope string, src formats.Source) iter.Seq2[formats.Record, error] {
	return formats.EntryRecords(ctx, src, f.Entry(scope), func(r io.Reader) ([]formats.Record, error) {
		b := bufio.NewReader(formats.Limit(r, maxPage, "page"))
		json, err := isJSON(b)
		switch {
		case err != nil:
			return nil, err
		case scope == rootScope:
			return parseRoot(b, json)
		case json:
			return parseJSON(scope, b)
		default:
			return parseHTML(scope, b)
		}
	})
}

// isJSON looks at the first letter: what an upstream calls its answer is not
// kept.
func isJSON(b *bufio.Reader) (bool, error) {
	for {
		c, err := b.ReadByte()
		switch {
		case errors.Is(err, io.EOF):
			return false, nil
		case err != nil:
			return false, err
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			continue
		}
		return c == '{', b.UnreadByte()
	}
}

// fileRecords are the records of a file of an upstream's page: itself, and its
// metadata and provenance where there are any. A file whose name can't be
// served is left out.
func fileRecords(scope, file, link string, sums digest.Sums, m fileMeta, metadata digest.Sums, provenance string) ([]formats.Record, error) {
	if len(file) > formats.MaxSegment-len(endProvenance) || !fileForm.MatchString(file) || companion(file) || link == "" {
		return nil, nil
	}
	dir := unversioned
	if d, err := parseFile(file, projectOf(scope)); err == nil {
		dir = d.version.String()
		m.Version, m.Kind, m.Python = dir, d.kind, d.python
	}
	name := dir + "/" + file
	if formats.CheckPath(formats.Join(scope, name+endProvenance)) != nil {
		return nil, nil
	}
	link, _, _ = strings.Cut(link, "#")
	var beside []formats.Record
	if m.Metadata == "" && strings.HasSuffix(file, ".whl") && dir != unversioned {
		m.Metadata = unknownDigest // a cache reads it out of the wheel
	} else if m.Metadata != "" {
		// The query of a link, as of one that is signed, goes with the path.
		path, query, signed := strings.Cut(link, "?")
		u := path + endMetadata
		if signed {
			u += "?" + query
		}
		beside = append(beside, formats.Record{Scope: scope, Name: name + endMetadata, URL: u, Sums: metadata, Type: typeMetadata})
	}
	if m.Signed != nil && *m.Signed {
		beside = append(beside, formats.Record{Scope: scope, Name: name + endSignature, URL: link + endSignature, Type: typeSignature})
	}
	if m.Provenance = provenance != ""; m.Provenance {
		beside = append(beside, formats.Record{Scope: scope, Name: name + endProvenance, URL: provenance, Type: typeProvenance})
	}
	meta, err := m.encode()
	if err != nil {
		return nil, formats.Unusable(scope, "%v", err)
	}
	rec := formats.Record{Scope: scope, Name: name, URL: link, Sums: sums, Size: m.Size, Type: mediaType(file), Meta: meta}
	recs := append([]formats.Record{rec}, beside...)
	for i := range recs {
		recs[i].Time = m.Uploaded
	}
	return recs, nil
}

// metadataOf reads what a page says of core metadata: "true", or a digest by its
// algorithm.
func metadataOf(algorithm, sum string) (string, digest.Sums) {
	sums := sumsOf(map[string]string{algorithm: sum})
	if sums.SHA256 != nil {
		return sums.Hex(digest.SHA256), sums
	}
	return unknownDigest, sums
}

// sumsOf takes the digests that granary computes; others and malformed ones are
// passed over.
func sumsOf(hashes map[string]string) digest.Sums {
	var sums digest.Sums
	for _, a := range [...]digest.Algorithm{digest.SHA256, digest.SHA512, digest.SHA1, digest.MD5} {
		if sum, err := digest.ParseHex(a, strings.ToLower(hashes[string(a)])); err == nil && hashes[string(a)] != "" {
			sums.Set(a, sum)
		}
	}
	return sums
}
