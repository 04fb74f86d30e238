package fs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"strings"

	"granary/blob"
)

// readDirBatch is how many names are read from a folder at a time.
const readDirBatch = 256

// List implements [blob.Store]. It walks while it is read, a batch of names at
// a time.
func (s *Store) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		l := &lister{s: s, ctx: ctx, prefix: prefix, yield: yield}
		if err := l.walk(".", 0); err != nil && !errors.Is(err, errStop) {
			yield(blob.Info{}, fmt.Errorf("list blobs %q: %w", prefix, mapped(err)))
		}
	}
}

// errStop ends a walk whose reader has enough.
var errStop = errors.New("stop")

type lister struct {
	s      *Store
	ctx    context.Context //nolint:containedctx // lives as long as the one call it belongs to
	prefix string
	yield  func(blob.Info, error) bool
}

// walk lists a folder: at depth 0 the root, at 2 one with blobs.
func (l *lister) walk(dir string, depth int) error {
	if name, ok := l.only(depth); ok {
		err := l.walk(path.Join(dir, name), depth+1)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	d, err := l.s.root.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close() //nolint:errcheck // nothing was written
	for {
		if l.ctx.Err() != nil {
			return context.Cause(l.ctx)
		}
		entries, err := d.ReadDir(readDirBatch)
		for _, e := range entries {
			if err := l.entry(dir, depth, e); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err // what has gone meanwhile is no error
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// only returns the one name at this depth that the prefix allows, if it says.
func (l *lister) only(depth int) (string, bool) {
	if depth < 2 && strings.HasPrefix(l.prefix, blob.WorkFolder) {
		return strings.Split(blob.WorkFolder, "/")[depth], true
	}
	if parts := strings.Split(l.prefix, "/"); depth < 2 && depth < len(parts)-1 && folder(parts[depth]) {
		return parts[depth], true
	}
	return "", false
}

// folder tells whether name is one of ours.
func folder(name string) bool {
	return len(name) == 2 && !strings.ContainsFunc(name, func(r rune) bool {
		return !('0' <= r && r <= '9' || 'a' <= r && r <= 'z')
	})
}

func (l *lister) entry(dir string, depth int, e fs.DirEntry) error {
	if l.ctx.Err() != nil {
		return context.Cause(l.ctx)
	}
	p := path.Join(dir, e.Name())
	if !strings.HasPrefix(p, l.prefix) && !strings.HasPrefix(l.prefix, p) {
		return nil
	}
	if depth < 2 {
		if !e.IsDir() || !folder(e.Name()) {
			return nil
		}
		return l.walk(p, depth+1)
	}
	id, err := blob.ParseID(e.Name())
	if err != nil || id.Path() != p || !id.Lists(l.prefix) || !e.Type().IsRegular() {
		return nil //nolint:nilerr // a name that is no blob's is somebody else's file
	}
	info, err := e.Info()
	if err != nil {
		return err
	}
	if !l.yield(blob.Info{ID: id, Size: info.Size(), Modified: info.ModTime()}, nil) {
		return errStop
	}
	return nil
}
