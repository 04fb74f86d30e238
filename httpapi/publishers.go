package httpapi

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/gorilla/mux"

	"granary/auth"
	"granary/formats"
	"granary/httpapi/exchange"
	"granary/httpapi/fault"
)

// Where the clients of package formats exchange a build server's ID token for
// one that publishes. They ask at the root of the host, whatever the path of the
// repository is.
const (
	// PyPI's, of uv, as the internals of its trusted publishers are documented.
	audiencePath = "/_/oidc/audience"
	mintPath     = "/_/oidc/mint-token"
	// npm's, before a package's name; it sends the ID token as its credentials.
	npmExchange = "/-/npm/v1/oidc/token/exchange/package/"
)

// maxIDTokenBody is the body of an exchange in bytes, as for log-ins.
const maxIDTokenBody = 64 << 10

func (s *server) publishers(m *mux.Router) {
	for _, p := range []struct {
		method, path string
		h            handler
	}{{http.MethodGet, audiencePath, s.audience}, {http.MethodPost, mintPath, s.mint}, {http.MethodPost, npmExchange + "{package:.+}", s.exchangeNPM}} {
		m.Path(p.path).Methods(p.method).HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			exchange.From(r.Context()).Route = p.path
			if err := p.h(w, r); err != nil {
				s.failExchange(w, r, err)
			}
		})
	}
}

// audience tells for whom the ID token has to be made.
func (s *server) audience(w http.ResponseWriter, _ *http.Request) error {
	o, _ := s.REST.Auth.Providers()
	if len(o.Workloads) == 0 {
		return fmt.Errorf("no build server is trusted: %w", formats.ErrNotFound)
	}
	return sendJSON(w, http.StatusOK, map[string]string{"audience": o.Workloads[0].Audience})
}

// mint is the exchange as uv asks for it.
func (s *server) mint(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Token string `json:"token"`
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxIDTokenBody))
	if err != nil {
		return fmt.Errorf("read the ID token: %w", err)
	}
	if json.Unmarshal(body, &in) != nil || in.Token == "" {
		return formats.BadRequest(`the body is not {"token": …}`)
	}
	session, err := s.exchanged(r, in.Token)
	if err != nil {
		return err
	}
	return sendJSON(w, http.StatusOK, map[string]any{"success": true, "token": string(session.Token), "expires": s.Now().Add(session.Life).Unix()})
}

// exchangeNPM is the exchange as npm asks for it. The package's name decides
// nothing: what may be published is up to the account's roles.
func (s *server) exchangeNPM(w http.ResponseWriter, r *http.Request) error {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if exchange.From(r.Context()).Credentials() || !strings.EqualFold(scheme, "Bearer") {
		return formats.BadRequest("send the ID token as Bearer")
	}
	session, err := s.exchanged(r, strings.TrimSpace(token))
	if err != nil {
		return err
	}
	return sendJSON(w, http.StatusCreated, map[string]any{"token_type": "oidc", "token": string(session.Token), "expires": s.Now().Add(session.Life).UTC()})
}

// carriesIDToken tells a request whose credentials are what it asks to exchange.
func carriesIDToken(r *http.Request) bool {
	return r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, npmExchange)
}

func (s *server) exchanged(r *http.Request, token string) (auth.Session, error) {
	x := exchange.From(r.Context())
	x.Action = "exchange-oidc"
	session, err := s.REST.Auth.Exchange(r.Context(), auth.Secret(token))
	if err == nil {
		x.Subject = session.Username
	}
	return session, err
}

// failExchange answers in PyPI's form, which uv shows; npm goes on without.
func (s *server) failExchange(w http.ResponseWriter, r *http.Request, err error) {
	s.failAs(w, r, err, func(told fault.Fault) {
		told.Prepare(w, r)
		type reason struct {
			Code        string `json:"code"`
			Description string `json:"description"`
		}
		sendJSON(w, told.Status, map[string]any{ //nolint:errcheck // the client went away: the status has been sent
			"message": told.Message, "errors": []reason{{strings.ToLower(told.Code), told.Message}},
		})
	})
}

func sendJSON(w http.ResponseWriter, status int, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("write an answer: %w", err)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	w.Write(body) //nolint:errcheck // the client went away: the status has been sent
	return nil
}
