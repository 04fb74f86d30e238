package repo

import (
	"context"
	"fmt"

	"granary/kv"
	"granary/repo/record"
)

// MoveShard brings the bytes of one shard's records, and of their history, into
// the store that the repository has now; readers find them all the while. Each
// copy is a use. Documents stay where they are until they are rendered or
// fetched anew, and an upload that began before the store was changed may still
// leave its bytes in the old one: moving again takes these too. It begins after
// cursor and calls save as [record.Store.Rehouse] does.
func (s *Service) MoveShard(ctx context.Context, repositoryID string, shard int, cursor string, save func(cursor string, moved int64) error) error {
	c, err := s.Registry.Stored(ctx, repositoryID)
	if err != nil {
		return fmt.Errorf("move: %w", err)
	}
	move := func(ctx context.Context, rec record.Record) (record.Record, func(context.Context) error, bool, error) {
		if rec.Blob == "" || rec.Store == c.Store {
			return rec, nil, false, nil
		}
		if err := s.writable(); err != nil {
			return rec, nil, false, err
		}
		out, err := s.carry(ctx, rec, c.Store)
		if err != nil {
			return rec, nil, false, err
		}
		if out.lost {
			s.Log.WarnContext(ctx, "bytes are lost and stay where they are looked for", "repository", c.Name, "store", rec.Store, "blob", rec.Blob)
			return rec, nil, false, nil
		}
		return out.rec, func(ctx context.Context) error { return out.confirm(ctx, s) }, true, nil
	}
	if err := s.Records.Rehouse(ctx, kv.Space{Repo: c.ID, Shards: c.Shards}, shard, cursor, move, save); err != nil {
		return fmt.Errorf("move %s: %w", c.Name, err)
	}
	return nil
}
