package content

import (
	"strconv"
	"strings"
)

// negotiate chooses the compressed variant where there is one and the client
// takes it. A request for a range is about the bytes themselves; a document
// with stand-ins has no fixed bytes to compress.
func (s *sender) negotiate() {
	z := s.c.Gzip
	if z == nil || s.c.Expand {
		return
	}
	s.variants = true
	if len(s.r.Header["Range"]) > 0 || !acceptsGzip(s.r.Header["Accept-Encoding"]) {
		return
	}
	plain := s.c
	variant := *z
	variant.Type, variant.Time, variant.Fixed, variant.Warning = plain.Type, plain.Time, plain.Fixed, plain.Warning
	s.c, s.gzip = &variant, true
}

// vary names the request headers that the answer depends on.
func (s *sender) vary() string {
	var names [3]string
	n := 0
	for _, v := range [...]struct {
		on   bool
		name string
	}{{s.o.Private, "Authorization"}, {s.o.Document, "Accept"}, {s.variants, "Accept-Encoding"}} {
		if v.on {
			names[n] = v.name
			n++
		}
	}
	if n == 1 {
		return names[0]
	}
	return strings.Join(names[:n], ", ")
}

// acceptsGzip reads Accept-Encoding (RFC 9110 §12.5.3).
func acceptsGzip(values []string) bool {
	star := false
	for _, v := range values {
		for item := range strings.SplitSeq(v, ",") {
			name, params, _ := strings.Cut(item, ";")
			name = strings.TrimSpace(name)
			gzip := strings.EqualFold(name, "gzip") || strings.EqualFold(name, "x-gzip")
			if gzip {
				return quality(params) > 0
			}
			star = star || name == "*" && quality(params) > 0
		}
	}
	return star
}

// quality reads q=…; what is no number counts as refused.
func quality(params string) float64 {
	for p := range strings.SplitSeq(params, ";") {
		name, value, ok := strings.Cut(strings.TrimSpace(p), "=")
		if !ok || !strings.EqualFold(strings.TrimSpace(name), "q") {
			continue
		}
		q, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil || !(q >= 0) {
			return 0
		}
		return q
	}
	return 1
}
