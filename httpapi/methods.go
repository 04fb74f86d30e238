package httpapi

import (
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"

	"granary/httpapi/fault"
)

// asked lists the methods that a route may be for, in the order of Allow.
var asked = []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}

// wrongMethod answers requests to a path that has routes, none of them for
// their method. What can be got can be asked about: HEAD is GET of which
// net/http keeps the body back. Other methods are 405 with Allow.
func (s *server) wrongMethod(w http.ResponseWriter, r *http.Request) {
	allowed := s.allowed(r)
	if r.Method == http.MethodHead && slices.Contains(allowed, http.MethodGet) {
		s.router.ServeHTTP(w, withMethod(r, http.MethodGet))
		return
	}
	fault.Fault{
		Status: http.StatusMethodNotAllowed, Header: http.Header{"Allow": {strings.Join(allowed, ", ")}},
	}.WriteEmpty(w, r)
}

// allowed lists the methods that the path of r has routes for.
func (s *server) allowed(r *http.Request) []string {
	var have []string
	for _, method := range asked {
		var m mux.RouteMatch
		if s.router.Match(withMethod(r, method), &m) && m.MatchErr == nil ||
			method == http.MethodHead && slices.Contains(have, http.MethodGet) {
			have = append(have, method)
		}
	}
	return have
}

func withMethod(r *http.Request, method string) *http.Request {
	r = r.WithContext(r.Context())
	r.Method = method
	return r
}
