package yum

import (
	"fmt"

	"github.com/fxamacker/cbor/v2"

	"granary/formats"
)

var _ formats.Joiner = (*Format)(nil)

// Join refuses a package of which the root lists another file with other bytes.
func (*Format) Join(rec formats.Record, old *formats.Record) (formats.Record, error) {
	if _, _, isPiece, ok := packageOf(rec.Name); old == nil || !ok || isPiece {
		return rec, nil
	}
	var p pointer
	if err := cbor.Unmarshal(rec.Meta, &p); err != nil {
		return rec, fmt.Errorf("%w: pointer %s: %w", formats.ErrCorrupt, rec.Key(), err)
	}
	return rec, unlessOther(p.ID, rec.Path)(old)
}
