package formats

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of a path in a repository, in bytes.
const (
	MaxPath    = 900
	MaxSegment = 255
)

// CheckPath returns an ErrBadRequest for a path that no repository takes. The
// paths in URLs are checked before a format sees them; this is for names that
// come from forms and from inside packages. They are not cleaned: empty and dot
// segments are refused.
func CheckPath(path string) error {
	if len(path) > MaxPath {
		return BadRequest("path of %d bytes, at most %d are possible", len(path), MaxPath)
	}
	for seg := range strings.SplitSeq(path, "/") {
		if err := CheckSegment(seg); err != nil {
			return err
		}
	}
	return nil
}

// CheckSegment is CheckPath for one segment, which must not have a slash.
func CheckSegment(seg string) error {
	switch {
	case seg == "" || seg == "." || seg == "..":
		return BadRequest("%q is no name for a file or directory", seg)
	case len(seg) > MaxSegment:
		return BadRequest("name of %d bytes, at most %d are possible", len(seg), MaxSegment)
	case !utf8.ValidString(seg):
		return BadRequest("name %q is not UTF-8", seg)
	case strings.ContainsFunc(seg, refused):
		return BadRequest("name %q has a slash, backslash or control character", seg)
	}
	return nil
}

func refused(r rune) bool { return r == '/' || r == '\\' || unicode.IsControl(r) }
