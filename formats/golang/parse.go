package golang

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"iter"
	"strings"

	"golang.org/x/mod/module"

	"granary/formats"
)

// Limits of a version list.
const (
	maxList     = 16 << 20 // bytes
	maxVersions = 200_000
)

// Entry is the version list, or @latest.
func (*Format) Entry(scope string) string {
	switch {
	case strings.HasSuffix(scope, versions):
		return scope + "/" + listDoc
	case strings.HasSuffix(scope, latest):
		return scope
	}
	return ""
}

// Parse reads the version list of an upstream into a record per zip, or its
// @latest into one pointer.
func (f *Format) Parse(ctx context.Context, scope string, src formats.Source) iter.Seq2[formats.Record, error] {
	return formats.EntryRecords(ctx, src, f.Entry(scope), func(r io.Reader) ([]formats.Record, error) {
		if strings.HasSuffix(scope, latest) {
			rec, err := parseLatest(scope, r)
			if err != nil {
				return nil, err
			}
			return []formats.Record{rec}, nil
		}
		name, err := module.UnescapePath(strings.TrimSuffix(scope, versions))
		if err != nil {
			return nil, formats.BadRequest("%v", err)
		}
		return parseList(scope, name, r)
	})
}

func parseLatest(scope string, r io.Reader) (formats.Record, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxInfo+1))
	if err != nil {
		return formats.Record{}, err
	}
	i, err := parseInfo(data)
	if err != nil {
		return formats.Record{}, formats.Unusable(scope, "%v", err)
	}
	meta, err := i.encode()
	if err != nil {
		return formats.Record{}, formats.Unusable(scope, "%v", err)
	}
	base, err := module.EscapeVersion(i.Version)
	if err != nil {
		return formats.Record{}, formats.Unusable(scope, "%v", err)
	}
	return formats.Record{Scope: scope, Name: ":" + base, Move: true, Meta: meta}, nil
}

// parseList reads a line per version: the version, and perhaps its time. Like
// the go command it takes the lines that are versions of the module and passes
// over others, but a page of HTML, which a proxy or portal in between may have
// written, is no list.
func parseList(scope, name string, r io.Reader) ([]formats.Record, error) {
	path := scope + "/" + listDoc
	limited := formats.Limit(r, maxList, "version list")
	lines := bufio.NewScanner(limited)
	var recs []formats.Record
	for first := true; lines.Scan(); {
		line := bytes.TrimSpace(lines.Bytes())
		if first && bytes.HasPrefix(line, []byte("<")) {
			return nil, formats.Unusable(path, "this is HTML, no list of versions")
		}
		first = first && len(line) == 0
		version := string(line)
		if i := strings.IndexAny(version, " \t"); i >= 0 {
			version = version[:i]
		}
		if !canonical(name, version) || module.IsPseudoVersion(version) {
			continue
		}
		base, err := module.EscapeVersion(version)
		if err != nil {
			continue
		}
		if len(recs) == maxVersions {
			return nil, formats.Unusable(path, "more than %d versions", maxVersions)
		}
		recs = append(recs, formats.Record{Scope: scope, Name: base + "." + labelZip, Type: typeZip})
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, formats.Unusable(path, "%v", err)
	case err != nil:
		return nil, err
	}
	return recs, nil
}
