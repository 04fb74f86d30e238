package repo

import (
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"granary/formats"
	"granary/repo/record"
)

// maxPastDirs bounds how many directories within one are listed as of a time:
// they are gathered from the records below, since markers have no history.
const maxPastDirs = 200_000

// pastDir lists a directory as of the view's time. All that lay below it is
// read.
func (h *hosted) pastDir(ctx context.Context, dir string, after record.Cursor) iter.Seq2[formats.Entry, error] {
	from := string(after)
	return func(yield func(formats.Entry, error) bool) {
		if from == "" || from[0] == 'd' {
			dirs, err := h.pastDirs(ctx, dir)
			if err != nil {
				yield(formats.Entry{}, err)
				return
			}
			for _, name := range slices.Sorted(maps.Keys(dirs)) {
				if from != "" && name <= from[1:] {
					continue
				}
				if !yield(*dirs[name], nil) {
					return
				}
			}
			from = ""
		}
		for n, err := range h.service.Records.Scope(ctx, h.repo.space, dir, record.At(h.moment.at)) {
			if err != nil {
				yield(formats.Entry{}, fmt.Errorf("list %s/%s: %w", h.repo.Name, dir, err))
				return
			}
			if strings.Contains(n.Name, "/") || n.Record.Hidden(n.Name) || from != "" && n.Name <= from[1:] {
				continue
			}
			rec := n.Record.Public(n.Scope, n.Name)
			if !yield(formats.Entry{Name: n.Name, Size: rec.Size, Time: rec.Time, File: &rec}, nil) {
				return
			}
		}
	}
}

// pastDirs adds up what lay below each directory in dir.
func (h *hosted) pastDirs(ctx context.Context, dir string) (map[string]*formats.Entry, error) {
	dirs := map[string]*formats.Entry{}
	for n, err := range h.service.Records.Walk(ctx, h.repo.space, dir, "", record.At(h.moment.at)) {
		if err != nil {
			return nil, fmt.Errorf("list %s/%s: %w", h.repo.Name, dir, err)
		}
		if n.Scope == dir || n.Record.Hidden(n.Name) {
			continue
		}
		below := n.Scope
		if dir != "" {
			below = strings.TrimPrefix(n.Scope, dir+"/")
		}
		child, _, _ := strings.Cut(below, "/")
		e := dirs[child]
		if e == nil {
			if len(dirs) == maxPastDirs {
				return nil, fmt.Errorf("%w: more than %d directories in %s/%s as of a time", formats.ErrTooLarge, maxPastDirs, h.repo.Name, dir)
			}
			e = &formats.Entry{Name: child, Dir: true}
			dirs[child] = e
		}
		e.Count++
		e.Size += n.Record.Size
		if t := time.Unix(0, n.Record.Updated).UTC(); t.After(e.Time) {
			e.Time = t
		}
	}
	return dirs, nil
}
