package apt

import "granary/formats"

var _ formats.Joiner = (*Format)(nil)

// Join refuses a package of which the distribution lists another file of the
// pool.
func (*Format) Join(rec formats.Record, old *formats.Record) (formats.Record, error) {
	if _, _, _, list, ok := pointed(rec.Name); old == nil || !ok || list {
		return rec, nil
	}
	return rec, sameFile(rec)(old)
}
