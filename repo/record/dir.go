package record

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"granary/formats"
	"granary/kv"
)

// Line is an entry of a directory.
type Line struct {
	Name  string // last segment of the path
	Dir   bool
	Count int64 // records below a directory, those hidden left out
	Bytes int64 // size of a file, or of all below a directory
	// Modified is in Unix ns: when a file was published, or when something
	// below a directory last changed.
	Modified int64
	// Record is that of a file, without Inline and Meta.
	Record Record
	// Scope and Key are what the record of a file is found by.
	Scope, Key string
	Version    kv.Version
}

// Cursor is a place in a listing: that after a certain line. "" is the start.
type Cursor string

// Page is a stretch of a listing.
type Page struct {
	Lines []Line
	More  bool   // there are lines after these
	Next  Cursor // where these end
	Total int    // lines of the whole directory, for DirAt; else -1
}

// Bounds of the number of lines in a page.
const (
	defaultLimit = 1000
	maxLimit     = 10_000
)

// Dir lists what lies in a directory, "" being the root: directories first,
// then files, each in order of their names. Directories in which no record can
// be seen, deleted and hidden records are left out. limit 0 is 1,000, and the
// most is 10,000. A page costs one query, and one more where much was left out.
//
// Records with slashes in their names do not show unless [InScope] is given;
// then all of the scope is read for a page.
func (s *Store) Dir(ctx context.Context, sp kv.Space, dir string, after Cursor, limit int, opts ...Option) (Page, error) {
	o := resolve(dir, opts)
	if limit <= 0 {
		limit = defaultLimit
	}
	limit = min(limit, maxLimit)
	if after != "" && after[0] != cursorDir && after[0] != cursorFile {
		return Page{}, formats.BadRequest("%q is no cursor", after)
	}
	l := listing{Store: s, sp: sp, dir: dir, o: o}
	var lines []Line
	var err error
	if o.deep {
		lines, err = l.deep(ctx, after, limit+1)
	} else {
		lines, err = l.flat(ctx, after, limit+1)
	}
	if err != nil {
		return Page{}, fmt.Errorf("list directory %q: %w", dir, err)
	}
	p := Page{Lines: lines, Next: after, Total: -1}
	if len(lines) > limit {
		p.Lines, p.More = lines[:limit:limit], true
	}
	if n := len(p.Lines); n > 0 {
		p.Next = p.Lines[n-1].cursor()
	}
	return p, nil
}

const (
	cursorDir  = 'd'
	cursorFile = 'f'
)

func (l Line) cursor() Cursor {
	if l.Dir {
		return Cursor(cursorDir) + Cursor(l.Name)
	}
	return Cursor(cursorFile) + Cursor(l.Name)
}

// listing is one directory being listed.
type listing struct {
	*Store
	sp  kv.Space
	dir string
	o   options
}

// span is what is left to be read of the directory's own scope.
func (l listing) span(at Cursor) span {
	from, to := kv.ScopeRange(l.dir)
	switch {
	case at == "":
	case at[0] == cursorDir:
		from, _ = kv.MarkersRange(l.dir, string(at[1:]))
		from = after(from)
	default:
		from, _ = kv.NamesRange(l.dir, string(at[1:]))
		from = after(from)
	}
	return span{0, l.sp.Records(l.sp.Shard(l.dir)), from, to}
}

// flat reads up to want lines of the directory's own scope.
func (l listing) flat(ctx context.Context, at Cursor, want int) ([]Line, error) {
	p := l.span(at)
	var out []Line
	for n := want; len(out) < want; n = min(max(2*n, 64), pageItems) {
		s, err := l.stretch(ctx, &p, n)
		if err != nil {
			return nil, err
		}
		out = append(out, s.lines...)
		if !s.more {
			break
		}
	}
	return out[:min(len(out), want)], nil
}

// stretched is what one query gave.
type stretched struct {
	lines  []Line
	hidden int  // empty directories left out
	more   bool // there may be others
}

// stretch makes one query for n items and moves the span past them.
func (l listing) stretch(ctx context.Context, p *span, n int) (stretched, error) {
	var out stretched
	var maybe []int // directories that may be empty
	seen, began := 0, l.counts.moment()
	opts := append([]kv.ReadOption{kv.Limit(n)}, l.o.read...)
	for item, err := range l.kv.Query(ctx, p.partition, p.from, p.to, opts...) {
		if err != nil {
			return out, err
		}
		seen++
		p.from = after(item.Sort)
		_, name, marker := kv.SplitRecord(item.Sort)
		if i := strings.IndexByte(name, '/'); i >= 0 && !marker {
			p.from, out.more = past(item.Sort[:len(item.Sort)-len(name)+i+1]), true
			break
		}
		line, ok, err := l.line(ctx, item, name, marker, began)
		if err != nil {
			return out, err
		}
		if !ok {
			continue
		}
		if marker && line.Count <= 0 {
			maybe = append(maybe, len(out.lines))
		}
		out.lines = append(out.lines, line)
	}
	met := len(out.lines)
	var err error
	out.lines, err = l.dropEmpty(ctx, out.lines, maybe)
	out.hidden = met - len(out.lines)
	out.more = out.more || seen >= n
	return out, err
}

// line makes a line of an item; !ok: none shows.
func (l listing) line(ctx context.Context, item kv.Item, name string, marker bool, began uint64) (Line, bool, error) {
	if marker {
		var value counter
		if err := kv.Unmarshal(item.Value, &value); err != nil {
			return Line{}, false, fmt.Errorf("%w: directory marker %v: %w", formats.ErrCorrupt, item.Key, err)
		}
		at := l.now()
		value = l.counts.current(slot{l.sp.Repo, l.dir, name}, item.Key, value, item.Version, began)
		if value.Count > 0 {
			l.markers.learn(place{l.sp.Repo, join(l.dir, name)}, at.Add(-markerLag))
		}
		return Line{Name: name, Dir: true, Count: value.Count, Bytes: value.Bytes, Modified: value.Modified, Version: item.Version}, true, nil
	}
	rec, err := Decode(item)
	if err != nil {
		return Line{}, false, err
	}
	n := Named{Scope: l.dir, Name: name, Version: item.Version, Record: rec}
	now, err := l.visible(ctx, l.sp, n)
	if err != nil || now == nil || now.Hidden(name) {
		return Line{}, false, err
	}
	n.Record = *now
	return fileLine(n, name), true, nil
}

// fileLine leaves out what would make long listings large.
func fileLine(n Named, last string) Line {
	rec := n.Record
	rec.Inline, rec.Meta = nil, nil
	return Line{
		Name: last, Bytes: rec.Size, Modified: rec.Updated, Record: rec,
		Scope: n.Scope, Key: n.Name, Version: n.Version,
	}
}

// dropEmpty takes out those of the directories named that nothing shows in.
func (l listing) dropEmpty(ctx context.Context, lines []Line, maybe []int) ([]Line, error) {
	if len(maybe) == 0 {
		return lines, nil
	}
	drop := make([]bool, len(lines))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(markerWorkers)
	for _, i := range maybe {
		g.Go(func() error {
			any, err := l.shows(ctx, l.sp, join(l.dir, lines[i].Name), lines[i], l.o.read)
			drop[i] = !any
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	i := -1
	return slices.DeleteFunc(lines, func(Line) bool { i++; return drop[i] }), nil
}
