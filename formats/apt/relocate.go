package apt

import (
	"bytes"
	"strings"

	"granary/formats"
)

var _ formats.Relocator = (*Format)(nil)

// Relocate puts dir before the path in a stanza: Filename of a package, Directory of
// a source package.
func (*Format) Relocate(rec formats.Record, dir string) formats.Record {
	_, arch, _, list, ok := pointed(rec.Name)
	if !ok || list {
		return rec
	}
	name := "Filename"
	if arch == archSource {
		name = "Directory"
	}
	stanza := make([]byte, 0, len(rec.Meta)+len(dir)+1)
	for line := range bytes.Lines(rec.Meta) {
		if key, value, ok := bytes.Cut(line, []byte(":")); ok && strings.EqualFold(string(key), name) {
			stanza = append(append(stanza, key...), ": "...)
			stanza = append(append(stanza, dir...), '/')
			stanza = append(stanza, bytes.TrimPrefix(bytes.TrimLeft(value, " \t"), []byte("./"))...)
			continue
		}
		stanza = append(stanza, line...)
	}
	rec.Meta = stanza
	if rec.Path != "" {
		rec.Path = dir + "/" + strings.TrimPrefix(rec.Path, "./")
	}
	return rec
}
