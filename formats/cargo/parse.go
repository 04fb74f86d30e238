package cargo

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"strings"

	"granary/digest"
	"granary/formats"
)

// Limits of an upstream's documents.
const (
	maxConfig   = 64 << 10 // bytes of config.json
	maxIndex    = 64 << 20 // bytes of a crate's index
	maxLine     = 4 << 20  // bytes of one version there
	maxVersions = 100_000
)

// Entry is the crate's file in the index.
func (*Format) Entry(scope string) string {
	name, ok := strings.CutPrefix(scope, cratesDir+"/")
	if !ok || !validName(name) {
		return ""
	}
	return indexPath(name)
}

// Promised is true for crates: the index has their digests, and config.json
// where they are.
func (*Format) Promised(op formats.Op) bool { return op.Label == labelDownload }

// Parse reads a crate's file in the index of an upstream.
func (f *Format) Parse(ctx context.Context, scope string, src formats.Source) iter.Seq2[formats.Record, error] {
	entry := f.Entry(scope)
	return formats.EntryRecords(ctx, src, entry, func(r io.Reader) ([]formats.Record, error) {
		template, err := openConfig(ctx, src)
		if err != nil {
			return nil, err
		}
		return parseIndex(entry, scope, template, r)
	})
}

// openConfig returns the dl of the upstream's config.json.
func openConfig(ctx context.Context, src formats.Source) (string, error) {
	r, err := src.Open(ctx, configPath, digest.Sums{})
	if errors.Is(err, formats.ErrNotFound) {
		return "", formats.Unusable(configPath, "the upstream has none, so it is no sparse index")
	}
	if err != nil {
		return "", err
	}
	defer r.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(r, maxConfig+1))
	if err != nil {
		return "", err
	}
	var c config
	switch err := json.Unmarshal(data, &c); {
	case len(data) > maxConfig:
		return "", formats.Unusable(configPath, "more than %d bytes", maxConfig)
	case err != nil:
		return "", formats.Unusable(configPath, "%v", err)
	case c.Download == "":
		return "", formats.Unusable(configPath, "no dl")
	}
	return c.Download, nil
}

// location fills the template that dl is in, or adds to it where it has no
// markers.
func location(template string, l brief) string {
	dir := prefix(l.Name)
	filled := strings.NewReplacer(
		"{crate}", l.Name, "{version}", l.Version, "{prefix}", dir, "{lowerprefix}", strings.ToLower(dir), "{sha256-checksum}", l.Checksum,
	).Replace(template)
	if filled == template {
		return template + "/" + l.Name + "/" + l.Version + "/download"
	}
	return filled
}

// parseIndex reads a line per version. Like Cargo it passes over lines that it
// does not understand, but a file without any other is no index.
func parseIndex(path, scope, template string, r io.Reader) ([]formats.Record, error) {
	lines := bufio.NewScanner(formats.Limit(r, maxIndex, "index of a crate"))
	lines.Buffer(nil, maxLine)
	var recs []formats.Record
	seen, passed := map[string]bool{}, 0
	for lines.Scan() {
		text := bytes.TrimSpace(lines.Bytes())
		if len(text) == 0 {
			continue
		}
		l, sum, ok := parseLine(text)
		if !ok || scopeOf(l.Name) != scope {
			passed++
			continue
		}
		file := formats.Record{
			Scope: scope, Name: fileName(l.Name, l.Version), URL: location(template, l), Type: typeCrate, Sums: digest.Sums{SHA256: sum}, Time: l.published(),
		}
		if seen[file.Name] {
			continue
		}
		if len(seen) >= 2*maxVersions {
			return nil, formats.Unusable(path, "more than %d versions", maxVersions)
		}
		// A registry that is older than the rule may have two versions that
		// differ in build metadata only.
		pointer := formats.Record{Scope: scope, Name: pointerName(l.Version), Move: true, Meta: bytes.Clone(text), Time: file.Time}
		if seen[pointer.Name] {
			pointer.Name = ":" + l.Version
			if !strings.Contains(l.Version, "+") {
				pointer.Name += "+" // a name that no version has
			}
		}
		seen[file.Name], seen[pointer.Name] = true, true
		recs = append(recs, file, pointer)
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, formats.Unusable(path, "%v", err)
	case err != nil:
		return nil, err
	case len(recs) == 0 && passed > 0:
		return nil, formats.Unusable(path, "no line of it is a version of the crate")
	}
	return recs, nil
}

func parseLine(text []byte) (brief, []byte, bool) {
	var l brief
	if json.Unmarshal(text, &l) != nil || !validName(l.Name) || !validVersion(l.Version) {
		return l, nil, false
	}
	sum, err := hex.DecodeString(l.Checksum)
	return l, sum, err == nil && len(sum) == digest.SHA256.Size()
}
