package record

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"granary/kv"
)

// Keep says what of history somebody may still ask for. Times are Unix ns.
type Keep struct {
	// From: every state that held at or after it.
	From int64
	// At: and every state that held at one of these.
	At []int64
	// Document returns since when a scope's upstream document at path is what
	// it is now; ok is false if there is none.
	Document func(ctx context.Context, scope, path string) (since int64, ok bool, err error)
}

// needs tells whether a state that held from one time until another, that not
// included, is needed.
func (k Keep) needs(from, until int64) bool {
	if until > k.From {
		return true
	}
	for _, t := range k.At {
		if from <= t && t < until {
			return true
		}
	}
	return false
}

// unknown is the end of a state whose successor is not known, or not seen yet.
const unknown = present

// The stages of a Prune, which begin its cursors.
const (
	pruneHistory    = "h"
	pruneTombstones = "t"
)

// Prune removes from a shard the history that keep does not need, and the
// tombstones that nothing is remembered before. It begins after cursor, ""
// being the start, and calls save after each page with the cursor of what
// comes next and the number of items that were removed since the last call; an
// error of save ends it. A page that is done twice is as if it were done once.
func (s *Store) Prune(ctx context.Context, sp kv.Space, shard int, keep Keep, cursor string, save func(cursor string, removed int64) error) error {
	p := pruning{Store: s, sp: sp, shard: shard, keep: keep, save: save}
	stage, at := pruneHistory, ""
	if cursor != "" {
		stage, at = cursor[:1], cursor[1:]
	}
	if stage == pruneHistory {
		if err := p.history(ctx, at); err != nil {
			return fmt.Errorf("prune the history of %s: %w", sp.History(shard), err)
		}
		at = ""
	}
	if err := p.tombstones(ctx, at); err != nil {
		return fmt.Errorf("prune the tombstones of %s: %w", sp.Records(shard), err)
	}
	return nil
}

type pruning struct {
	*Store
	sp    kv.Space
	shard int
	keep  Keep
	save  func(cursor string, removed int64) error
}

// replaced is an item of history.
type replaced struct {
	item        kv.Item
	key         string // all but the time
	scope, name string
	document    bool
	rec         Record
	first       bool // of its key
}

// history goes through it in order. The last item of a page is looked at again
// with the next one, since its successor may be there.
func (p *pruning) history(ctx context.Context, from string) error {
	at := span{partition: p.sp.History(p.shard), from: from}
	var last *replaced
	for more := true; more; {
		var items []kv.Item
		var err error
		if items, more, err = p.page(ctx, &at, []kv.ReadOption{kv.Consistent}); err != nil {
			return err
		}
		var held []replaced
		if last != nil {
			held = append(held, *last)
		}
		for _, item := range items {
			r, ok, err := split(item)
			if err != nil {
				return err
			}
			if ok {
				r.first = len(held) == 0 && from == "" || len(held) > 0 && held[len(held)-1].key != r.key
				held = append(held, r)
			}
		}
		end := len(held)
		if more && end > 0 {
			end--
			last = &held[end]
		}
		removed, err := p.historyPage(ctx, held, end)
		if err != nil {
			return err
		}
		next := at.from
		if more && last != nil {
			next = last.item.Sort
		}
		if err := p.save(pruneHistory+next, removed); err != nil {
			return err
		}
	}
	return nil
}

func split(item kv.Item) (replaced, bool, error) {
	scope, name, _, document, ok := kv.SplitReplaced(item.Sort)
	if !ok {
		return replaced{}, false, nil
	}
	rec, err := Decode(item)
	return replaced{item: item, key: item.Sort[:strings.LastIndex(item.Sort, "//")], scope: scope, name: name, document: document, rec: rec}, true, err
}

// historyPage judges held[:end].
func (p *pruning) historyPage(ctx context.Context, held []replaced, end int) (int64, error) {
	var removed atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(pastWorkers)
	for i := range held[:end] {
		r, next := &held[i], (*replaced)(nil)
		if i+1 < len(held) && held[i+1].key == r.key {
			next = &held[i+1]
		}
		if r.rec.Since > p.keep.From {
			continue // it held later than that, whatever follows it
		}
		g.Go(func() error {
			gone, err := p.judge(ctx, r, next)
			if err != nil || !gone {
				return err
			}
			removed.Add(1)
			return p.remove(ctx, r.item)
		})
	}
	err := g.Wait()
	return removed.Load(), err
}

// judge tells whether an item of history can go.
func (p *pruning) judge(ctx context.Context, r, next *replaced) (bool, error) {
	until, err := p.until(ctx, r, next)
	if err != nil {
		return false, err
	}
	if until == unknown && r.rec.Deleted && r.first && next == nil {
		// That there was nothing, and nothing is known before or after.
		return r.rec.Since <= p.keep.From, nil
	}
	return !p.keep.needs(r.rec.Since, until), nil
}

// until is when what follows an item of history was seen in its place.
func (p *pruning) until(ctx context.Context, r, next *replaced) (int64, error) {
	if next != nil {
		return p.seenSince(ctx, next.rec)
	}
	if r.document {
		since, ok, err := p.keep.Document(ctx, r.scope, r.name)
		if err != nil || !ok {
			return unknown, err
		}
		return since, nil
	}
	st, err := p.load(ctx, p.sp.Record(r.scope, r.name), kv.Consistent)
	switch {
	case err != nil:
		return 0, err
	case st.version == "":
		return unknown, nil
	case st.rec.Since == r.rec.Since:
		// It was kept for a write that did not come to pass.
		return unknown, nil
	}
	return p.seenSince(ctx, st.rec)
}

func (p *pruning) seenSince(ctx context.Context, r Record) (int64, error) {
	if r.Commit == "" {
		return r.Since, nil
	}
	when, err := p.committed(ctx, p.sp, r.Commit)
	if err != nil || when == 0 {
		return unknown, err
	}
	return max(r.Since, when), nil
}

func (p *pruning) remove(ctx context.Context, item kv.Item) error {
	err := p.kv.DeleteIf(ctx, item.Key, item.Version)
	if errors.Is(err, kv.ErrConflict) {
		return nil // somebody else did, or uses it
	}
	return err
}

// tombstones removes those that say no more than that there is nothing.
func (p *pruning) tombstones(ctx context.Context, from string) error {
	at := span{partition: p.sp.Records(p.shard), from: from}
	for more := true; more; {
		var items []kv.Item
		var err error
		if items, more, err = p.page(ctx, &at, []kv.ReadOption{kv.Consistent}); err != nil {
			return err
		}
		removed, err := p.tombstonePage(ctx, items)
		if err != nil {
			return err
		}
		if err := p.save(pruneTombstones+at.from, removed); err != nil {
			return err
		}
	}
	return nil
}

func (p *pruning) tombstonePage(ctx context.Context, items []kv.Item) (int64, error) {
	var removed atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(pastWorkers)
	for _, item := range items {
		scope, name, marker := kv.SplitRecord(item.Sort)
		if marker {
			continue
		}
		rec, err := Decode(item)
		if err != nil {
			return 0, err
		}
		if !rec.Deleted || rec.Since > p.keep.From {
			continue
		}
		g.Go(func() error {
			past, err := p.hasPast(ctx, scope, name)
			if err != nil || past {
				return err
			}
			removed.Add(1)
			return p.remove(ctx, item)
		})
	}
	err := g.Wait()
	return removed.Load(), err
}

func (p *pruning) hasPast(ctx context.Context, scope, name string) (bool, error) {
	from, to := p.sp.ReplacedRange(scope, name, present)
	for _, err := range p.kv.Query(ctx, p.sp.History(p.shard), from, to, kv.Consistent, kv.KeysOnly, kv.Limit(1)) {
		return true, err
	}
	return false, nil
}
