// Package registry is the surface for clients of container registries, below
// /v2: which repository a name means, tokens with scopes, the catalog of all
// repositories, and errors as these clients know them. What an image is and how
// it is pushed and pulled is the business of the format.
//
// A name means, in this order: the repository whose port or host name was
// called; the docker repository that its first segment names; the cache that
// mirrors the registry in the parameter "ns", which containerd sends; the
// default repository; else the repository that its first segment names, which
// there is none of.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"granary/auth"
	"granary/digest"
	"granary/formats"
	"granary/httpapi/content"
	"granary/httpapi/exchange"
	"granary/httpapi/fault"
	"granary/httpapi/requestpath"
	"granary/repo"
	"granary/repo/config"
)

const (
	// Prefix is what all paths of the surface begin with.
	Prefix = "/v2"
	// Audience is what tokens are good for that the surface issues.
	Audience = "registry"

	service = "granary"
)

// Owns tells whether a path belongs to the surface.
func Owns(path string) bool {
	rest, ok := strings.CutPrefix(path, Prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// Repositories opens repositories by name; [repo.Service] is one.
type Repositories interface {
	Open(ctx context.Context, name string, access repo.Access) (*repo.Handle, error)
}

// Registry knows repositories; [config.Registry] is one.
type Registry interface {
	Named(name string) (*config.Repository, bool)
	RepositoryByID(id string) (*config.Repository, bool)
	Repositories() []*config.Repository
	Listening() []*config.Repository
}

// Users knows who may do what; [auth.Service] is one.
type Users interface {
	AuthenticateFor(ctx context.Context, r *http.Request, audience string) (auth.Identity, error)
	IssueScoped(id auth.Identity, audience string, scopes []auth.Scope) (auth.Session, error)
}

// Format is what the surface asks of the format of its repositories.
type Format interface {
	formats.Format
	formats.Lister
	formats.Mirror
	formats.Negotiator
}

// Config is what a Surface is made of.
type Config struct {
	Format       Format
	Repositories Repositories
	Registry     Registry
	Users        Users
	// Settings returns the settings in force.
	Settings func() *config.Settings
	// Now dates tokens. Optional.
	Now func() time.Time
}

// Surface answers requests below /v2.
type Surface struct{ Config }

// New returns the surface.
func New(c Config) (*Surface, error) {
	if c.Format == nil || c.Repositories == nil || c.Registry == nil || c.Users == nil || c.Settings == nil {
		return nil, errors.New("registry: Format, Repositories, Registry, Users and Settings are required")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return &Surface{c}, nil
}

// Answer answers a request below /v2, or returns why not, for [Surface.Fail].
func (s *Surface) Answer(w http.ResponseWriter, r *http.Request) error {
	return s.answer(w, r, Prefix, "", strings.TrimPrefix(r.URL.Path, Prefix))
}

// AnswerWithin answers a request below /repository/{repository}/v2, where the
// repository's name is no part of names.
func (s *Surface) AnswerWithin(w http.ResponseWriter, r *http.Request, repository, path string) error {
	return s.answer(w, r, requestpath.Prefix+repository+Prefix, repository, path)
}

// request is one request of the surface.
type request struct {
	s     *Surface
	x     *exchange.Exchange
	w     http.ResponseWriter
	r     *http.Request
	query url.Values
	root  string // path of the surface: "/v2"
	only  string // repository that the surface was asked within, "" for all
}

func (s *Surface) answer(w http.ResponseWriter, r *http.Request, root, only, path string) error {
	x := exchange.From(r.Context())
	x.Route = Prefix + "/{name}"
	if only != "" {
		x.Route = requestpath.Prefix + "{repo}" + Prefix + "/{name}"
	}
	w.Header()["Docker-Distribution-Api-Version"] = apiVersion
	clean, slash, err := cleaned(path)
	if err != nil {
		return err
	}
	q := &request{s: s, x: x, w: w, r: r, root: root, only: only}
	if r.URL.RawQuery != "" {
		if q.query, err = url.ParseQuery(r.URL.RawQuery); err != nil {
			return formats.BadRequest("the query can't be read")
		}
	}
	switch clean {
	case "":
		return q.base()
	case "token":
		return q.token()
	}
	p := q.find(clean)
	if p.within == "_catalog" {
		return q.catalog(p)
	}
	return q.operate(p, slash)
}

// cleaned reads a path. In names there are no empty segments, and none that
// stand for another.
func cleaned(path string) (clean string, slash bool, err error) {
	clean, slash, err = requestpath.Clean(path)
	switch {
	case err != nil:
	case len(clean) > requestpath.MaxPath:
		err = fmt.Errorf("%w: %d bytes", requestpath.ErrTooLong, len(clean))
	case clean != strings.TrimSuffix(strings.TrimPrefix(path, "/"), "/"):
		err = fmt.Errorf("%w: an empty segment, or \".\"", requestpath.ErrInvalid)
	}
	if err != nil {
		return "", false, &formats.Coded{Code: codeNameInvalid, Err: err}
	}
	return clean, slash, nil
}

var apiVersion = []string{"registry/2.0"}

// base is what clients ask first: whether they are known here.
func (q *request) base() error {
	if !q.reads() {
		return notAllowed(q.r.Method, "GET, HEAD")
	}
	if q.x.Identity.Method == auth.Anonymous {
		return q.challenge("", &auth.CredentialError{Method: auth.Anonymous, Reason: "log in, or ask for a token"})
	}
	if q.x.Identity.MustChangePassword() {
		return q.x.LoggedIn()
	}
	h := q.w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", "2")
	q.w.WriteHeader(http.StatusOK)
	if q.r.Method != http.MethodHead {
		q.w.Write([]byte("{}")) //nolint:errcheck // the client went away
	}
	return nil
}

func (q *request) reads() bool {
	return q.r.Method == http.MethodGet || q.r.Method == http.MethodHead
}

func notAllowed(method, allow string) error {
	f := &fault.Fault{Status: http.StatusMethodNotAllowed, Code: fault.NotAllowed, Message: method + " is not possible here"}
	if allow != "" {
		f.Header = http.Header{"Allow": {allow}}
	}
	return f
}

// operate does what a request asks of one repository. Whether the caller may
// is decided from the names in the request, before anything is looked up.
func (q *request) operate(p place, slash bool) error {
	req := formats.Req{Method: q.r.Method, Path: "v2/" + p.within, Slash: slash, Query: q.query, Header: q.r.Header}
	op, ok := q.s.Format.Route(req)
	verb, image := usualVerb(q.r.Method), p.within
	if ok {
		verb, image = op.Needs(), q.s.Format.PackageOf(op)
		q.x.Action = op.Label
	}
	if err := q.authorise(verb, p, image); err != nil {
		return err
	}
	// What is behind a group is not in the scopes of a token.
	owner := q.x.Identity.Owner()
	access := func(verb formats.Verb, repository string) bool {
		return owner.CanBelow(string(verb), repository, image)
	}
	h, err := q.s.Repositories.Open(q.r.Context(), p.repository, access)
	if err != nil {
		return named(err)
	}
	if h.Config.Format != q.s.Format.Name() {
		return noRegistry(p.repository)
	}
	if !ok {
		return q.unrouted(req)
	}
	h.Source = q.source
	switch op.Kind {
	case formats.File:
		return q.read(h, op)
	case formats.Write:
		return q.write(h, op)
	case formats.Delete:
		if err := h.Delete(q.r.Context(), op, repo.Precondition{}); err != nil {
			return err
		}
		q.w.WriteHeader(http.StatusAccepted)
		return nil
	}
	limit, err := q.limit()
	if err != nil {
		return err
	}
	if q.r.Body != nil && q.r.Body != http.NoBody {
		q.r.Body = http.MaxBytesReader(q.w, q.r.Body, limit)
	}
	return h.Call(q.w, q.r, op)
}

// usualVerb is the right that a method needs where there is no such path.
func usualVerb(method string) formats.Verb {
	switch method {
	case http.MethodPut, http.MethodPost, http.MethodPatch:
		return formats.VerbWrite
	case http.MethodDelete:
		return formats.VerbDelete
	}
	return formats.VerbRead
}

// unrouted tells a path that there is not from one with other methods.
func (q *request) unrouted(req formats.Req) error {
	var allowed []string
	for _, m := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete} {
		req.Method = m
		if _, ok := q.s.Format.Route(req); ok {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) > 0 {
		return notAllowed(q.r.Method, strings.Join(allowed, ", "))
	}
	return &formats.Coded{Code: codeNameUnknown, Err: fmt.Errorf("there is nothing at this path: %w", formats.ErrNotFound)}
}

// limit returns the longest body in bytes, and refuses one that announces more.
func (q *request) limit() (int64, error) {
	limit := q.s.Settings().MaxArtifactBytes
	if q.r.ContentLength > limit {
		return 0, fmt.Errorf("%w: %d bytes, at most %d are possible", formats.ErrTooLarge, q.r.ContentLength, limit)
	}
	return limit, nil
}

func (q *request) read(h *repo.Handle, op formats.Op) error {
	c, err := h.Read(q.r.Context(), op, repo.ReadOptions{})
	if err != nil {
		return err
	}
	negotiated := q.s.Format.Negotiated(op, c)
	if negotiated {
		if op, c, err = q.negotiate(h, op, c); err != nil {
			return err
		}
	}
	if c.Lost != nil && q.r.Method == http.MethodHead {
		// Who is about to push asks so, and would send nothing.
		lost, err := c.Lost(q.r.Context())
		if err == nil && lost {
			err = fmt.Errorf("%s: its bytes are lost: %w", op.Key(), formats.ErrNotFound)
		}
		if err != nil {
			return err
		}
	}
	name := op.Name
	if !op.Fixed && len(c.Sums.SHA256) > 0 {
		name = "sha256:" + c.Sums.Hex(digest.SHA256)
	}
	q.w.Header()["Docker-Content-Digest"] = []string{name}
	if q.r.Method == http.MethodGet && op.Type == "" {
		if c, err = verified(q.r.Context(), c); err != nil {
			return err
		}
	}
	if c.Presign != nil && op.Fixed && op.Type != "" && q.r.Method == http.MethodGet {
		url, ok, err := c.Presign(q.r.Context(), op.Type)
		if err != nil {
			return err
		}
		if ok {
			q.w.Header().Set("Location", url)
			q.w.WriteHeader(http.StatusTemporaryRedirect)
			return nil
		}
	}
	return content.Serve(q.w, q.r, c, content.Options{Private: q.x.Credentials(), Document: negotiated})
}

// negotiate returns what the client can read of what it asked for by a name that
// moves. If that is gone it gets what there is.
func (q *request) negotiate(h *repo.Handle, op formats.Op, c *formats.Content) (formats.Op, *formats.Content, error) {
	instead, err := q.s.Format.Instead(q.r.Context(), op, q.r.Header, c)
	if err != nil || instead.Key() == op.Key() {
		return op, c, err
	}
	found, err := h.Read(q.r.Context(), instead, repo.ReadOptions{})
	if errors.Is(err, formats.ErrNotFound) {
		return op, c, nil
	}
	if err != nil {
		return op, c, err
	}
	moves := *found
	moves.Fixed, moves.Warning = false, c.Warning
	return instead, &moves, nil
}

func (q *request) write(h *repo.Handle, op formats.Op) error {
	limit, err := q.limit()
	if err != nil {
		return err
	}
	up := &formats.Upload{
		Header: q.r.Header, Query: q.query, Repository: h.Config.Name,
		Body: formats.Limit(q.r.Body, limit, "body"), Size: q.r.ContentLength,
	}
	records, err := h.Write(q.r.Context(), op, up, repo.Precondition{})
	if err != nil {
		return err
	}
	if a, ok := h.Format.(formats.Answerer); ok && a.Answer(q.w, q.r, op, records) {
		return nil
	}
	q.w.WriteHeader(http.StatusCreated)
	return nil
}
