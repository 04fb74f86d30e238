package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"granary/auth"
	"granary/formats"
	"granary/httpapi/exchange"
	"granary/httpapi/fault"
	"granary/httpapi/registry"
	"granary/httpapi/requestpath"
	"granary/telemetry"
	"granary/telemetry/spans"
)

// unmatchedRoute stands for all paths that no route has, in labels.
const unmatchedRoute = "unmatched"

// ServeHTTP is what every request passes, in and out.
func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := s.Now()
	var root *spans.Root
	if !isProbe(r.URL.Path) {
		r, root = s.Traces.Request(r)
	}
	x, r := exchange.Begin(w, r, s.Stall, s.Origin.Base)
	x.ID = requestID(r.Header)
	x.Client = s.Origin.Client(r)
	if x.TraceID = root.TraceID(); x.TraceID == "" {
		x.TraceID = traceID(r.Header)
	}
	setHeaders(w.Header(), r.URL.Path, x.ID)
	c, plain := r.Context().Value(connKey{}).(*conn)
	if plain {
		x.Conn = c
	}
	if mayBeSmuggled(r, c) {
		w.Header().Set("Connection", "close")
	}
	if s.Metrics != nil {
		s.Metrics.Begin()
	}
	defer s.end(x, r, started, root)
	s.serve(x, r)
}

// serve tells who asks and passes the request on.
func (s *server) serve(x *exchange.Exchange, r *http.Request) {
	defer s.recovered(x, r)
	if cors(s.Settings().CORS, x, r) {
		return
	}
	probe := isProbe(r.URL.Path)
	if limit := s.Settings().RateLimit; limit != nil && !probe {
		if wait := s.limiter.take(s.Now(), x.Client, limit); wait > 0 {
			s.fail(x, r, &fault.Fault{
				Status: http.StatusTooManyRequests, Code: fault.RateLimited, Message: "too many requests", RetryAfter: wait,
			}, nil)
			return
		}
	}
	if err := s.Ready(); err != nil && !probe {
		s.fail(x, r, fmt.Errorf("%w: %w", fault.ErrNotReady, err), nil)
		return
	}
	// A probe without credentials must not depend on what knows users.
	if !probe || r.Header["Authorization"] != nil {
		if err := s.authenticate(x, r); err != nil {
			s.fail(x, r, err, nil)
			return
		}
	}
	s.dispatch(x, r)
}

func (s *server) authenticate(x *exchange.Exchange, r *http.Request) error {
	id, err := s.identify(x, r)
	x.Identity = id
	if err != nil {
		x.Refused = attempted(r, err)
		x.Subject, _, _ = r.BasicAuth()
	}
	if s.Metrics == nil {
		return err
	}
	method, result := id.Method, telemetry.Success
	if err != nil {
		method, result = attempted(r, err), telemetry.Failure
	}
	s.Metrics.Auth(string(method), result)
	return err
}

// identify tells who asks. Credentials in a place of a format's own are looked
// for where everybody's are missing or not understood.
func (s *server) identify(x *exchange.Exchange, r *http.Request) (auth.Identity, error) {
	if s.inRegistry(r.URL.Path) {
		return s.Registry.Users.AuthenticateFor(r.Context(), r, registry.Audience)
	}
	id, err := s.Auth.Authenticate(r.Context(), r)
	if err != nil && carriesIDToken(r) && attempted(r, err) == auth.JWT {
		return s.nobody(r)
	}
	if err == nil && id.Method != auth.Anonymous || err != nil && attempted(r, err) != auth.Unknown {
		return id, err
	}
	token, ok := s.native(r)
	if !ok {
		return id, err
	}
	x.NativeToken = token
	return s.Auth.AuthenticateToken(r.Context(), r, auth.Secret(token))
}

// nobody is who sends a request without credentials.
func (s *server) nobody(r *http.Request) (auth.Identity, error) {
	bare := *r
	bare.Header = http.Header{}
	return s.Auth.Authenticate(r.Context(), &bare)
}

// native returns the token that a request below a repository carries in a
// place of any format's own. Which format the repository has must not be
// looked up before it is known who asks; see artifact.route.
func (s *server) native(r *http.Request) (token string, ok bool) {
	if !strings.HasPrefix(r.URL.Path, requestpath.Prefix) || len(r.Header["Authorization"]) > 1 {
		return "", false
	}
	for _, f := range s.Formats {
		if c, is := f.(formats.Credentialer); is {
			if token, ok := c.Credential(r); ok {
				return token, true
			}
		}
	}
	return "", false
}

// attempted is the method of credentials that were refused.
func attempted(r *http.Request, err error) auth.Method {
	var c *auth.CredentialError
	if errors.As(err, &c) {
		return c.Method
	}
	switch scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " "); {
	case strings.EqualFold(scheme, "Basic"):
		return auth.Basic
	case strings.EqualFold(scheme, "Bearer"):
		return auth.JWT
	}
	return auth.Unknown
}

// recovered turns a panic into a 500. http.ErrAbortHandler goes on its way to
// net/http, which cuts the connection.
func (s *server) recovered(x *exchange.Exchange, r *http.Request) {
	v := recover()
	if v == nil {
		return
	}
	if err, ok := v.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		panic(http.ErrAbortHandler)
	}
	s.Log.ErrorContext(r.Context(), "panic while answering",
		"request_id", x.ID, "method", r.Method, "path", r.URL.Path, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
	if x.Status() != 0 {
		panic(http.ErrAbortHandler)
	}
	fault.Fault{Status: http.StatusInternalServerError, Code: fault.Internal, Message: "internal error; request " + x.ID}.WriteJSON(x, r)
}

// end counts and logs the request, and ends its span.
func (s *server) end(x *exchange.Exchange, r *http.Request, started time.Time, root *spans.Root) {
	took := s.Now().Sub(started)
	status := x.Status()
	switch {
	case x.ClientGone() && (status == 0 || status >= 500):
		status = fault.StatusClientGone
	case status == 0:
		status = http.StatusOK // net/http sends it for a handler that wrote nothing
	}
	route := x.Route
	if route == "" {
		route = unmatchedRoute
	}
	if s.Metrics != nil {
		s.Metrics.End(r.Method, route, status, took)
	}
	s.record(x, r, started, status)
	logged := s.RequestLog != nil && s.Settings().AccessLog
	if !logged && root == nil {
		return
	}
	line := &telemetry.Request{
		ID: x.ID, Username: x.Identity.Name, IP: x.Client, Method: r.Method, Path: r.URL.Path, Status: status,
		Action: x.Action, Elapsed: took, BytesRecv: x.Received(), BytesSent: x.Sent(),
		Direction: telemetry.Downstream, TraceID: x.TraceID,
	}
	if logged {
		// The context may have ended with the client.
		telemetry.LogRequest(context.WithoutCancel(r.Context()), s.RequestLog, line)
	}
	root.Answered(route, line)
}

// isProbe tells the paths that orchestrators ask; they say themselves whether
// the node is ready.
func isProbe(path string) bool {
	switch path {
	case "/live", "/healthz", "/ready", "/health", "/api/v1/health":
		return true
	}
	return false
}
