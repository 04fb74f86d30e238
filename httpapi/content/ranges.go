package content

import (
	"strconv"
	"strings"
)

// maxRanges is how many ranges one request may name; one with more is answered
// with the whole, as RFC 9110 §14.2 allows.
const maxRanges = 64

// span is the part [start, start+length) of a file.
type span struct {
	start, length int64
}

// contentRange is the value of a Content-Range header.
func (s span) contentRange(size int64) string {
	return "bytes " + strconv.FormatInt(s.start, 10) + "-" + strconv.FormatInt(s.start+s.length-1, 10) + "/" + strconv.FormatInt(size, 10)
}

// parseRange reads a Range header for a file of size bytes, which is not
// empty. No spans: the header is not understood, asks for too much, or names
// more than the file has, and the whole is the answer. satisfiable is false if
// it is well-formed and no range of it begins within the file.
func parseRange(header string, size int64) (spans []span, satisfiable bool) {
	unit, list, ok := strings.Cut(header, "=")
	if !ok || !strings.EqualFold(strings.TrimSpace(unit), "bytes") || strings.Count(list, ",") >= maxRanges {
		return nil, true
	}
	var total int64
	named := false
	for spec := range strings.SplitSeq(list, ",") {
		spec = strings.Trim(spec, " \t")
		if spec == "" {
			continue // RFC 9110 §5.6.1: empty list elements are ignored
		}
		named = true
		s, ok := parseSpec(spec, size)
		if !ok {
			return nil, true
		}
		if s.length > 0 {
			spans = append(spans, s)
			total += s.length
		}
	}
	if !named || total > size {
		return nil, true
	}
	return spans, len(spans) > 0
}

// parseSpec reads first-last, first- or -suffix. A range that begins beyond
// the file has length 0.
func parseSpec(spec string, size int64) (span, bool) {
	first, last, ok := strings.Cut(spec, "-")
	if !ok {
		return span{}, false
	}
	if first == "" {
		n, ok := number(last)
		if !ok {
			return span{}, false
		}
		n = min(n, size)
		return span{size - n, n}, true
	}
	start, ok := number(first)
	if !ok {
		return span{}, false
	}
	end := size - 1
	if last != "" {
		n, ok := number(last)
		if !ok || n < start {
			return span{}, false
		}
		end = min(end, n)
	}
	if start >= size {
		return span{}, true
	}
	return span{start, end - start + 1}, true
}

// number reads digits; what does not fit is taken as the largest number.
func number(s string) (int64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return n, true
}
