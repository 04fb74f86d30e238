package record

import (
	"context"
	"errors"
	"fmt"

	"granary/kv"
)

// Remark makes the markers of a directory and of those above it that are not
// there, whatever this node remembers of them, and returns how many it made.
// known, if not nil, tells of directories that were looked at and is added to.
// It is called for directories that have a record that is not hidden.
func (s *Store) Remark(ctx context.Context, sp kv.Space, dir string, known map[string]bool) (made int, err error) {
	for at := dir; at != "" && !known[at]; at = parent(at) {
		up := slot{sp.Repo, parent(at), base(at)}
		_, err := s.kv.Get(ctx, sp.Marker(up.dir, up.child), kv.Consistent)
		if errors.Is(err, kv.ErrNotFound) {
			err = s.ensure(ctx, sp, up)
			made++
		}
		if err != nil {
			return made, fmt.Errorf("look at the marker of %s: %w", at, err)
		}
		if known != nil {
			known[at] = true
		}
	}
	return made, nil
}
