package sessions

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"granary/formats"
	"granary/kv"
)

// Decode reads an item under u/.
func Decode(item kv.Item) (Stored, error) {
	v := Stored{Key: item.Key, Version: item.Version}
	var part bool
	v.ID, _, part = strings.Cut(item.Sort, "//")
	var err error
	if part {
		v.Part = new(Part)
		err = kv.Unmarshal(item.Value, v.Part)
	} else {
		v.Session = new(Session)
		err = kv.Unmarshal(item.Value, v.Session)
	}
	if err != nil {
		return v, fmt.Errorf("upload session at %v: %w", item.Key, err)
	}
	return v, nil
}

// Sweep removes the sessions of a prefix that were abandoned or are done, and
// parts that belong to none, once ttl has passed. It returns how many sessions
// it removed. A session that moves on meanwhile is left alone.
func (s *Store) Sweep(ctx context.Context, sp kv.Space, prefix string, ttl time.Duration, drop func(context.Context, Whole) error) (int, error) {
	removed, live := 0, ""
	now := s.Now()
	for v, err := range s.Scan(ctx, sp, prefix) {
		switch {
		case err != nil:
			return removed, err
		case v.Session == nil:
			if v.ID == live {
				continue
			}
			// The session may have been made behind the scan.
			if _, _, gone := s.Get(ctx, sp, v.ID); !errors.Is(gone, formats.ErrNotFound) {
				live, err = v.ID, gone
				break
			}
			err = s.KV.DeleteIf(ctx, v.Key, v.Version)
		case v.Session.Expired(now, ttl):
			if v.Session.Whole != nil {
				if err := drop(ctx, *v.Session.Whole); err != nil {
					return removed, err
				}
			}
			if err = s.KV.DeleteIf(ctx, v.Key, v.Version); err == nil {
				removed++
			} else {
				live = v.ID
			}
		default:
			live = v.ID
		}
		if err != nil && !errors.Is(err, kv.ErrConflict) {
			return removed, fmt.Errorf("sweep upload sessions: %w", err)
		}
	}
	return removed, nil
}
