package raw

import (
	"context"
	"strings"

	"granary/formats"
)

// maxDirs is how many directories one page of a deep listing reads.
const maxDirs = 1000

// page is a part of a listing. Names are relative to the directory asked for.
type page struct {
	entries []formats.Entry
	next    string // where to go on; "" at the end
}

// shallow lists a directory's own entries behind after.
func shallow(ctx context.Context, view formats.View, dir, after string, limit int) (page, error) {
	var p page
	for e, err := range formats.DirAfter(ctx, view, dir, after) {
		if err != nil {
			return page{}, err
		}
		if len(p.entries) == limit {
			p.next = p.entries[limit-1].Cursor()
			break
		}
		p.entries = append(p.entries, e)
	}
	return p, nil
}

// deep lists all files below a directory, subdirectories before files at each
// level, behind after: the path of a file, or of a directory with a slash at
// its end, all of which has been seen then.
func deep(ctx context.Context, view formats.View, dir, after string, limit int) (page, error) {
	w := &walker{view: view, root: dir, limit: limit, page: page{next: after}}
	more, err := w.walk(ctx, "", after)
	if more {
		w.page.next = ""
	}
	return w.page, err
}

type walker struct {
	view  formats.View
	root  string
	limit int
	dirs  int
	page  page
}

// walk visits the directory rel; false: the page ends here. Paths are so short
// that a page always gets further than the cursor before maxDirs ends it.
func (w *walker) walk(ctx context.Context, rel, after string) (bool, error) {
	w.dirs++
	// head is the entry of this directory that the cursor names or leads into.
	head, rest, into := strings.Cut(after, "/")
	if into && rest != "" {
		// What is left of that directory comes first.
		if more, err := w.walk(ctx, formats.Join(rel, head), rest); !more || err != nil {
			return false, err
		}
	}
	if into {
		head += "/"
	}
	dir := w.root
	if rel != "" {
		dir = formats.Join(w.root, rel)
	}
	for e, err := range formats.DirAfter(ctx, w.view, dir, head) {
		if err != nil {
			return false, err
		}
		name := formats.Join(rel, e.Name)
		switch {
		case e.Dir && w.dirs >= maxDirs || !e.Dir && len(w.page.entries) == w.limit:
			return false, nil
		case e.Dir:
			if more, err := w.walk(ctx, name, ""); !more || err != nil {
				return false, err
			}
			w.page.next = name + "/"
		default:
			e.Name = name
			w.page.entries = append(w.page.entries, e)
			w.page.next = name
		}
	}
	return true, nil
}
