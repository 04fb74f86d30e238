package upstream

import (
	"net/http"
	"strings"
)

// challenge is one of WWW-Authenticate, RFC 9110 §11.6.1.
type challenge struct {
	scheme string            // lower case
	params map[string]string // names in lower case
}

// maxChallenges bounds what is read of one answer.
const maxChallenges = 16

// challenges reads all challenges of an answer, as far as they are well-formed.
func challenges(h http.Header) []challenge {
	var list []challenge
	for _, v := range h.Values("WWW-Authenticate") {
		p := scanner{v}
		for len(list) < maxChallenges {
			c, ok := p.challenge()
			if !ok {
				break
			}
			list = append(list, c)
		}
	}
	return list
}

// bearer returns the first Bearer challenge with a realm.
func bearer(h http.Header) (challenge, bool) {
	for _, c := range challenges(h) {
		if c.scheme == "bearer" && c.params["realm"] != "" {
			return c, true
		}
	}
	return challenge{}, false
}

// scanner reads a header's value from the left.
type scanner struct{ rest string }

func (s *scanner) skip(set string) { s.rest = strings.TrimLeft(s.rest, set) }

// token reads a token of RFC 9110 §5.6.2, "" if there is none.
func (s *scanner) token() string {
	n := 0
	for n < len(s.rest) && isToken(s.rest[n]) {
		n++
	}
	t := s.rest[:n]
	s.rest = s.rest[n:]
	return t
}

func isToken(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// challenge reads a scheme and what belongs to it, up to the next scheme.
func (s *scanner) challenge() (challenge, bool) {
	s.skip(" \t,")
	scheme := s.token()
	if scheme == "" {
		return challenge{}, false
	}
	c := challenge{strings.ToLower(scheme), map[string]string{}}
	for {
		s.skip(" \t,")
		before := s.rest
		name, value, ok := s.param()
		if !ok {
			s.rest = before // another scheme, or nothing that can be read
			return c, true
		}
		if _, twice := c.params[name]; !twice {
			c.params[name] = value
		}
	}
}

// param reads name=value or name="value".
func (s *scanner) param() (name, value string, ok bool) {
	name = strings.ToLower(s.token())
	s.skip(" \t")
	if name == "" || !strings.HasPrefix(s.rest, "=") {
		return "", "", false
	}
	s.rest = s.rest[1:]
	s.skip(" \t")
	if !strings.HasPrefix(s.rest, `"`) {
		return name, s.token(), true
	}
	var b strings.Builder
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"':
			s.rest = s.rest[i+1:]
			return name, b.String(), true
		case c == '\\' && i+1 < len(s.rest):
			i++
			b.WriteByte(s.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false // the quotes never end
}
