package registry

import (
	"net/url"
	"slices"
	"strconv"
	"strings"

	"granary/auth"
	"granary/formats"
	"granary/repo"
	"granary/repo/config"
)

// maxPage is how many names are answered at once; clients follow the link.
const maxPage = 10_000

// catalog lists the images of all repositories that the caller may read, the
// repository's name before the image's.
func (q *request) catalog() error {
	q.x.Action = "catalog"
	if !q.reads() {
		return notAllowed(q.r.Method, "GET, HEAD")
	}
	id := q.x.Identity
	if id.Scoped() && !id.InScope("", catalogScope, string(formats.VerbRead)) {
		return q.challenge("registry:catalog:*", &auth.CredentialError{Method: auth.JWT, Reason: "the token was not asked for this"})
	}
	n := maxPage
	if q.query.Has("n") {
		v, err := strconv.ParseUint(q.query.Get("n"), 10, 31)
		if err != nil {
			return &formats.Coded{Code: "PAGINATION_NUMBER_INVALID", Err: formats.BadRequest("n=%.100q is no number of entries", q.query.Get("n"))}
		}
		n = min(int(v), maxPage)
	}
	list, more, err := q.images(n)
	if err != nil {
		return err
	}
	if more && n > 0 {
		u := url.URL{Path: q.r.URL.Path, RawQuery: url.Values{"n": {strconv.Itoa(n)}, "last": {list[n-1]}}.Encode()}
		q.w.Header().Set("Link", "<"+u.String()+`>; rel="next"`)
	}
	return q.json(struct {
		Repositories []string `json:"repositories"`
	}{list})
}

// images returns up to n names behind the parameter last, and whether there
// are others.
func (q *request) images(n int) (list []string, more bool, err error) {
	list = []string{}
	owner, last := q.x.Identity.Owner(), q.query.Get("last")
	access := func(verb formats.Verb, repository string) bool { return owner.Can(string(verb), repository) }
	all := q.s.Registry.Repositories()
	// As the names of their images sort: "a-b/x" comes before "a/x".
	slices.SortFunc(all, func(a, b *config.Repository) int { return strings.Compare(a.Name+"/", b.Name+"/") })
	for _, c := range all {
		if c.Format != q.s.Format.Name() || !access(formats.VerbRead, c.Name) || last >= c.Name+"0" {
			continue
		}
		names, err := q.imagesOf(c.Name, last, n+1-len(list), access)
		if err != nil {
			return nil, false, err
		}
		if list = append(list, names...); len(list) > n {
			return list[:n], true, nil
		}
	}
	return list, false, nil
}

// imagesOf returns up to n names in one repository.
func (q *request) imagesOf(repository, last string, n int, access repo.Access) ([]string, error) {
	h, err := q.s.Repositories.Open(q.r.Context(), repository, access)
	if err != nil {
		return nil, err
	}
	after, _ := strings.CutPrefix(last, repository+"/")
	if after == last {
		after = ""
	}
	var out []string
	for name, err := range q.s.Format.Packages(q.r.Context(), h.View(), after) {
		if err != nil {
			return nil, err
		}
		full := strings.TrimSuffix(repository+"/"+name, "/")
		if full <= last {
			continue
		}
		if out = append(out, full); len(out) == n {
			break
		}
	}
	return out, nil
}
