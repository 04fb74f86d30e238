package cargo

import (
	"bufio"
	"context"
	"encoding/hex"
	"fmt"
	"iter"
	"slices"
	"strings"

	"granary/formats"
)

// Renderer names what Render writes.
func (*Format) Renderer() string { return "cargo1" }

// version is one that the index may have.
type version struct {
	brief
	text []byte
}

// Render writes the crate's file in the index: a line per version, in their
// order. A version without its crate, or with another, is left out.
func (*Format) Render(_ context.Context, scope string, recs iter.Seq2[formats.Record, error], pub formats.Pub) error {
	versions, _, err := collect(recs)
	if err != nil {
		return err
	}
	if len(versions) == 0 {
		return fmt.Errorf("%s: %w", scope, formats.ErrNotFound)
	}
	w, err := pub.Create(indexDoc, typeIndex)
	if err != nil {
		return err
	}
	buf := bufio.NewWriter(w)
	for _, v := range versions {
		buf.Write(v.text)   //nolint:errcheck // Flush tells
		buf.WriteByte('\n') //nolint:errcheck // Flush tells
	}
	return buf.Flush()
}

// collect reads the records of a crate: its versions in order, and the files by
// their names.
func collect(recs iter.Seq2[formats.Record, error]) ([]version, map[string]formats.Record, error) {
	var versions []version
	files := map[string]formats.Record{}
	for rec, err := range recs {
		if err != nil {
			return nil, nil, err
		}
		if !strings.HasPrefix(rec.Name, ":") {
			files[rec.Name] = rec
			continue
		}
		b, err := read(rec)
		if err != nil {
			return nil, nil, err
		}
		versions = append(versions, version{b, rec.Meta})
	}
	versions = slices.DeleteFunc(versions, func(v version) bool {
		file, ok := files[fileName(v.Name, v.Version)]
		return !ok || hex.EncodeToString(file.Sums.SHA256) != strings.ToLower(v.Checksum)
	})
	slices.SortFunc(versions, func(a, b version) int { return compare(a.Version, b.Version) })
	return versions, files, nil
}
