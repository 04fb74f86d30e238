package httpapi

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"granary/httpapi/exchange"
	"granary/repo/config"
)

// cors lets pages of other origins read what the settings allow them to. It
// returns true if the request was a preflight and is answered: a browser sends
// those without credentials.
func cors(c *config.CORS, x *exchange.Exchange, r *http.Request) (answered bool) {
	if c == nil {
		return false
	}
	anyOrigin := slices.Contains(c.AllowedOrigins, "*")
	if !anyOrigin {
		x.Vary("Origin") // whether there is one or not, for caches
	}
	origin := r.Header.Get("Origin")
	allowed := anyOrigin || slices.ContainsFunc(c.AllowedOrigins, func(o string) bool { return strings.EqualFold(o, origin) })
	if origin == "" || !allowed {
		return false
	}
	h := x.Header()
	if anyOrigin {
		h.Set("Access-Control-Allow-Origin", "*")
	} else {
		h.Set("Access-Control-Allow-Origin", origin)
	}
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", strings.Join(c.AllowedMethods, ", "))
	h.Set("Access-Control-Allow-Headers", strings.Join(c.AllowedHeaders, ", "))
	h.Set("Access-Control-Max-Age", strconv.FormatInt(c.MaxAge, 10))
	x.WriteHeader(http.StatusOK)
	return true
}
