package httpapi

import (
	"encoding/json"
	"net/http"
	"strconv"

	"granary/httpapi/exchange"
)

// alive answers as long as the process does.
func (s *server) alive(w http.ResponseWriter, r *http.Request) error {
	return writeStatus(w, r, http.StatusOK, "ok", s.Version)
}

// health answers whether this node takes requests.
func (s *server) health(w http.ResponseWriter, r *http.Request) error {
	if err := s.Ready(); err != nil {
		w.Header().Set("Retry-After", "1")
		return writeStatus(w, r, http.StatusServiceUnavailable, "not ready", s.Version)
	}
	return writeStatus(w, r, http.StatusOK, "ok", s.Version)
}

func writeStatus(w http.ResponseWriter, r *http.Request, status int, text, version string) error {
	body, err := json.Marshal(struct {
		Status  string `json:"status"`
		Version string `json:"version"`
	}{text, version})
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body) //nolint:errcheck // the client went away; the status has been sent
	}
	return nil
}

// metrics needs a login, so that names of repositories don't leak; a listener
// of their own does not.
func (s *server) metrics(w http.ResponseWriter, r *http.Request) error {
	if err := exchange.From(r.Context()).LoggedIn(); err != nil {
		return err
	}
	s.Metrics.Handler().ServeHTTP(w, r)
	return nil
}
