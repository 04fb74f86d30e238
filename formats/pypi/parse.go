package pypi

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
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
		return typeJSON + ", " + typeHTML + ";q=0.2, " + typeText + ";q=0.1"
	}
	return ""
}

// Promised is true for all files: the page of their project says where they are
// and what digest they have.
func (*Format) Promised(op formats.Op) bool { return op.Kind == formats.File }

// Parse reads a page of an upstream.
func (f *Format) Parse(ctx context.Context, scope string, src formats.Source) iter.Seq2[formats.Record, error] {
	return func(yield func(formats.Record, error) bool) {
		recs, err := f.parse(ctx, scope, src)
		for _, r := range recs {
			if !yield(r, nil) {
				return
			}
		}
		if err != nil {
			yield(formats.Record{}, err)
		}
	}
}

func (f *Format) parse(ctx context.Context, scope string, src formats.Source) ([]formats.Record, error) {
	entry := f.Entry(scope)
	if entry == "" {
		return nil, nil
	}
	r, err := src.Open(ctx, entry, digest.Sums{})
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // only read
	b := bufio.NewReader(formats.Limit(r, maxPage, "page"))
	json, err := isJSON(b)
	if err != nil {
		return nil, err
	}
	var recs []formats.Record
	switch {
	case scope == rootScope:
		recs, err = parseRoot(b, json)
	case json:
		recs, err = parseJSON(scope, b)
	default:
		recs, err = parseHTML(scope, b)
	}
	if errors.Is(err, formats.ErrTooLarge) {
		err = unusable(entry, "%v", err)
	}
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(recs, func(a, b formats.Record) int { return cmp.Compare(a.Name, b.Name) })
	return slices.CompactFunc(recs, func(a, b formats.Record) bool { return a.Name == b.Name }), nil
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

// unusable is an answer of an upstream that is no page.
func unusable(path, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", formats.ErrUpstream, path, fmt.Sprintf(format, args...))
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
		return nil, unusable(scope, "%v", err)
	}
	rec := formats.Record{Scope: scope, Name: name, URL: link, Sums: sums, Size: m.Size, Type: mediaType(file), Meta: meta}
	return append([]formats.Record{rec}, beside...), nil
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
