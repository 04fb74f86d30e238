// Package httpapi is the HTTP surface: routing, middleware, the artifact
// routes below /repository/, and the mounting of REST v1 ([granary/httpapi/rest]).
//
// Every request passes one function ([server.ServeHTTP]) that gives it an id,
// tells who sends it, counts and logs it, and recovers from panics. Handlers
// return errors; one table ([granary/httpapi/fault]) knows their status, and
// one method ([server.fail]) writes the answer. What a path names is read in
// one place ([granary/httpapi/requestpath]) and what it needs is decided in one
// ([granary/httpapi/exchange.Exchange.Authorise]).
package httpapi

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"granary/audit"
	"granary/auth"
	"granary/formats"
	"granary/httpapi/content"
	"granary/httpapi/exchange"
	"granary/httpapi/fault"
	"granary/httpapi/nexus"
	"granary/httpapi/origin"
	"granary/httpapi/registry"
	"granary/httpapi/requestpath"
	"granary/httpapi/rest"
	"granary/repo"
	"granary/repo/config"
	"granary/telemetry"
	"granary/telemetry/spans"
)

// Authenticator tells who sent a request; [auth.Service] is one.
type Authenticator interface {
	Authenticate(ctx context.Context, r *http.Request) (auth.Identity, error)
	// AuthenticateToken judges a token that stood elsewhere in r.
	AuthenticateToken(ctx context.Context, r *http.Request, token auth.Secret) (auth.Identity, error)
}

// Auditor keeps who did what; [audit.Log] is one.
type Auditor interface{ Add(e audit.Entry) }

// Repositories opens repositories by name; [repo.Service] is one.
type Repositories interface {
	Open(ctx context.Context, name string, access repo.Access) (*repo.Handle, error)
	OpenAsOf(ctx context.Context, name, asOf string, access repo.Access) (*repo.Handle, error)
}

// Config is what the surface is made of.
type Config struct {
	Auth         Authenticator
	Repositories Repositories
	// Formats are asked for the credentials that only their clients send, and
	// for the challenges that only these understand.
	Formats []formats.Format
	// Audit is told who did what. Optional.
	Audit Auditor
	// Settings returns the settings in force.
	Settings func() *config.Settings
	// REST is what the routes below /api/v1 need.
	REST rest.Config
	// Registry answers what lies below /v2. Optional.
	Registry *registry.Surface
	// Version begins with a number.
	Version string

	// Origin tells URLs and client addresses. Optional.
	Origin *origin.Policy
	// Ready tells why this node can't answer, nil if it can. Optional.
	Ready func() error
	// Expand replaces the stand-ins of documents; [repo.Expand].
	Expand func(w io.Writer, base string) io.WriteCloser
	// Metrics counts requests. Optional.
	Metrics *telemetry.Metrics
	// MetricsElsewhere: /metrics has a listener of its own and is not answered
	// here.
	MetricsElsewhere bool
	// Traces makes spans of requests. Optional.
	Traces *spans.Tracer
	// Log is for errors. Optional.
	Log *slog.Logger
	// RequestLog gets a line for each request while settings.access_log is on.
	// Optional.
	RequestLog *slog.Logger
	// Stall is how long a client may neither send nor take anything; 0 is a
	// minute.
	Stall time.Duration
	// Now is the clock of logs and metrics. Optional.
	Now func() time.Time
}

type server struct {
	Config
	router   *mux.Router
	limiter  limiter
	expanded *content.Expanded
}

// expandedBytes bounds the memory for documents with absolute URLs.
const expandedBytes = 16 << 20

// New returns the handler of the main listener.
func New(c Config) (http.Handler, error) {
	s := &server{Config: c}
	if s.Origin == nil {
		s.Origin = &origin.Policy{}
	}
	if s.Ready == nil {
		s.Ready = func() error { return nil }
	}
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	if s.Stall == 0 {
		s.Stall = time.Minute
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	switch {
	case s.Auth == nil, s.Repositories == nil, s.Settings == nil, s.Expand == nil:
		return nil, errors.New("httpapi: Auth, Repositories, Settings and Expand are required")
	}
	var err error
	if s.expanded, err = content.NewExpanded(expandedBytes, s.Expand); err != nil {
		return nil, err
	}
	s.REST.Version = s.Version
	if err := s.routes(); err != nil {
		return nil, err
	}
	return s, nil
}

// handler answers a request, or returns why not.
type handler func(w http.ResponseWriter, r *http.Request) error

// routes lists the prefixes. Paths are matched as they were sent: nothing is
// cleaned or redirected before it was parsed.
func (s *server) routes() error {
	m := mux.NewRouter().SkipClean(true).UseEncodedPath()
	m.PathPrefix(requestpath.Prefix).HandlerFunc(s.repository)
	if s.Registry != nil {
		m.Path(registry.Prefix).HandlerFunc(s.registry)
		m.PathPrefix(registry.Prefix + "/").HandlerFunc(s.registry)
	}
	// A known path with another method is told apart by mux: see wrongMethod.
	for path, h := range map[string]handler{"/live": s.alive, "/healthz": s.alive, "/ready": s.health, "/health": s.health} {
		m.Path(path).Methods(http.MethodGet, http.MethodHead).Handler(s.route(path, h))
	}
	s.publishers(m)
	if s.Metrics != nil && !s.MetricsElsewhere {
		m.Path("/metrics").Methods(http.MethodGet, http.MethodHead).Handler(s.route("/metrics", s.metrics))
	}
	api, err := rest.New(m, s.REST, s.failREST)
	if err != nil {
		return err
	}
	err = nexus.Mount(m, api.OpenAPI(), nexus.Config{
		Registry: s.REST.Registry, Repositories: s.Repositories, Settings: s.Settings, Fail: s.failText,
	})
	if err != nil {
		return err
	}
	describeArtifacts(api.OpenAPI())
	if s.Registry != nil {
		registry.Describe(api.OpenAPI())
	}
	if err := s.documentation(m, api); err != nil {
		return err
	}
	m.NotFoundHandler = http.HandlerFunc(s.unmatched)
	m.MethodNotAllowedHandler = http.HandlerFunc(s.wrongMethod)
	s.router = m
	return nil
}

// dispatch finds who answers. The paths of artifacts need no router, which
// copies the request twice for variables that they don't have; those that are
// spelled in an unusual way take the router, to the same handlers.
func (s *server) dispatch(x *exchange.Exchange, r *http.Request) {
	if u := r.URL; u.RawPath == "" {
		if strings.HasPrefix(u.Path, requestpath.Prefix) {
			s.repository(x, r)
			return
		}
		if s.Registry != nil && strings.HasPrefix(u.Path, registry.Prefix+"/") {
			s.registry(x, r)
			return
		}
	}
	s.router.ServeHTTP(x, r)
}

// route names a handler for metrics and log.
func (s *server) route(template string, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := exchange.From(r.Context())
		x.Route = template
		if err := h(w, r); err != nil {
			s.fail(w, r, err, nil)
		}
	})
}

// unmatched answers paths that nothing is at. There is no page to show instead
// of an error until the UI is there.
func (s *server) unmatched(w http.ResponseWriter, r *http.Request) {
	fault.Fault{Status: http.StatusNotFound, Code: fault.NotFound, Message: "there is nothing at this path"}.WriteJSON(w, r)
}

// failREST logs what a REST handler failed with; rest writes the answer.
func (s *server) failREST(r *http.Request, err error, f fault.Fault) { s.note(r, err, f) }
