package content

import (
	"net/http"
	"strings"
	"time"
)

// verdict is what the preconditions of a request say.
type verdict uint8

const (
	proceed verdict = iota
	notModified
	failed
)

// evaluate judges the preconditions of a read in the order of RFC 9110
// §13.2.2. etag may be "" and modified zero where they are not known.
func evaluate(h http.Header, etag string, modified time.Time) verdict {
	if v := h["If-Match"]; len(v) > 0 {
		if !Match(v, etag, false) {
			return failed
		}
	} else if t, ok := date(h["If-Unmodified-Since"]); ok && !modified.IsZero() && modified.Truncate(time.Second).After(t) {
		return failed
	}
	if v := h["If-None-Match"]; len(v) > 0 {
		if Match(v, etag, true) {
			return notModified
		}
	} else if t, ok := date(h["If-Modified-Since"]); ok && !modified.IsZero() && !modified.Truncate(time.Second).After(t) {
		return notModified
	}
	return proceed
}

// rangeHolds tells whether If-Range allows a partial answer (RFC 9110 §13.1.5).
func rangeHolds(h http.Header, etag string, modified time.Time) bool {
	v := h["If-Range"]
	if len(v) == 0 {
		return true
	}
	if s := strings.TrimSpace(v[0]); strings.HasPrefix(s, `"`) || strings.HasPrefix(s, "W/") {
		return etag != "" && s == etag
	}
	t, ok := date(v)
	return ok && !modified.IsZero() && modified.Truncate(time.Second).Equal(t)
}

// Match tells whether a list of entity tags, as If-Match and If-None-Match
// carry it, names etag of something that exists. weak ignores W/. "*" matches
// whatever exists. What is not a list of tags matches nothing.
func Match(values []string, etag string, weak bool) bool {
	for _, v := range values {
		for {
			v = strings.TrimLeft(v, " \t,")
			if v == "" {
				break
			}
			if v[0] == '*' {
				return true
			}
			tag, isWeak, rest, ok := scanTag(v)
			if !ok {
				break
			}
			if tag == etag && (weak || !isWeak) {
				return true
			}
			v = rest
		}
	}
	return false
}

// scanTag reads one entity tag at the beginning of s.
func scanTag(s string) (tag string, weak bool, rest string, ok bool) {
	s, weak = strings.CutPrefix(s, "W/")
	if len(s) < 2 || s[0] != '"' {
		return "", false, "", false
	}
	end := strings.IndexByte(s[1:], '"')
	if end < 0 {
		return "", false, "", false
	}
	return s[:end+2], weak, s[end+2:], true
}

func date(v []string) (time.Time, bool) {
	if len(v) == 0 {
		return time.Time{}, false
	}
	t, err := http.ParseTime(strings.TrimSpace(v[0]))
	return t, err == nil
}
