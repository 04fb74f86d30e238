// Package requestpath reads the path of a request below /repository/. It is
// the only place that does: what is authorised, looked up and stored is its
// result, so that no spelling of a path means one thing to the check and
// another to the store.
//
// A path is percent-decoded exactly once, by net/url; an encoded slash is a
// slash. Empty and "." segments are dropped. Names with "..", NUL, control
// characters, backslashes or invalid UTF-8 are refused on every route, reading
// and writing alike.
package requestpath

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits in bytes, decoded. Sort keys of the key-value store end at 1,024.
const (
	MaxPath    = 900
	MaxSegment = 255
)

var (
	// ErrInvalid is returned for a path that no artifact can have; 400.
	ErrInvalid = errors.New("invalid path")
	// ErrTooLong is returned for a path or segment beyond the limits; 414.
	ErrTooLong = errors.New("path too long")
)

// Prefix is what the paths of artifacts begin with.
const Prefix = "/repository/"

// Target is what a request path names.
type Target struct {
	// Repository is the first segment up to an "@", "" if there is none. It
	// need not be a valid name.
	Repository string
	// AsOf is what follows the "@": a snapshot or a time.
	AsOf string
	// Path is below the repository, without leading or trailing slash.
	Path string
	// Slash tells whether the path ended in a slash.
	Slash bool
}

// Name is the repository as it is spelled in paths and URLs, with the snapshot
// or time.
func (t Target) Name() string {
	if t.AsOf == "" {
		return t.Repository
	}
	return t.Repository + "@" + url.PathEscape(t.AsOf)
}

// Parse reads the decoded path of a URL ([net/url.URL.Path]), which begins
// with [Prefix].
func Parse(path string) (Target, error) {
	rest, ok := strings.CutPrefix(path, Prefix)
	if !ok {
		return Target{}, fmt.Errorf("%w: it does not begin with %s", ErrInvalid, Prefix)
	}
	clean, slash, err := Clean(rest)
	if err != nil {
		return Target{}, err
	}
	var t Target
	t.Repository, t.Path, _ = strings.Cut(clean, "/")
	var at bool
	t.Repository, t.AsOf, at = strings.Cut(t.Repository, "@")
	if at && (t.Repository == "" || t.AsOf == "") {
		// Else "r@" would be a second spelling of "r".
		return Target{}, fmt.Errorf("%w: nothing on one side of \"@\"", ErrInvalid)
	}
	t.Slash = slash
	if len(t.Path) > MaxPath {
		return Target{}, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrTooLong, len(t.Path), MaxPath)
	}
	return t, nil
}

// Clean checks a decoded path, drops empty and "." segments and tells whether
// it ended in a slash. It is idempotent, and does not allocate for a path that
// is clean already.
func Clean(path string) (clean string, slash bool, err error) {
	if err := characters(path); err != nil {
		return "", false, err
	}
	clean, dirty := path, false
	for start := 0; start <= len(path); {
		end := strings.IndexByte(path[start:], '/')
		if end < 0 {
			end = len(path)
		} else {
			end += start
		}
		switch segment := path[start:end]; {
		case segment == "..":
			return "", false, fmt.Errorf("%w: segment \"..\"", ErrInvalid)
		case segment == "", segment == ".":
			dirty = true
		case len(segment) > MaxSegment:
			return "", false, fmt.Errorf("%w: segment of %d bytes, at most %d are allowed", ErrTooLong, len(segment), MaxSegment)
		}
		start = end + 1
	}
	slash = strings.HasSuffix(path, "/") || strings.HasSuffix(path, "/.")
	if dirty {
		clean = drop(path)
	}
	return clean, slash, nil
}

// drop removes empty and "." segments.
func drop(path string) string {
	var b strings.Builder
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "" || segment == "." {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('/')
		}
		b.WriteString(segment)
	}
	return b.String()
}

// characters refuses what no name may hold.
func characters(path string) error {
	ascii := true
	for i := range len(path) {
		c := path[i]
		if c < ' ' || c == 0x7f {
			return fmt.Errorf("%w: control character %#02x", ErrInvalid, c)
		}
		if c == '\\' {
			return fmt.Errorf("%w: backslash", ErrInvalid)
		}
		ascii = ascii && c < utf8.RuneSelf
	}
	if ascii {
		return nil
	}
	if !utf8.ValidString(path) {
		return fmt.Errorf("%w: not UTF-8", ErrInvalid)
	}
	for _, r := range path {
		if unicode.IsControl(r) {
			return fmt.Errorf("%w: control character %U", ErrInvalid, r)
		}
	}
	return nil
}
