package registry

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"granary/auth"
	"granary/formats"
	"granary/repo/config"
)

// maxPage is how many names are answered at once; clients follow the link.
const maxPage = 10_000

// catalog lists the images that the caller may read: of all repositories, the
// repository's name before the image's, or of the one that was addressed.
func (q *request) catalog(p place) error {
	q.x.Action = "catalog"
	if !q.reads() {
		return notAllowed(q.r.Method, "GET, HEAD")
	}
	id := q.x.Identity
	if id.Scoped() && !id.InScope("", catalogScope, string(formats.VerbRead)) {
		return q.challenge("registry:catalog:*", &auth.CredentialError{Method: auth.JWT, Reason: "the token was not asked for this"})
	}
	if id.MustChangePassword() {
		return q.x.LoggedIn()
	}
	n := maxPage
	if q.query.Has("n") {
		v, err := strconv.ParseUint(q.query.Get("n"), 10, 31)
		if err != nil {
			return &formats.Coded{Code: "PAGINATION_NUMBER_INVALID", Err: formats.BadRequest("n=%.100q is no number of entries", q.query.Get("n"))}
		}
		n = min(int(v), maxPage)
	}
	l := lister{q: q, reader: id.Owner(), last: q.query.Get("last"), most: n + 1}
	if err := l.list(p); err != nil {
		return named(err)
	}
	if len(l.names) == 0 && l.most > 1 && l.last == "" && id.Anonymous() {
		// Clients that have credentials keep them until they are asked.
		return q.challenge("registry:catalog:*", &auth.CredentialError{Method: auth.Anonymous, Reason: "there is nothing for anybody; log in"})
	}
	if len(l.names) > n {
		l.names = l.names[:n]
		if n > 0 {
			u := url.URL{Path: q.r.URL.Path, RawQuery: url.Values{"n": {strconv.Itoa(n)}, "last": {l.names[n-1]}}.Encode()}
			q.w.Header().Set("Link", "<"+u.String()+`>; rel="next"`)
		}
	}
	return q.json(struct {
		Repositories []string `json:"repositories"`
	}{l.names})
}

// lister collects names behind last, no more than most.
type lister struct {
	q      *request
	reader auth.Identity
	last   string
	most   int
	names  []string
}

func (l *lister) sees(repository string) bool {
	return l.reader.CanSome(string(formats.VerbRead), repository, "")
}

func (l *lister) list(p place) error {
	l.names = []string{}
	if p.repository != "" {
		if !l.sees(p.repository) {
			return l.q.authorise(formats.VerbRead, p, "")
		}
		return l.add(p.repository, "")
	}
	all := l.q.s.Registry.Repositories()
	// As the names of their images sort: "a-b/x" comes before "a/x".
	slices.SortFunc(all, func(a, b *config.Repository) int { return strings.Compare(a.Name+"/", b.Name+"/") })
	for _, c := range all {
		if c.Format != l.q.s.Format.Name() || !l.sees(c.Name) || l.last >= c.Name+"0" {
			continue
		}
		if err := l.add(c.Name, c.Name+"/"); err != nil || len(l.names) == l.most {
			return err
		}
	}
	return nil
}

// add lists the images of one repository, with a prefix.
func (l *lister) add(repository, prefix string) error {
	ctx := l.q.r.Context()
	access := func(verb formats.Verb, name string) bool {
		// Of what is behind a group only what may be seen whole.
		return name == repository || l.reader.Can(string(verb), name)
	}
	h, err := l.q.s.Repositories.Open(ctx, repository, access)
	if err != nil {
		return err
	}
	if h.Config.Format != l.q.s.Format.Name() {
		return noRegistry(repository)
	}
	after, inside := strings.CutPrefix(l.last, prefix)
	if !inside {
		after = ""
	}
	for name, err := range l.q.s.Format.Packages(ctx, h.View(), after) {
		if err != nil {
			return err
		}
		full := strings.TrimSuffix(prefix+name, "/")
		if full <= l.last || !l.reader.CanBelow(string(formats.VerbRead), repository, name) {
			continue
		}
		if l.names = append(l.names, full); len(l.names) == l.most {
			return nil
		}
	}
	return nil
}
