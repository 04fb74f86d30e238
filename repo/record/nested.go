package record

import (
	"context"
	"iter"
	"strings"

	"granary/kv"
)

// Listings of scopes whose records have slashes in their names. The
// directories within come from the names: everything below is read to count
// it, so these listings are for scopes that are read as a whole anyway, such as
// a package.

// deep reads up to want lines after a cursor.
func (l listing) deep(ctx context.Context, at Cursor, want int) ([]Line, error) {
	var out []Line
	for line, err := range l.lines(ctx, at) {
		if err != nil {
			return nil, err
		}
		if out = append(out, line); len(out) == want {
			break
		}
	}
	return out, nil
}

func (l listing) countDeep(ctx context.Context) (n int, err error) {
	for _, err := range l.lines(ctx, "") {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// lines yields directories, then files. Those of the directory's own scope and
// those within the scope above are merged.
func (l listing) lines(ctx context.Context, at Cursor) iter.Seq2[Line, error] {
	dirs, files := "", ""
	if at != "" && at[0] == cursorDir {
		dirs = string(at[1:])
	}
	return func(yield func(Line, error) bool) {
		if at == "" || at[0] == cursorDir {
			for line, err := range merge(l.marked(ctx, dirs), l.derived(ctx, dirs)) {
				if !yield(line, err) || err != nil {
					return
				}
			}
		} else {
			files = string(at[1:])
		}
		for line, err := range l.allFiles(ctx, files) {
			if !yield(line, err) || err != nil {
				return
			}
		}
	}
}

func (l listing) allFiles(ctx context.Context, from string) iter.Seq2[Line, error] {
	own := l.files(ctx, l.dir, "", from)
	if prefix, _ := l.o.within(l.dir); prefix != "" {
		return merge(own, l.files(ctx, l.o.scope, prefix, from))
	}
	return own
}

// marked yields directories that have a marker, those after a name.
func (l listing) marked(ctx context.Context, name string) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		p := l.span("")
		p.from, p.to = kv.MarkersRange(l.dir, "")
		if name != "" {
			p = l.span(Cursor(cursorDir) + Cursor(name))
			_, p.to = kv.MarkersRange(l.dir, "")
		}
		for more := true; more; {
			s, err := l.stretch(ctx, &p, pageItems)
			if err != nil {
				yield(Line{}, err)
				return
			}
			for _, line := range s.lines {
				if !yield(line, nil) {
					return
				}
			}
			more = s.more
		}
	}
}

// derived yields directories that are in names, those after a name. Names with
// the same first segment follow each other.
func (l listing) derived(ctx context.Context, name string) iter.Seq2[Line, error] {
	prefix, _ := l.o.within(l.dir)
	p := span{partition: l.sp.Records(l.sp.Shard(l.o.scope))}
	p.from, p.to = namesWithin(l.o.scope, prefix)
	if name != "" {
		p.from = past(l.o.scope + "//" + prefix + name + "/")
	}
	return func(yield func(Line, error) bool) {
		var line Line
		for n, err := range l.scan(ctx, l.sp, p, l.o) {
			if err != nil {
				yield(Line{}, err)
				return
			}
			child, _, below := strings.Cut(strings.TrimPrefix(n.Name, prefix), "/")
			if !below || n.Record.Hidden(n.Name) {
				continue
			}
			if line.Name != child {
				if line.Name != "" && !yield(line, nil) {
					return
				}
				line = Line{Name: child, Dir: true}
			}
			line.Count++
			line.Bytes += n.Record.Size
			line.Modified = max(line.Modified, n.Record.Updated)
		}
		if line.Name != "" {
			yield(line, nil)
		}
	}
}

// files yields the files of a scope whose names have nothing but a last segment
// after prefix, those after a name.
func (l listing) files(ctx context.Context, scope, prefix, name string) iter.Seq2[Line, error] {
	p := span{partition: l.sp.Records(l.sp.Shard(scope))}
	p.from, p.to = namesWithin(scope, prefix)
	if name != "" {
		p.from = after(scope + "//" + prefix + name)
	}
	return func(yield func(Line, error) bool) {
		for n, err := range l.scan(ctx, l.sp, p, l.o) {
			if err != nil {
				yield(Line{}, err)
				return
			}
			last := strings.TrimPrefix(n.Name, prefix)
			if strings.Contains(last, "/") || n.Record.Hidden(n.Name) {
				continue
			}
			if !yield(fileLine(n, last), nil) {
				return
			}
		}
	}
}

// merge joins two sequences in order of names. A name that both have is one
// line: a directory counts both, a file is that of the first.
func merge(a, b iter.Seq2[Line, error]) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		next, stop := iter.Pull2(b)
		defer stop()
		other, err, ok := next()
		for line, errA := range a {
			for errA == nil && ok && err == nil && other.Name < line.Name {
				if !yield(other, nil) {
					return
				}
				other, err, ok = next()
			}
			if errA == nil && ok && err == nil && other.Name == line.Name {
				if line.Dir {
					line.Count, line.Bytes, line.Modified = line.Count+other.Count, line.Bytes+other.Bytes, max(line.Modified, other.Modified)
				}
				other, err, ok = next()
			}
			if ok && err != nil {
				yield(Line{}, err)
				return
			}
			if !yield(line, errA) || errA != nil {
				return
			}
		}
		for ; ok; other, err, ok = next() {
			if !yield(other, err) || err != nil {
				return
			}
		}
	}
}
