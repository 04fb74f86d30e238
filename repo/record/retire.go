package record

import (
	"context"
	"errors"

	"granary/kv"
)

// Retire marks a record that is about to be deleted, as [Record.Leaving] says,
// and returns it, or formats.ErrNotFound. A mark that is there already is as
// good as an own one. What a record that waits for its commit has replaced can't
// be marked. Costs a read and a write.
func (s *Store) Retire(ctx context.Context, sp kv.Space, scope, name string) (Record, error) {
	for try := 0; ; try++ {
		rec, version, err := s.Get(ctx, sp, scope, name, Latest)
		if err != nil || version == "" || rec.Leaving != 0 {
			return rec, err
		}
		rec.Leaving = nonce()
		_, err = s.Update(ctx, sp, scope, name, version, rec)
		if err == nil || !errors.Is(err, kv.ErrConflict) {
			return rec, err
		}
		if err := pause(ctx, try); err != nil {
			return Record{}, err
		}
	}
}
