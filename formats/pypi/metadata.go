package pypi

import (
	"strings"
	"unicode/utf8"
)

// maxMetadata is the size of METADATA or PKG-INFO, in bytes; long descriptions
// are in it.
const maxMetadata = 8 << 20

// header is a core metadata file: values by field name in lower case.
type header map[string][]string

// get returns the first value of a field, "" for one that is absent or, as old
// tools write it, UNKNOWN.
func (h header) get(field string) string {
	if v := h[field]; len(v) > 0 && v[0] != "UNKNOWN" {
		return v[0]
	}
	return ""
}

// parseMetadata reads the fields of core metadata
// (https://packaging.python.org/specifications/core-metadata/). The body, which
// is the description, is not kept.
func parseMetadata(data []byte) (header, error) {
	if !utf8.Valid(data) {
		return nil, bad("the metadata is not UTF-8")
	}
	h := header{}
	// A value of many lines is put together once.
	var name string
	var value strings.Builder
	flush := func() {
		if name != "" {
			h[name] = append(h[name], value.String())
		}
		value.Reset()
	}
	for line := range strings.Lines(string(data)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break
		}
		if line[0] == ' ' || line[0] == '\t' {
			if name == "" {
				return nil, bad("the metadata begins with a continued line")
			}
			value.WriteString("\n" + line)
			continue
		}
		field, first, ok := strings.Cut(line, ":")
		if !ok || field == "" || strings.ContainsAny(field, " \t") {
			return nil, bad("line %.100q of the metadata is no field", line)
		}
		flush()
		name = strings.ToLower(field)
		value.WriteString(strings.TrimSpace(first))
	}
	flush()
	for _, field := range [...]string{"metadata-version", "name", "version"} {
		if len(h[field]) != 1 || h[field][0] == "" {
			return nil, bad("the metadata must have one field %s", field)
		}
	}
	return h, nil
}

// check holds the metadata against the file's name.
func (h header) check(d distribution) error {
	name, ok := normalise(h.get("name"))
	if !ok || name != d.project {
		return bad("the metadata in %s is that of %q", d.file, h.get("name"))
	}
	v, ok := parseVersion(h.get("version"))
	if !ok || v.compare(d.version) != 0 {
		return bad("the metadata in %s is that of version %q", d.file, h.get("version"))
	}
	if p := h.get("requires-python"); len(p) > maxSpecifier || strings.ContainsAny(p, "\n\r") {
		return bad("the metadata in %s has a Requires-Python that can't be", d.file)
	}
	return nil
}

// maxSpecifier is the length of Requires-Python in bytes.
const maxSpecifier = 1024
