package httpapi

import (
	"errors"
	"net/http"
	"strings"

	"granary/auth"
	"granary/formats"
	"granary/httpapi/content"
	"granary/httpapi/exchange"
	"granary/httpapi/fault"
	"granary/httpapi/requestpath"
	"granary/repo"
)

// artifactRoute is the label of everything below /repository/.
const artifactRoute = "/repository/{repo}/{path}"

// repository answers whatever lies below /repository/.
func (s *server) repository(w http.ResponseWriter, r *http.Request) {
	x := exchange.From(r.Context())
	x.Route = artifactRoute
	a := artifact{s: s, x: x, w: w, r: r}
	if err := a.answer(); err != nil {
		if errors.Is(err, formats.ErrNotAllowed) {
			w.Header().Set("Allow", "GET, HEAD") // what every type of repository takes
		}
		s.fail(w, r, err, a.format())
	}
}

// artifact is one request below a repository.
type artifact struct {
	s *server
	x *exchange.Exchange
	w http.ResponseWriter
	r *http.Request

	target requestpath.Target
	handle *repo.Handle   // nil until the repository is known
	guest  formats.Format // of a call that needs no right, where handle is nil
	req    formats.Req
}

func (a *artifact) format() formats.Format {
	if a.handle == nil {
		return nil
	}
	return a.handle.Format
}

func (a *artifact) answer() error {
	var err error
	if a.target, err = requestpath.Parse(a.r.URL.Path); err != nil {
		return err
	}
	query, err := parseQuery(a.r)
	if err != nil {
		return formats.BadRequest("the query can't be read")
	}
	a.req = formats.Req{Method: a.r.Method, Path: a.target.Path, Slash: a.target.Slash, Query: query, Header: a.r.Header}
	if path, ok := a.s.withinRegistry(a.x, a.target); ok {
		if err := a.s.Registry.AnswerWithin(a.w, a.r, a.target.Repository, path); err != nil {
			a.s.failRegistry(a.w, a.r, err)
		}
		return nil
	}
	op, err := a.route()
	if err != nil {
		return err
	}
	if op.Kind == 0 {
		return a.unrouted()
	}
	a.x.Action = op.Label
	switch op.Kind {
	case formats.Write:
		return a.write(op)
	case formats.Delete:
		return a.remove(op)
	case formats.Call:
		return a.call(op)
	default:
		return a.read(op)
	}
}

// route opens the repository and reads the request, and has decided when it
// returns without an error that the caller may do what the operation is. The
// zero Op is a request that the format does not know.
//
// What a request needs is known only with the repository's format. So that a
// repository which the caller may not use can't be told from one that does not
// exist, a caller without any right on the name is refused before it is looked
// up; one with a right hears of a missing repository only if it would do for
// the method.
func (a *artifact) route() (formats.Op, error) {
	name, usual := a.target.Repository, usualVerb(a.r.Method)
	can := a.x.CanAt(a.target.Path, a.target.Slash)
	if !can(formats.VerbRead, name) && !can(formats.VerbWrite, name) && !can(formats.VerbDelete, name) {
		if op, ok := a.unguarded(); ok {
			return op, nil
		}
		return formats.Op{}, a.authorise(usual)
	}
	h, err := a.open(can)
	if err != nil {
		if refused := a.authorise(usual); refused != nil {
			return formats.Op{}, refused
		}
		return formats.Op{}, err
	}
	op, ok := h.Route(a.req)
	verb := usual
	if ok {
		verb = op.Needs()
	}
	if verb != formats.VerbNone {
		if err := a.authorise(verb); err != nil {
			return formats.Op{}, err
		}
	}
	if err := a.native(h.Format); err != nil {
		return formats.Op{}, err
	}
	a.handle = h
	if !ok {
		return formats.Op{}, nil
	}
	return op, nil
}

// unguarded finds the format that takes the request as a call which judges
// credentials itself, such as a log-in. The repository is not looked up: the call
// answers alike whatever it is.
func (a *artifact) unguarded() (formats.Op, bool) {
	for _, f := range a.s.Formats {
		if op, ok := f.Route(a.req); ok && op.Kind == formats.Call && op.Verb == formats.VerbNone {
			a.guest = f
			return op, true
		}
	}
	return formats.Op{}, false
}

func (a *artifact) authorise(verb formats.Verb) error {
	return a.x.AuthoriseAt(verb, a.target.Repository, a.target.Path, a.target.Slash)
}

// native refuses a credential that another format's clients send.
func (a *artifact) native(f formats.Format) error {
	if a.x.NativeToken == "" {
		return nil
	}
	if c, ok := f.(formats.Credentialer); ok {
		if token, ok := c.Credential(a.r); ok && token == a.x.NativeToken {
			return nil
		}
	}
	return &auth.CredentialError{Method: auth.Unknown, Reason: "a repository of format " + f.Name() + " does not understand this credential"}
}

// open opens the repository, as of a time or snapshot if the path names one.
func (a *artifact) open(can repo.Access) (*repo.Handle, error) {
	if a.target.AsOf != "" {
		return a.s.Repositories.OpenAsOf(a.r.Context(), a.target.Repository, a.target.AsOf, can)
	}
	return a.s.Repositories.Open(a.r.Context(), a.target.Repository, can)
}

// usualVerb is the right that a method needs as far as one can say without the
// format.
func usualVerb(method string) formats.Verb {
	switch method {
	case http.MethodPut, http.MethodPost, http.MethodPatch:
		return formats.VerbWrite
	case http.MethodDelete:
		return formats.VerbDelete
	}
	return formats.VerbRead
}

// unrouted tells a path that the format does not have, 404, from one that it
// has for other methods, 405. A format that takes no PUT there says so: 405.
func (a *artifact) unrouted() error {
	var allowed []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete} {
		req := a.req
		req.Method = m
		if _, ok := a.handle.Route(req); ok && m != a.r.Method {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) == 0 && a.r.Method != http.MethodPut {
		return &fault.Fault{Status: http.StatusNotFound, Code: fault.NotFound, Message: "repository " + a.target.Repository + " has nothing at this path"}
	}
	f := fault.Fault{
		Status: http.StatusMethodNotAllowed, Code: fault.NotAllowed, Header: http.Header{"Allow": {strings.Join(allowed, ", ")}},
		Message: a.r.Method + " is not possible here in a repository of format " + a.handle.Format.Name(),
	}
	defer refuseBody(a.x, a.r)()
	if a.r.Method == http.MethodPut {
		f.WriteText(a.w, a.r)
	} else {
		f.WriteEmpty(a.w, a.r)
	}
	return nil
}

// read sends a file or document, or what the format has in place of a missing
// file.
func (a *artifact) read(op formats.Op) error {
	o := repo.ReadOptions{Fresh: wantsFresh(a.r.Header)}
	c, err := a.handle.Read(a.r.Context(), op, o)
	if sub, ok := formats.Substitute(a.handle.Format, op, err); ok {
		// What stands in needs nothing but reading, which was authorised.
		if sub.Kind == formats.Call {
			a.uncached()
			if callErr := a.handle.Call(a.w, a.r, sub); !errors.Is(callErr, formats.ErrNotFound) {
				return callErr
			}
			return err // of the path that was asked for
		}
		op = sub
		c, err = a.handle.Read(a.r.Context(), op, o)
	}
	if err != nil {
		return err
	}
	options := a.options(op)
	if options.Document && c.Expand {
		if c, err = a.s.expanded.Of(a.r.Context(), c, options.Base()); err != nil {
			return err
		}
	}
	return content.Serve(a.w, a.r, c, options)
}

func (a *artifact) options(op formats.Op) content.Options {
	o := content.Options{Private: a.x.Credentials(), Document: op.Kind == formats.Doc, Now: a.s.Now()}
	if t, ok := a.handle.Format.(formats.Titler); ok {
		if name, ok := t.Disposition(op); ok {
			kind := string(a.handle.Config.ContentDisposition)
			if kind == "" {
				kind = "attachment"
			}
			o.Disposition = content.Disposition(kind, name)
		}
	}
	if o.Document {
		o.Base = func() string { return a.x.Base() + requestpath.Prefix + a.target.Name() }
		o.Expand = a.s.Expand
	}
	return o
}
