package helm

import (
	"bytes"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"granary/formats"
)

// maxFragment is what an index may say of one version, in bytes.
const maxFragment = 128 << 10

// indent is what the lines of a version in the index begin with.
const indent = "    "

// piece is a version's part of an index, the Meta of its record: a line with
// name, version and origin, then the lines of its mapping as the index has
// them, all indented, without those that only the whole index knows: created,
// digest and urls.
type piece struct {
	name, version string
	// own: the lines were written here. Others come from an upstream as they
	// are, and are looked at before they go into an index.
	own   bool
	lines []byte
}

// pieceOf makes the piece of a chart.
func pieceOf(c *chart) (piece, error) {
	var buf bytes.Buffer
	e := yaml.NewEncoder(&buf)
	e.SetIndent(2)
	if err := e.Encode(c); err != nil {
		return piece{}, bad("Chart.yaml: %v", err)
	}
	p := piece{name: string(c.Name), version: string(c.Version), own: true}
	for line := range bytes.Lines(buf.Bytes()) {
		p.lines = append(append(p.lines, indent...), line...)
	}
	if len(p.lines) > maxFragment {
		return p, bad("Chart.yaml has %d bytes for the index, at most %d are possible", len(p.lines), maxFragment)
	}
	return p, nil
}

const (
	markOwn     = "own"
	markForeign = "foreign"
)

func (p piece) meta() []byte {
	mark := markForeign
	if p.own {
		mark = markOwn
	}
	b := make([]byte, 0, len(p.name)+len(p.version)+len(mark)+3+len(p.lines))
	b = fmt.Appendf(b, "%s %s %s\n", p.name, p.version, mark)
	return append(b, p.lines...)
}

// record is that of the chart's file.
func (p piece) record() formats.Record {
	return formats.Record{Name: fileName(p.name, p.version), Type: typeChart, Meta: p.meta()}
}

// readPiece reads a Meta.
func readPiece(rec formats.Record) (piece, error) {
	head, lines, _ := bytes.Cut(rec.Meta, []byte("\n"))
	f := strings.Fields(string(head))
	if len(f) != 3 || len(lines) < len(indent) {
		return piece{}, fmt.Errorf("%w: chart %s has no part in the index", formats.ErrCorrupt, rec.Name)
	}
	return piece{name: f[0], version: f[1], own: f[2] == markOwn, lines: lines}, nil
}

// values are the lines as a client reads them.
func (p piece) values() (map[string]any, error) {
	var v map[string]any
	if err := formats.UnmarshalYAML(p.lines, &v); err != nil {
		return nil, fmt.Errorf("chart %s %s: %w", p.name, p.version, err)
	}
	return v, nil
}

// sound tells whether the lines of an upstream can stand in an index: they are
// one mapping, of the chart that they should be, without what is added to them.
// Anything else could make the whole index unreadable.
func (p piece) sound() bool {
	v, err := p.values()
	if err != nil || fmt.Sprint(v["name"]) != p.name || fmt.Sprint(v["version"]) != p.version {
		return false
	}
	for _, key := range [...]string{"created", "digest", "urls"} {
		if _, ok := v[key]; ok {
			return false
		}
	}
	return true
}
