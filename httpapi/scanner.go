package httpapi

import "bytes"

// scanner looks for a line that begins with "content-length", in any case, in
// a stream that comes in pieces. It takes bodies for headers: what it finds too
// much only closes a connection that might have gone on.
type scanner struct {
	matched int  // bytes of lengthName that the stream ends with
	inLine  bool // the line can't match any more
}

var lengthName = []byte("content-length")

// find tells whether the name ends within p.
func (s *scanner) find(p []byte) bool {
	for len(p) > 0 {
		if s.inLine {
			i := bytes.IndexByte(p, '\n')
			if i < 0 {
				return false
			}
			p = p[i+1:]
			s.inLine, s.matched = false, 0
			continue
		}
		c := p[0]
		p = p[1:]
		switch {
		case c == '\n':
			s.matched = 0
		case lower(c) == lengthName[s.matched]:
			if s.matched++; s.matched == len(lengthName) {
				s.inLine, s.matched = true, 0
				return true
			}
		default:
			s.inLine = true
		}
	}
	return false
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}
