package httpapi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gorilla/mux"
	"github.com/swaggest/swgui/v5emb"

	"granary/httpapi/content"
	"granary/httpapi/exchange"
	"granary/httpapi/fault"
)

const swaggerPath = "/swagger-ui/"

// swaggerPage loads nothing from elsewhere and has no inline script, so that
// its policy can be strict. Its links are relative, for servers below a prefix.
const swaggerPage = `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>granary API</title>
<link rel="stylesheet" href="swagger-ui.css">
<link rel="icon" type="image/png" href="favicon-32x32.png">
</head>
<body>
<div id="ui"></div>
<script src="swagger-ui-bundle.js"></script>
<script src="granary.js"></script>
</body>
</html>
`

const swaggerScript = `SwaggerUIBundle({url: "../api-docs/openapi.json", dom_id: "#ui", deepLinking: true, validatorUrl: null});
`

const swaggerPolicy = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
	"connect-src 'self'; frame-ancestors 'none'"

// documentation mounts the OpenAPI document and the page that shows it. Both
// are for whoever is logged in.
func (s *server) documentation(m *mux.Router, api huma.API) error {
	doc, err := json.Marshal(api.OpenAPI())
	if err != nil {
		return fmt.Errorf("write the OpenAPI document: %w", err)
	}
	assets := v5emb.New("granary", "../api-docs/openapi.json", swaggerPath)
	get := func(path, route string, h http.HandlerFunc) {
		m.Path(path).Methods(http.MethodGet, http.MethodHead).Handler(s.documented(route, h))
	}
	get("/api-docs/openapi.json", "/api-docs/openapi.json", fixed("application/json", doc))
	get("/swagger-ui", swaggerPath, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "swagger-ui/")
		w.WriteHeader(http.StatusPermanentRedirect)
	})
	get(swaggerPath, swaggerPath, fixed("text/html; charset=utf-8", []byte(swaggerPage)))
	get(swaggerPath+"granary.js", swaggerPath, fixed("text/javascript; charset=utf-8", []byte(swaggerScript)))
	get(swaggerPath+"{asset:[a-z0-9.-]+}", swaggerPath, assets.ServeHTTP)
	return nil
}

// documented answers those who are logged in; others get a status and nothing
// more.
func (s *server) documented(route string, h http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := exchange.From(r.Context())
		x.Route = route
		if err := x.LoggedIn(); err != nil {
			fault.Of(err).WriteEmpty(w, r)
			return
		}
		w.Header().Set("Content-Security-Policy", swaggerPolicy)
		w.Header().Set("Cache-Control", "private, no-cache")
		h(w, r)
	})
}

// fixed answers with bytes that don't change while the server runs.
func fixed(mediaType string, body []byte) http.HandlerFunc {
	tag := content.TagOf(body)
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Etag", tag)
		if content.Match(r.Header["If-None-Match"], tag, true) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		h.Set("Content-Type", mediaType)
		h.Set("Content-Length", strconv.Itoa(len(body)))
		w.WriteHeader(http.StatusOK)
		if r.Method != http.MethodHead {
			w.Write(body) //nolint:errcheck // the client went away; the status has been sent
		}
	}
}
