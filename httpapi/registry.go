package httpapi

import (
	"net/http"
	"strings"

	"granary/formats"
	"granary/httpapi/exchange"
	"granary/httpapi/fault"
	"granary/httpapi/registry"
	"granary/httpapi/requestpath"
)

// registry answers what lies below /v2.
func (s *server) registry(w http.ResponseWriter, r *http.Request) {
	if err := s.Registry.Answer(w, r); err != nil {
		s.failRegistry(w, r, err)
	}
}

func (s *server) failRegistry(w http.ResponseWriter, r *http.Request, err error) {
	s.failAs(w, r, err, func(told fault.Fault) { registry.Fail(w, r, err, told) })
}

// inRegistry tells whether tokens that the registry surface gave out are good
// for a path. Those have no right on anything but registries.
func (s *server) inRegistry(path string) bool {
	if s.Registry == nil {
		return false
	}
	if registry.Owns(path) {
		return true
	}
	rest, ok := strings.CutPrefix(path, requestpath.Prefix)
	_, rest, below := strings.Cut(rest, "/")
	return ok && below && registry.Owns("/"+rest)
}

// withinRegistry returns the path below /repository/{repo}/v2 of a registry on
// which the caller has a right; others hear what they hear of any repository.
func (s *server) withinRegistry(x *exchange.Exchange, t requestpath.Target) (string, bool) {
	if s.Registry == nil || t.AsOf != "" || !registry.Owns("/"+t.Path) || !s.Registry.IsRegistry(t.Repository) {
		return "", false
	}
	owner := x.Identity.Owner()
	for _, verb := range []formats.Verb{formats.VerbRead, formats.VerbWrite, formats.VerbDelete} {
		if owner.CanSome(string(verb), t.Repository, "") {
			return strings.TrimPrefix(t.Path, "v2"), true
		}
	}
	return "", false
}
