package record

import (
	"context"
	"fmt"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"granary/formats"
	"granary/kv"
)

// Total returns the number of lines that a directory has. It is counted once
// and remembered: on an embedded store as long as nothing but this Store writes
// records, else for a second, or longer where counting takes long. With
// [InScope] it is counted every time.
func (s *Store) Total(ctx context.Context, sp kv.Space, dir string, opts ...Option) (int, error) {
	l := listing{Store: s, sp: sp, dir: dir, o: resolve(dir, opts)}
	if l.o.deep {
		return l.countDeep(ctx)
	}
	at := place{sp.Repo, dir}
	files, dirs := s.totals.known(at)
	if files.known && dirs.known {
		return files.n + dirs.n, nil
	}
	c := s.totals.beginCount(at)
	found, err := l.count(ctx, !files.known, !dirs.known)
	if err != nil {
		s.totals.endCount(c, nil)
		return 0, fmt.Errorf("count directory %q: %w", dir, err)
	}
	s.totals.endCount(c, &found)
	if found.files < 0 {
		found.files = files.n
	}
	if found.dirs < 0 {
		found.dirs = dirs.n
	}
	return found.files + found.dirs, nil
}

// count counts files, directories or both.
func (l listing) count(ctx context.Context, files, dirs bool) (counted, error) {
	out := counted{files: -1, dirs: -1}
	var err error
	if dirs {
		if out.dirs, out.hidden, err = l.countDirs(ctx); err != nil {
			return out, err
		}
	}
	if files {
		out.files, err = l.countFiles(ctx)
	}
	return out, err
}

func (l listing) countDirs(ctx context.Context) (n int, hidden bool, err error) {
	p := l.span("")
	p.from, p.to = kv.MarkersRange(l.dir, "")
	for more := true; more; {
		s, err := l.stretch(ctx, &p, pageItems)
		if err != nil {
			return 0, false, err
		}
		n += len(s.lines)
		hidden = hidden || s.hidden > 0
		more = s.more
	}
	return n, hidden, nil
}

func (l listing) countFiles(ctx context.Context) (n int, err error) {
	p := l.span("")
	p.from, p.to = kv.NamesRange(l.dir, "")
	for more := true; more; {
		more = false
		for item, err := range l.kv.Query(ctx, p.partition, p.from, p.to, l.o.read...) {
			if err != nil {
				return 0, err
			}
			_, name, _ := kv.SplitRecord(item.Sort)
			if i := strings.IndexByte(name, '/'); i >= 0 {
				p.from, more = past(item.Sort[:len(item.Sort)-len(name)+i+1]), true
				break
			}
			shows, err := l.isFile(ctx, item, name)
			if err != nil {
				return 0, err
			}
			if shows {
				n++
			}
		}
	}
	return n, nil
}

// presence is what counting looks at in a record; the rest is skipped.
type presence struct {
	Deleted bool   `cbor:"2,keyasint,omitempty"`
	Commit  string `cbor:"17,keyasint,omitempty"`
}

func (l listing) isFile(ctx context.Context, item kv.Item, name string) (bool, error) {
	if strings.HasPrefix(name, ":") {
		return l.isRecord(ctx, item, name)
	}
	var p presence
	if err := cbor.Unmarshal(item.Value, &p); err != nil {
		return false, fmt.Errorf("%w: record %v: %w", formats.ErrCorrupt, item.Key, err)
	}
	if p.Commit != "" {
		return l.isRecord(ctx, item, name)
	}
	return !p.Deleted, nil
}

func (l listing) isRecord(ctx context.Context, item kv.Item, name string) (bool, error) {
	rec, err := Decode(item)
	if err != nil {
		return false, err
	}
	now, err := l.visible(ctx, l.sp, Named{Scope: l.dir, Name: name, Version: item.Version, Record: rec})
	return now != nil && !now.Hidden(name), err
}

// DirAt is Dir from the line number offset on, with the number of all lines.
// Going on where an earlier page of an unchanged directory ended costs no more
// than that page; jumping ahead reads what it jumps over.
func (s *Store) DirAt(ctx context.Context, sp kv.Space, dir string, offset, limit int, opts ...Option) (Page, error) {
	if offset < 0 {
		return Page{}, formats.BadRequest("offset %d", offset)
	}
	at := place{sp.Repo, dir}
	after, where, state := s.totals.nearest(at, offset)
	deep := resolve(dir, opts).deep
	if deep {
		after, where = "", 0
	}
	for where < offset {
		p, err := s.Dir(ctx, sp, dir, after, min(offset-where, defaultLimit), opts...)
		if err != nil {
			return Page{}, err
		}
		where, after = where+len(p.Lines), p.Next
		if !p.More {
			break
		}
	}
	p, err := s.Dir(ctx, sp, dir, after, limit, opts...)
	if err != nil {
		return Page{}, err
	}
	end := where + len(p.Lines)
	if !p.More {
		p.Total = end
		return p, nil
	}
	if p.Total, err = s.Total(ctx, sp, dir, opts...); err != nil {
		return Page{}, err
	}
	if !deep {
		s.totals.mark(at, state, end, p.Next)
	}
	return p, nil
}
