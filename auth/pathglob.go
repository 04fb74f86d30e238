package auth

import (
	"strings"
	"unicode/utf8"
)

// A path glob is over paths below a repository: "*" stands for any number of
// characters but "/", "?" for one but "/", "**" for any number of any. "/**"
// at the end stands for the directory itself and all below it.

const (
	maxPathGlob = 256 // bytes
	maxPaths    = 64  // of one capability
)

// checkPathGlob refuses globs that fit no path.
func checkPathGlob(glob string) bool {
	if glob == "" || len(glob) > maxPathGlob || !utf8.ValidString(glob) || strings.HasPrefix(glob, "/") || strings.HasSuffix(glob, "/") {
		return false
	}
	for _, part := range strings.Split(glob, "/") {
		if part == "" || part == "." || part == ".." {
			return false
		}
	}
	for _, c := range glob {
		if c < ' ' || c == 0x7f || c == '\\' {
			return false
		}
	}
	return true
}

// matchPath tells whether a path fits a glob. It takes time proportional to
// len(glob)·len(path) at the most.
func matchPath(glob, path string) bool {
	if dir, ok := strings.CutSuffix(glob, "/**"); ok && matchPath(dir, path) {
		return true
	}
	return walk(glob, path)[len(glob)]
}

// coversPath tells whether every path below a directory, "" for the root, fits
// the glob, as far as that follows from its end.
func coversPath(glob, dir string) bool {
	switch {
	case glob == "**":
		return true
	case !strings.HasSuffix(glob, "/**") || dir == "":
		return false
	}
	// The character stands for any: only a wildcard fits it.
	return walk(glob, dir+"/\x01")[len(glob)]
}

// meetsPath tells whether any path below a directory may fit the glob.
func meetsPath(glob, dir string) bool {
	if dir == "" {
		return true
	}
	for _, alive := range walk(glob, dir+"/")[:len(glob)] {
		if alive {
			return true
		}
	}
	return false
}

// walk returns the places in glob, up to its length, at which one may be after
// all of path was consumed.
func walk(glob, path string) []bool {
	at, next := make([]bool, len(glob)+1), make([]bool, len(glob)+1)
	at[0] = true
	skip(glob, at)
	for i := range len(path) {
		clear(next)
		for g := range len(glob) {
			if !at[g] {
				continue
			}
			switch c := glob[g]; {
			case c == '*' && (path[i] != '/' || double(glob, g)):
				next[g] = true
			case c == '?' && path[i] != '/', c != '*' && c == path[i]:
				next[g+1] = true
			}
		}
		at, next = next, at
		skip(glob, at)
	}
	return at
}

// double tells whether the star at g is the first of two.
func double(glob string, g int) bool { return g+1 < len(glob) && glob[g+1] == '*' }

// skip adds the places that are reached by letting a star stand for nothing.
func skip(glob string, at []bool) {
	for g := range len(glob) {
		if at[g] && glob[g] == '*' {
			at[g+1] = true
		}
	}
}
