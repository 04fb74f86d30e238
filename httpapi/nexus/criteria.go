package nexus

import (
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"granary/formats"
	"granary/httpapi/requestpath"
)

// Limits of a page.
const (
	defaultLimit = 1_000
	maxLimit     = 100_000
)

// criteria is what a search asks for.
type criteria struct {
	repository string
	names      []pattern // any of them; none is everything
	texts      []string  // all of them, in lower case
	group      string
	sort       string // "", "name" or "version"
	descending bool
	token      string
	limit      int
}

// parse reads the query.
func parse(r *http.Request) (criteria, error) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return criteria{}, formats.BadRequest("the query can't be read")
	}
	c := criteria{
		repository: q.Get("repository"), token: q.Get("continuationToken"), limit: defaultLimit,
		group: strings.TrimRight(strings.TrimPrefix(q.Get("group"), "/"), "*"), descending: q.Get("direction") == "desc",
	}
	if name := q.Get("name"); name != "" {
		c.names = append(c.names, parsePattern(name))
		if literal := literalPlus(r.URL.RawQuery, "name"); literal != name {
			c.names = append(c.names, parsePattern(literal))
		}
	}
	for _, text := range []string{q.Get("q"), strings.Trim(q.Get("keyword"), `"`)} {
		if text = strings.Trim(strings.TrimPrefix(text, "/"), "*"); text != "" {
			c.texts = append(c.texts, strings.ToLower(text))
		}
	}
	if s := q.Get("sort"); s == "name" || s == "version" {
		c.sort = s
	}
	if s := q.Get("limit"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return criteria{}, formats.BadRequest("limit: must be a number of at least 1")
		}
		c.limit = min(n, maxLimit)
	}
	return c, nil
}

// literalPlus returns a parameter of which a plus sign is a plus sign: scripts
// send names with time zones as they are, libraries send spaces as plus signs,
// and the two can't be told apart.
func literalPlus(raw, name string) string {
	for pair := range strings.SplitSeq(raw, "&") {
		if value, ok := strings.CutPrefix(pair, name+"="); ok {
			if s, err := url.PathUnescape(value); err == nil {
				return s
			}
		}
	}
	return ""
}

// directory is where all that matches lies, as far as one can say.
func (c criteria) directory() string {
	prefix := c.group
	if prefix == "" && len(c.names) == 1 && c.names[0].anchored {
		prefix = c.names[0].parts[0]
	}
	i := strings.LastIndexByte(prefix, '/')
	if i < 0 {
		return ""
	}
	dir, _, err := requestpath.Clean(prefix[:i])
	if err != nil || path.Clean("/"+prefix[:i]) != "/"+dir {
		return ""
	}
	return dir
}

func (c criteria) match(path string) bool {
	if !strings.HasPrefix(path, c.group) {
		return false
	}
	named := len(c.names) == 0
	for _, n := range c.names {
		named = named || n.match(path)
	}
	if !named {
		return false
	}
	lower := strings.ToLower(path)
	for _, t := range c.texts {
		if !strings.Contains(lower, t) {
			return false
		}
	}
	return true
}

// pattern is a name with wildcards: its parts follow each other, and the first
// one begins the path if it is anchored.
type pattern struct {
	parts    []string
	anchored bool
}

// parsePattern: one that ends in * and does not begin with it is a prefix,
// every other a part of the path.
func parsePattern(s string) pattern {
	s = strings.TrimPrefix(s, "/")
	p := pattern{anchored: strings.HasSuffix(s, "*") && !strings.HasPrefix(s, "*")}
	for part := range strings.SplitSeq(s, "*") {
		if part != "" {
			p.parts = append(p.parts, part)
		}
	}
	return p
}

func (p pattern) match(path string) bool {
	for i, part := range p.parts {
		at := strings.Index(path, part)
		if at < 0 || i == 0 && p.anchored && at > 0 {
			return false
		}
		path = path[at+len(part):]
	}
	return true
}
