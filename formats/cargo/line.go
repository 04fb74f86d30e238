package cargo

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"granary/formats"
)

// line is a version as the index tells it. The order is that of the public
// index.
type line struct {
	Name        string              `json:"name"`
	Version     string              `json:"vers"`
	Deps        []dependency        `json:"deps"`
	Checksum    string              `json:"cksum"` // SHA-256 in hex
	Features    map[string][]string `json:"features"`
	Features2   map[string][]string `json:"features2,omitempty"`
	Yanked      bool                `json:"yanked"`
	Links       *string             `json:"links"`
	Schema      int                 `json:"v,omitempty"`
	RustVersion *string             `json:"rust_version,omitempty"`
	Published   string              `json:"pubtime,omitempty"`
}

// dependency is one of a version, in the form of the index.
type dependency struct {
	Name            string   `json:"name"`
	Req             string   `json:"req"`
	Features        []string `json:"features"`
	Optional        bool     `json:"optional"`
	DefaultFeatures bool     `json:"default_features"`
	Target          *string  `json:"target"`
	Kind            string   `json:"kind"`
	Registry        *string  `json:"registry,omitempty"`
	Package         *string  `json:"package,omitempty"`
}

// brief is what this package needs to know of any line, its own or an
// upstream's.
type brief struct {
	Name     string `json:"name"`
	Version  string `json:"vers"`
	Checksum string `json:"cksum"`
	Yanked   bool   `json:"yanked"`
	PubTime  string `json:"pubtime"`
}

// published is when the version was, zero if the line does not tell.
func (b brief) published() time.Time {
	t, err := time.Parse(time.RFC3339, b.PubTime)
	if err != nil {
		return time.Time{}
	}
	return t.UTC()
}

// read reads a pointer.
func read(rec formats.Record) (brief, error) {
	var b brief
	if err := json.Unmarshal(rec.Meta, &b); err != nil {
		return b, fmt.Errorf("%w: pointer %s: %w", formats.ErrCorrupt, rec.Key(), err)
	}
	return b, nil
}

// newLine makes the line of a version that is published now.
func newLine(m *metadata, checksum string, now time.Time) line {
	l := line{
		Name: m.Name, Version: m.Version, Checksum: checksum, Links: m.Links, RustVersion: m.RustVersion,
		Deps: make([]dependency, 0, len(m.Deps)), Features: map[string][]string{},
		Published: now.UTC().Truncate(time.Second).Format(time.RFC3339),
	}
	for _, d := range m.Deps {
		l.Deps = append(l.Deps, d.indexed())
	}
	for name, values := range m.Features {
		// Cargo before 1.60 would not read a line with these; it passes over
		// features2.
		if hasNewSyntax(values) {
			if l.Features2 == nil {
				l.Features2 = map[string][]string{}
			}
			l.Features2[name], l.Schema = values, 2
			continue
		}
		l.Features[name] = values
	}
	return l
}

func hasNewSyntax(values []string) bool {
	for _, v := range values {
		if strings.HasPrefix(v, "dep:") || strings.Contains(v, "?/") {
			return true
		}
	}
	return false
}

// pointer is the record that has the line.
func (l line) pointer() (formats.Record, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(l); err != nil {
		return formats.Record{}, fmt.Errorf("write the index line of %s %s: %w", l.Name, l.Version, err)
	}
	return formats.Record{
		Scope: scopeOf(l.Name), Name: pointerName(l.Version), Move: true, Meta: bytes.TrimRight(buf.Bytes(), "\n"),
	}, nil
}
