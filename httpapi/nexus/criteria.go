package nexus

import (
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"granary/digest"
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
	format     string
	version    string                      // a pattern of path.Match; "" is any
	sums       map[digest.Algorithm]string // in hex, lower case
	sort       string                      // "", "name" or "version"
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
	if err := c.parseProperties(q); err != nil {
		return criteria{}, err
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

// parseProperties reads what a search asks of files beside their paths. What
// narrows a search of Nexus and is not known here is refused: ignored, it would
// give a script that deletes or downloads what it finds everything.
func (c *criteria) parseProperties(q url.Values) error {
	c.format = q.Get("format")
	if v := q.Get("version"); v != "" {
		// Only the star is a wildcard.
		c.version = strings.NewReplacer(`\`, `\\`, "[", `\[`, "?", `\?`, "/", "\x00").Replace(v)
	}
	for _, algorithm := range digest.Algorithms {
		if sum := q.Get(string(algorithm)); sum != "" {
			if c.sums == nil {
				c.sums = map[digest.Algorithm]string{}
			}
			c.sums[algorithm] = strings.ToLower(sum)
		}
	}
	for name, values := range q {
		if (strings.Contains(name, ".") || name == "prerelease") && values[0] != "" {
			return formats.BadRequest("%s: can't be searched for", name)
		}
	}
	return nil
}

// refuse tells what the files of a format can't be asked for.
func (c criteria) refuse(f formats.Format) error {
	if _, ok := f.(formats.Releaser); c.version != "" && !ok {
		return formats.BadRequest("version: files of format %s have none; search by name", f.Name())
	}
	return nil
}

// matchRecord tells whether a file is what is asked for.
func (c criteria) matchRecord(f formats.Format, rec formats.Record) bool {
	if c.format != "" && c.format != f.Name() || !c.match(pathOf(rec)) {
		return false
	}
	for algorithm, want := range c.sums {
		if rec.Sums.Hex(algorithm) != want {
			return false
		}
	}
	if c.version == "" {
		return true
	}
	name := rec.Name
	if d, ok := f.(formats.Describer); ok {
		if described := d.Described(rec); described != "" {
			name = described
		}
	}
	_, version := f.(formats.Releaser).Release(rec.Scope, name) // refuse has seen to it
	ok, err := path.Match(c.version, strings.ReplaceAll(version, "/", "\x00"))
	return err == nil && ok && version != ""
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
