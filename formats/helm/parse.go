package helm

import (
	"context"
	"encoding/hex"
	"errors"
	"io"
	"iter"
	"net/url"
	"strings"
	"time"

	"granary/digest"
	"granary/formats"
)

// Limits of an upstream's index.
const (
	maxIndex    = 128 << 20 // bytes
	maxVersions = 500_000
)

// Entry is the index; charts are in no other scope.
func (Format) Entry(scope string) string {
	if scope != "" {
		return ""
	}
	return indexPath
}

// Promised is true for charts and their provenance: the index says where they
// are, and has the digests of charts.
func (Format) Promised(op formats.Op) bool { return op.Label == labelChart || op.Label == labelProv }

// Parse reads the index of an upstream.
func (f Format) Parse(ctx context.Context, scope string, src formats.Source) iter.Seq2[formats.Record, error] {
	return formats.EntryRecords(ctx, src, f.Entry(scope), func(r io.Reader) ([]formats.Record, error) {
		index, err := io.ReadAll(formats.Limit(r, maxIndex, "index"))
		if err != nil {
			return nil, err
		}
		return parseIndex(index)
	})
}

// parseIndex makes the records of an index: a chart each, and the provenance
// that may lie beside it.
func parseIndex(index []byte) ([]formats.Record, error) {
	var recs []formats.Record
	take := func(v found) bool {
		if rec, ok := v.record(); ok {
			recs = append(recs, rec, provenanceOf(rec))
		}
		return len(recs) <= 2*maxVersions
	}
	err := scan(index, take)
	if errors.Is(err, errStyle) {
		recs = nil
		err = parseWhole(index, take)
	}
	if err != nil {
		return nil, formats.Unusable(indexPath, "%v", err)
	}
	if len(recs) > 2*maxVersions {
		return nil, formats.Unusable(indexPath, "more than %d versions", maxVersions)
	}
	return recs, nil
}

// record is that of the chart's file, false if there is none to be had.
func (v found) record() (formats.Record, bool) {
	if v.url == "" || len(v.lines) > maxFragment {
		return formats.Record{}, false
	}
	rec := v.piece.record()
	rec.URL = v.url
	if sum, err := hex.DecodeString(strings.TrimPrefix(v.digest, "sha256:")); err == nil && len(sum) == digest.SHA256.Size() {
		rec.Sums.SHA256 = sum
	}
	if t, err := time.Parse(time.RFC3339Nano, v.created); err == nil {
		rec.Time = t.UTC()
	}
	return rec, true
}

func provenanceOf(chart formats.Record) formats.Record {
	rec := formats.Record{Name: chart.Name + provExt, Type: typeProv, URL: chart.URL + provExt, Time: chart.Time}
	if u, err := url.Parse(chart.URL); err == nil && u.RawQuery != "" {
		u.Path += provExt
		u.RawPath = ""
		rec.URL = u.String()
	}
	return rec
}
