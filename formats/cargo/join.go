package cargo

import (
	"encoding/json"
	"fmt"
	"iter"
	"path"
	"strings"

	"granary/formats"
)

var (
	_ formats.Joiner    = (*Format)(nil)
	_ formats.Announcer = (*Format)(nil)
)

// Announces is what claims the name of a crate.
func (*Format) Announces(scope, _ string) iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		if strings.HasPrefix(scope, cratesDir+"/") {
			yield(ownersScope(path.Base(scope)), nameRecord)
		}
	}
}

// Join claims a name as an upload does, without the owners that the crate has
// elsewhere; and keeps the line of a version that is there with the same bytes,
// its yank included.
func (*Format) Join(rec formats.Record, old *formats.Record) (formats.Record, error) {
	switch {
	case rec.Name == nameRecord && strings.HasPrefix(rec.Scope, namesDir+"/"):
		return joinName(rec, old)
	case old != nil && strings.HasPrefix(rec.Scope, cratesDir+"/") && strings.HasPrefix(rec.Name, ":"):
		return joinLine(rec, *old)
	}
	return rec, nil
}

func joinName(rec formats.Record, old *formats.Record) (formats.Record, error) {
	c, err := readWhole(rec)
	if err != nil {
		return rec, err
	}
	if old != nil {
		return *old, c.follows(old)
	}
	fresh, err := whole{Name: c.Name}.pointer()
	rec.Meta = fresh.Meta
	return rec, err
}

func joinLine(rec, old formats.Record) (formats.Record, error) {
	var l line
	if err := json.Unmarshal(rec.Meta, &l); err != nil {
		return rec, fmt.Errorf("%w: pointer %s: %w", formats.ErrCorrupt, rec.Key(), err)
	}
	if err := l.follows(&old, false); err != nil {
		return rec, err
	}
	was, err := read(old)
	switch {
	case err != nil:
		return rec, err
	case was.Checksum == l.Checksum:
		return old, nil
	case was.Yanked == l.Yanked:
		return rec, nil
	}
	l.Yanked = was.Yanked
	next, err := l.pointer()
	rec.Meta = next.Meta
	return rec, err
}
