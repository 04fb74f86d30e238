package repo

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"granary/formats"
	"granary/repo/record"
)

// Page is a part of a directory's listing.
type Page struct {
	Entries []formats.Entry
	// Total counts all lines of the listing: directories and files.
	Total int64
}

// Browse lists a directory: directories first, then files, each by name.
func (h *Handle) Browse(ctx context.Context, dir string, offset, limit int) (Page, error) {
	if t, ok := h.view.(target); ok && h.moment == nil {
		return t.base().browse(ctx, dir, offset, limit)
	}
	var p Page
	for e, err := range h.view.Dir(ctx, dir) {
		if err != nil {
			return Page{}, err
		}
		if p.Total >= int64(offset) && len(p.Entries) < limit {
			p.Entries = append(p.Entries, e)
		}
		p.Total++
	}
	return p, nil
}

// browse costs one query, and what counting the directory costs now and then.
func (h *hosted) browse(ctx context.Context, dir string, offset, limit int) (Page, error) {
	page, err := h.service.Records.DirAt(ctx, h.repo.space, dir, offset, limit)
	if err != nil {
		return Page{}, fmt.Errorf("list %s/%s: %w", h.repo.Name, dir, err)
	}
	p := Page{Total: int64(page.Total)}
	for _, l := range page.Lines {
		p.Entries = append(p.Entries, entry(dir, l))
	}
	return p, nil
}

// Walk yields every artifact in a directory and below it, one of each path, in
// an order of its own.
func (h *Handle) Walk(ctx context.Context, dir string) iter.Seq2[formats.Record, error] {
	return func(yield func(formats.Record, error) bool) {
		for f, err := range h.walk(ctx, dir, position{}) {
			if !yield(f.rec, err) || err != nil {
				return
			}
		}
	}
}

// Located is an artifact and where a walk goes on behind it.
type Located struct {
	formats.Record
	Next string // cursor for WalkFrom
}

// WalkFrom is Walk from a cursor on, "" for the beginning.
func (h *Handle) WalkFrom(ctx context.Context, dir, cursor string) iter.Seq2[Located, error] {
	return func(yield func(Located, error) bool) {
		at, err := parsePosition(cursor)
		if err != nil {
			yield(Located{}, err)
			return
		}
		for f, err := range h.walk(ctx, dir, at) {
			if !yield(Located{f.rec, f.next.String()}, err) || err != nil {
				return
			}
		}
	}
}

// Found is a page of search results.
type Found struct {
	Records []formats.Record
	Next    string // cursor of the next page, "" at the end
}

// searchSteps is how many artifacts one page of a search looks at; what is
// found by then is answered with a cursor to go on from.
const searchSteps = 200_000

// Search finds artifacts whose path contains q in any case, at dir or below.
func (h *Handle) Search(ctx context.Context, q, dir, cursor string, limit int) (Found, error) {
	at, err := parsePosition(cursor)
	if err != nil {
		return Found{}, err
	}
	var out Found
	q = strings.ToLower(q)
	steps := 0
	for f, err := range h.walk(ctx, dir, at) {
		if err != nil {
			return Found{}, err
		}
		steps++
		if strings.Contains(strings.ToLower(f.rec.Key()), q) {
			out.Records = append(out.Records, f.rec)
		}
		if len(out.Records) == limit || steps == searchSteps {
			out.Next = f.next.String()
			break
		}
	}
	return out, nil
}

// position is where a walk goes on: in which of the repositories behind the
// view, and after what in it.
type position struct {
	member int
	cursor string
}

func (p position) String() string { return strconv.Itoa(p.member) + "." + p.cursor }

func parsePosition(s string) (position, error) {
	if s == "" {
		return position{}, nil
	}
	m, cursor, ok := strings.Cut(s, ".")
	n, err := strconv.Atoi(m)
	if !ok || err != nil || n < 0 {
		return position{}, formats.BadRequest("cursor %q was not given out here", s)
	}
	return position{n, cursor}, nil
}

type walked struct {
	rec  formats.Record
	next position
}

// walk goes through the repositories behind the view one after another. A path
// that an earlier one has too is that one's.
func (h *Handle) walk(ctx context.Context, dir string, at position) iter.Seq2[walked, error] {
	targets := h.view.targets()
	return func(yield func(walked, error) bool) {
		for i := at.member; i < len(targets); i++ {
			b := targets[i].base()
			for n, err := range b.service.Records.Walk(ctx, b.repo.space, dir, at.cursor, b.walking()...) {
				if err != nil {
					yield(walked{}, fmt.Errorf("read %s: %w", b.repo.Name, err))
					return
				}
				hidden, err := shadowed(ctx, targets[:i], n.Scope, n.Name)
				if err != nil {
					yield(walked{}, err)
					return
				}
				if hidden || b.repo.parser != nil && n.Record.Hidden(n.Name) {
					continue
				}
				if !yield(walked{n.Record.Public(n.Scope, n.Name), position{i, n.Cursor()}}, nil) {
					return
				}
			}
			at.cursor = ""
		}
	}
}

// walking are the options of a walk, which need not be consistent.
func (h *hosted) walking() []record.Option {
	if h.moment == nil {
		return nil
	}
	return []record.Option{h.when()}
}

func shadowed(ctx context.Context, earlier []target, scope, name string) (bool, error) {
	for _, t := range earlier {
		b := t.base()
		_, err := b.get(ctx, scope, name, record.Hit)
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, formats.ErrNotFound) {
			return false, fmt.Errorf("look for %s in %s: %w", formats.Join(scope, name), b.repo.Name, err)
		}
	}
	return false, nil
}
