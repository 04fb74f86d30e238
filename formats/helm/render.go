package helm

import (
	"bufio"
	"context"
	"encoding/hex"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"granary/formats"
)

// Renderer names what Render writes.
func (Format) Renderer() string { return "helm1" }

// entry is a version in the index.
type entry struct {
	piece
	rec formats.Record
}

// Render writes index.yaml: charts by name, their versions from the newest on.
func (Format) Render(_ context.Context, _ string, recs iter.Seq2[formats.Record, error], pub formats.Pub) error {
	charts, newest, err := collect(recs, func(string) bool { return true })
	if err != nil {
		return err
	}
	w, err := pub.Create(indexPath, typeIndex)
	if err != nil {
		return err
	}
	buf := bufio.NewWriterSize(w, 64<<10)
	print := func(parts ...string) {
		for _, p := range parts {
			buf.WriteString(p) //nolint:errcheck // Flush tells
		}
	}
	print("apiVersion: v1\n")
	if len(charts) == 0 {
		print("entries: {}\n")
	} else {
		print("entries:\n")
	}
	for _, name := range slices.Sorted(maps.Keys(charts)) {
		print("  ", quoted(name), ":\n")
		for _, e := range charts[name] {
			print("  - ")
			buf.Write(e.lines[len(indent):]) //nolint:errcheck // Flush tells
			print(e.ending())
		}
	}
	print("generated: \"", newest.Format(time.RFC3339Nano), "\"\n")
	return buf.Flush()
}

// collect reads the charts that want says yes to, each with its versions from
// the newest on, and the time of the newest of all.
func collect(recs iter.Seq2[formats.Record, error], want func(name string) bool) (map[string][]entry, time.Time, error) {
	charts, newest := map[string][]entry{}, time.Time{}
	for rec, err := range recs {
		if err != nil {
			return nil, newest, err
		}
		if !strings.HasSuffix(rec.Name, chartExt) {
			continue
		}
		p, err := readPiece(rec)
		if err != nil {
			return nil, newest, err
		}
		if !want(p.name) || !p.own && !p.sound() {
			continue
		}
		charts[p.name] = append(charts[p.name], entry{p, rec})
		if rec.Time.After(newest) {
			newest = rec.Time
		}
	}
	for _, versions := range charts {
		slices.SortStableFunc(versions, func(a, b entry) int { return compare(b.version, a.version) })
	}
	return charts, newest, nil
}

// ending are the lines that only the whole index knows.
func (e entry) ending() string {
	var b strings.Builder
	if !e.rec.Time.IsZero() {
		b.WriteString(indent + "created: \"" + e.rec.Time.Format(time.RFC3339Nano) + "\"\n")
	}
	if sum := e.rec.Sums.SHA256; len(sum) > 0 {
		b.WriteString(indent + "digest: " + hex.EncodeToString(sum) + "\n")
	}
	b.WriteString(indent + "urls:\n" + indent + "- " + quoted(e.location()) + "\n")
	return b.String()
}

// location is where clients get the chart: here, but for what lies in an OCI
// registry.
func (e entry) location() string {
	if strings.HasPrefix(e.rec.URL, "oci://") {
		return e.rec.URL
	}
	return e.rec.Name
}

// quoted writes a name as YAML, without quotes where it can't be taken for
// anything but a text.
func quoted(s string) string {
	switch strings.ToLower(s) {
	case "", "null", "true", "false", "yes", "no", "on", "off", "y", "n":
		return strconv.QuoteToASCII(s)
	}
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' && c != '+') {
			return strconv.QuoteToASCII(s)
		}
	}
	return s
}
