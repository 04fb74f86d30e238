package golang

import (
	"path"
	"strings"
	"unicode"

	"golang.org/x/mod/module"
)

// Limits of the paths in a zip: one that is longer can't be unpacked, and a few
// that are deep must not make millions of directories.
const (
	maxName  = 4096
	maxPaths = 400_000
)

// collisions holds the paths of a zip, directories included, by their folded
// form. It finds names that differ by case only, or are file and directory.
type collisions map[string]entry

type entry struct {
	name string
	dir  bool
}

// add takes a file, or a directory that the zip names.
func (c collisions) add(name string, dir bool) error {
	if len(name) > maxName {
		return bad("the zip has a path of %d bytes, at most %d are possible", len(name), maxName)
	}
	if path.Clean(name) != name {
		return bad("path %q in the zip is not clean", name)
	}
	if err := module.CheckFilePath(name); err != nil {
		return bad("%v", err)
	}
	// Runes are folded one by one, so the key of a parent is the beginning of
	// its child's.
	for key, first := fold(name), true; ; first = false {
		switch other, ok := c[key]; {
		case !ok:
			c[key] = entry{name, dir}
		case other.name != name:
			return bad("%q and %q in the zip differ by case only", other.name, name)
		case other.dir != dir:
			return bad("%q in the zip is a file and a directory", name)
		case first && !dir:
			return bad("%q is in the zip twice", name)
		default:
			return nil // its parents have been seen
		}
		i, j := strings.LastIndexByte(name, '/'), strings.LastIndexByte(key, '/')
		if i < 0 || j < 0 {
			break
		}
		name, key, dir = name[:i], key[:j], true
	}
	if len(c) > maxPaths {
		return bad("the zip has more than %d files and directories", maxPaths)
	}
	return nil
}

// fold maps names that differ by case only to one, as Unicode folds them.
func fold(s string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for f := unicode.SimpleFold(r); f != r; f = unicode.SimpleFold(f) {
			least = min(least, f)
		}
		return least
	}, s)
}
