package repo

import (
	"container/heap"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync/atomic"

	"github.com/zeebo/blake3"

	"granary/formats"
)

// partly is the Warning for what was made without a member's part.
const partly = `199 - "a member of the group could not be asked"`

// group is the view of an ordered merge of its members' records. Members that
// the caller may not read are not in it.
type group struct {
	service *Service
	repo    *repository
	members []view
	moment  *moment // nil: now

	// partial is set when a member could not be asked: what was rendered of
	// the rest must not be kept as the publication of all.
	partial atomic.Bool
}

func (g *group) targets() []target {
	var out []target
	for _, m := range g.members {
		out = append(out, m.targets()...)
	}
	return out
}

// skip tells whether a member's error leaves the others' answer standing.
func (g *group) skip(ctx context.Context, err error) bool {
	if ctx.Err() != nil || !errors.Is(err, formats.ErrUpstream) && !errors.Is(err, formats.ErrBusy) {
		return false
	}
	g.partial.Store(true)
	g.service.Log.WarnContext(ctx, "a member of a group could not be asked", "group", g.repo.Name, "error", err)
	return true
}

// Stamp joins those of the members. A member that could not be asked is part
// of it too, so that its absence is never kept as its answer.
func (g *group) Stamp(ctx context.Context, scope string) (string, error) {
	var all []byte
	prefix, failed, first := "", 0, error(nil)
	for i, m := range g.members {
		stamp, err := m.Stamp(ctx, scope)
		if err != nil {
			if !g.skip(ctx, err) {
				return "", err
			}
			failed++
			first = cmpOr(first, err)
			stamp = "?"
		}
		if stamp == "" {
			continue
		}
		if strings.HasPrefix(stamp, cacheStamp) {
			prefix = cacheStamp
		} else if prefix == "" && stamp != "?" {
			prefix = hostedStamp
		}
		all = fmt.Appendf(all, "%d %s%s\n", i, stamp, placeOf(g.repo.format, m))
	}
	if prefix == "" {
		// Nobody has the scope. If one could not be asked that is not known.
		return "", first
	}
	sum := blake3.Sum256(append(all, g.repo.rulesStamp()...))
	return prefix + hex.EncodeToString(sum[:16]), nil
}

func cmpOr(a, b error) error {
	if a != nil {
		return a
	}
	return b
}

// Records merges by name; of records with one name the first member's wins,
// and so it does for two records that clients would fetch at one path.
func (g *group) Records(ctx context.Context, scope string) iter.Seq2[formats.Record, error] {
	return g.RecordsFrom(ctx, scope, "")
}

var _ formats.Ranger = (*group)(nil)

// RecordsFrom merges what the members have from a name on. That one could not
// be asked is an error only if the others have nothing.
func (g *group) RecordsFrom(ctx context.Context, scope, from string) iter.Seq2[formats.Record, error] {
	seqs := make([]iter.Seq2[formats.Record, error], len(g.members))
	for i, m := range g.members {
		seqs[i] = relocated(g.repo.format, m, formats.RecordsFrom(ctx, m, scope, from))
	}
	less := func(a, b formats.Record) int { return strings.Compare(a.Name, b.Name) }
	return func(yield func(formats.Record, error) bool) {
		last, paths := "", map[string]bool{}
		var failed error
		for rec, err := range merge(seqs, less, func(err error) bool {
			if errors.Is(err, formats.ErrNotFound) {
				return true
			}
			if !g.skip(ctx, err) {
				return false
			}
			failed = cmpOr(failed, err)
			return true
		}) {
			if err != nil {
				yield(rec, err)
				return
			}
			if rec.Name == last || rec.Path != "" && paths[rec.Path] {
				continue
			}
			last = rec.Name
			if rec.Path != "" {
				paths[rec.Path] = true
			}
			if !yield(rec, nil) {
				return
			}
		}
		if last == "" && failed != nil {
			// That there is nothing is not known.
			yield(formats.Record{}, failed)
		}
	}
}

func (g *group) Open(ctx context.Context, op formats.Op) (*formats.Content, error) {
	return g.find(ctx, op, false)
}

// find asks the members in order. The first that has the file answers; that a
// member could not be asked is an error only if none has it. What a member's
// patterns refuse that member does not have: the go command, for one, goes on
// after a 404 and gives up on a 403.
func (g *group) find(ctx context.Context, op formats.Op, fresh bool) (*formats.Content, error) {
	if op.Member != "" {
		return g.findOf(ctx, op, fresh)
	}
	var failed error
	var refused *PolicyError
	for _, m := range g.members {
		c, err := m.find(ctx, op, fresh)
		switch {
		case err == nil:
			if failed != nil && c.Warning == "" {
				c.Warning = partly
			}
			return c, nil
		case errors.Is(err, formats.ErrNotFound), errors.Is(err, formats.ErrBlocked):
			if refused == nil {
				errors.As(err, &refused)
			}
		case g.skip(ctx, err):
			failed = cmpOr(failed, err)
		default:
			return nil, err
		}
	}
	switch {
	case failed != nil:
		return nil, failed
	case refused != nil:
		return nil, refused.missing()
	}
	return nil, fmt.Errorf("%s/%s: %w", g.repo.Name, op.Key(), formats.ErrNotFound)
}

// Dir merges the members' listings: directories add up, of files with one name
// the first member's is shown.
func (g *group) Dir(ctx context.Context, dir string) iter.Seq2[formats.Entry, error] {
	return g.DirAfter(ctx, dir, "")
}

var _ formats.Pager = (*group)(nil)

// DirAfter begins in the middle of a directory.
func (g *group) DirAfter(ctx context.Context, dir, after string) iter.Seq2[formats.Entry, error] {
	seqs := make([]iter.Seq2[formats.Entry, error], len(g.members))
	for i, m := range g.members {
		seqs[i] = formats.DirAfter(ctx, m, dir, after)
	}
	return func(yield func(formats.Entry, error) bool) {
		var held *formats.Entry
		for e, err := range merge(seqs, entryOrder, func(error) bool { return false }) {
			switch {
			case err != nil:
				yield(e, err)
				return
			case held != nil && entryOrder(*held, e) == 0:
				if e.Dir {
					held.Count += e.Count
					held.Size += e.Size
					if e.Time.After(held.Time) {
						held.Time = e.Time
					}
				}
			default:
				if held != nil && !yield(*held, nil) {
					return
				}
				held = &e
			}
		}
		if held != nil {
			yield(*held, nil)
		}
	}
}

// entryOrder is that of a listing: directories first, then by name.
func entryOrder(a, b formats.Entry) int {
	if a.Dir != b.Dir {
		if a.Dir {
			return -1
		}
		return 1
	}
	return strings.Compare(a.Name, b.Name)
}

// merge yields the items of sorted sequences in order; equal ones in order of
// the sequences. An error ends its sequence, and the whole unless skip says
// that the others stand.
func merge[T any](seqs []iter.Seq2[T, error], cmp func(a, b T) int, skip func(error) bool) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		h := &heads[T]{cmp: cmp}
		defer func() {
			for _, x := range h.items {
				x.stop()
			}
		}()
		var zero T
		for i, s := range seqs {
			next, stop := iter.Pull2(s)
			x := &head[T]{next: next, stop: stop, order: i}
			ok, err := x.advance()
			if err != nil && !skip(err) {
				x.stop()
				yield(zero, err)
				return
			}
			if !ok {
				x.stop()
				continue
			}
			h.items = append(h.items, x)
		}
		heap.Init(h)
		for len(h.items) > 0 {
			x := h.items[0]
			if !yield(x.item, nil) {
				return
			}
			ok, err := x.advance()
			if err != nil && !skip(err) {
				yield(zero, err)
				return
			}
			if ok {
				heap.Fix(h, 0)
				continue
			}
			x.stop()
			heap.Pop(h)
		}
	}
}

// head is the next item of one sequence.
type head[T any] struct {
	next  func() (T, error, bool)
	stop  func()
	order int
	item  T
}

func (x *head[T]) advance() (bool, error) {
	item, err, ok := x.next()
	if !ok || err != nil {
		return false, err
	}
	x.item = item
	return true, nil
}

type heads[T any] struct {
	items []*head[T]
	cmp   func(a, b T) int
}

func (h *heads[T]) Len() int { return len(h.items) }
func (h *heads[T]) Less(i, j int) bool {
	a, b := h.items[i], h.items[j]
	if c := h.cmp(a.item, b.item); c != 0 {
		return c < 0
	}
	return a.order < b.order
}
func (h *heads[T]) Swap(i, j int) { h.items[i], h.items[j] = h.items[j], h.items[i] }
func (h *heads[T]) Push(x any)    { h.items = append(h.items, x.(*head[T])) }
func (h *heads[T]) Pop() any {
	x := h.items[len(h.items)-1]
	h.items = h.items[:len(h.items)-1]
	return x
}
