package record

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"granary/kv"
)

// The stages of a Rehouse, which begin its cursors: a blob's name moves from
// records to history only.
const (
	rehouseRecords = "a"
	rehouseHistory = "h"
)

// Rehouse lets move change where the bytes of a shard's records lie, and of
// what they replaced, without a change of their state. move returns false for
// what stays; confirm is called once the record is written. It begins after
// cursor, "" being the start, and calls save after each page with the cursor of
// the next and the number of records changed since the last call; an error of
// save ends it.
func (s *Store) Rehouse(ctx context.Context, sp kv.Space, shard int, cursor string, move func(ctx context.Context, r Record) (moved Record, confirm func(context.Context) error, ok bool, err error), save func(cursor string, changed int64) error) error {
	stage, from := rehouseRecords, ""
	if cursor != "" {
		stage, from = cursor[:1], cursor[1:]
	}
	for _, p := range []struct{ stage, partition string }{{rehouseRecords, sp.Records(shard)}, {rehouseHistory, sp.History(shard)}} {
		if p.stage < stage {
			continue
		}
		at := span{partition: p.partition}
		if p.stage == stage {
			at.from = from
		}
		for more := true; more; {
			var items []kv.Item
			var err error
			if items, more, err = s.page(ctx, &at, []kv.ReadOption{kv.Consistent}); err != nil {
				return err
			}
			var changed atomic.Int64
			g, gctx := errgroup.WithContext(ctx)
			g.SetLimit(pastWorkers)
			for _, item := range items {
				if _, _, marker := kv.SplitRecord(item.Sort); marker && p.stage == rehouseRecords {
					continue
				}
				g.Go(func() error {
					ok, err := s.rehouse(gctx, item, move)
					if ok {
						changed.Add(1)
					}
					return err
				})
			}
			if err := g.Wait(); err != nil {
				return err
			}
			if err := save(p.stage+at.from, changed.Load()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) rehouse(ctx context.Context, item kv.Item, move func(context.Context, Record) (Record, func(context.Context) error, bool, error)) (bool, error) {
	for try := 0; ; try++ {
		rec, err := Decode(item)
		if err != nil {
			return false, err
		}
		moved, confirm, ok, err := move(ctx, rec)
		if err != nil || !ok {
			return false, err
		}
		value, err := kv.Marshal(moved)
		if err != nil {
			return false, err
		}
		next := kv.Item{Key: item.Key, Value: value, Version: kv.NewVersion()}
		err = s.kv.PutIf(ctx, next, item.Version)
		if err == nil {
			if err = confirm(ctx); err != nil {
				// Its bytes are still where they were.
				back := kv.Item{Key: item.Key, Value: item.Value, Version: kv.NewVersion()}
				if undo := s.kv.PutIf(ctx, back, next.Version); !errors.Is(undo, kv.ErrConflict) {
					err = errors.Join(err, undo)
				}
			}
			return err == nil, err
		}
		if !errors.Is(err, kv.ErrConflict) {
			return false, fmt.Errorf("write %v: %w", item.Key, err)
		}
		item, err = kv.Current(ctx, s.kv, item.Key, err)
		if errors.Is(err, kv.ErrNotFound) {
			return false, nil
		}
		if err == nil {
			err = pause(ctx, try)
		}
		if err != nil {
			return false, err
		}
	}
}
