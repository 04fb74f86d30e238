package record

import (
	"context"
	"fmt"
	"math"
	"time"

	"golang.org/x/sync/errgroup"

	"granary/formats"
	"granary/kv"
)

// present is the time of who asks for no time: nothing is later.
const present = math.MaxInt64

// At asks for the records as they were at a time. It reads consistently. The
// state at a time is, per record, the greatest Since that is not later, in the
// record or in its history. Directories have no history: they can't be listed
// as they were.
func At(t time.Time) Option {
	return func(o *options) { o.at, o.read = t.UnixNano(), append(o.read, kv.Consistent) }
}

// GetAt returns a record as it was at a time, or formats.ErrNotFound. It costs
// one read, and one more if the record has changed since.
func (s *Store) GetAt(ctx context.Context, sp kv.Space, scope, name string, at time.Time) (Record, error) {
	st, err := s.load(ctx, sp.Record(scope, name), kv.Consistent)
	if err != nil {
		return Record{}, err
	}
	rec, err := s.shown(ctx, sp, Named{Scope: scope, Name: name, Version: st.version, Record: st.rec}, at.UnixNano())
	if err != nil {
		return Record{}, err
	}
	if rec == nil {
		return Record{}, fmt.Errorf("record %s: %w", formats.Join(scope, name), formats.ErrNotFound)
	}
	return *rec, nil
}

// shown is what is seen of a record at a time if head, read before its history
// is, is what its key holds; nil for nothing.
func (s *Store) shown(ctx context.Context, sp kv.Space, head Named, at int64) (*Record, error) {
	if head.Version != "" {
		ok, err := s.holds(ctx, sp, head.Record, at)
		if err != nil {
			return nil, err
		}
		if ok {
			return alive(head.Record), nil
		}
		return s.before(ctx, sp, head.Scope, head.Name, min(at, head.Record.Since-1), at)
	} else if at == present {
		return nil, nil
	}
	return s.before(ctx, sp, head.Scope, head.Name, at, at)
}

func alive(r Record) *Record {
	if r.Deleted {
		return nil
	}
	return &r
}

// holds tells whether a record was written, and committed, by a time.
func (s *Store) holds(ctx context.Context, sp kv.Space, r Record, at int64) (bool, error) {
	if r.Since > at {
		return false, nil
	}
	if r.Commit == "" {
		return true, nil
	}
	when, err := s.committed(ctx, sp, r.Commit)
	return err == nil && when != 0 && when <= at, err
}

// pastPage is how many items of history are read at once: nearly always the
// first is the one.
const pastPage = 4

// before looks in history for what was seen at a time, among what was written up
// to last. Of records that wait one over the other, the commit of a lower one
// shows it until that of a higher one does.
func (s *Store) before(ctx context.Context, sp kv.Space, scope, name string, last, at int64) (*Record, error) {
	from, to := sp.ReplacedRange(scope, name, last)
	partition := sp.History(sp.Shard(scope))
	for {
		seen := 0
		for item, err := range s.kv.Query(ctx, partition, from, to, kv.Consistent, kv.Reverse, kv.Limit(pastPage)) {
			if err != nil {
				return nil, fmt.Errorf("read the history of record %s: %w", formats.Join(scope, name), err)
			}
			seen++
			to = item.Sort
			rec, err := Decode(item)
			if err != nil {
				return nil, err
			}
			ok, err := s.holds(ctx, sp, rec, at)
			if err != nil {
				return nil, err
			}
			if ok {
				return alive(rec), nil
			}
		}
		if seen < pastPage {
			return nil, nil
		}
	}
}

// pastWorkers bounds how many records' histories are read at once.
const pastWorkers = 16

// seen replaces what a page of a scan holds by what is seen of it at a time,
// and drops the rest. heads are in order and may be tombstones.
func (s *Store) seen(ctx context.Context, sp kv.Space, heads []Named, at int64) ([]Named, error) {
	show := make([]bool, len(heads))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(pastWorkers)
	for i := range heads {
		if h := &heads[i]; h.Record.Since <= at && h.Record.Commit == "" {
			show[i] = !h.Record.Deleted
			continue
		}
		g.Go(func() error {
			rec, err := s.shown(ctx, sp, heads[i], at)
			if err == nil && rec != nil {
				if rec.Since != heads[i].Record.Since {
					heads[i].Version = "" // of another state
				}
				heads[i].Record, show[i] = *rec, true
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	out := heads[:0]
	for i, h := range heads {
		if show[i] {
			out = append(out, h)
		}
	}
	return out, nil
}

// visible is what a reader of now sees of a record that was read; nil for
// nothing. It costs nothing but for records that wait for a commit.
func (s *Store) visible(ctx context.Context, sp kv.Space, n Named) (*Record, error) {
	if n.Record.Commit == "" {
		return alive(n.Record), nil
	}
	return s.shown(ctx, sp, n, present)
}
