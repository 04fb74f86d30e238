package httpapi

import (
	"net/http"
	"strings"

	"github.com/google/uuid"

	"granary/httpapi/requestpath"
)

// Values that are the same for all answers are shared; nothing appends to them
// in place, as their capacity is their length.
var (
	nosniff    = []string{"nosniff"}
	noReferrer = []string{"no-referrer"}
	noFrames   = []string{"frame-ancestors 'none'"}
)

// setHeaders sets what every answer carries. What keeps pages apart is left out
// of artifacts, which are none: each header costs the smallest download a
// percent or two, and package content sets its own for files that browsers
// take for pages.
func setHeaders(h http.Header, path, id string) {
	h["X-Request-Id"] = []string{id}
	h["X-Content-Type-Options"] = nosniff
	if strings.HasPrefix(path, requestpath.Prefix) {
		return
	}
	h["Referrer-Policy"] = noReferrer
	h["Content-Security-Policy"] = noFrames
}

// requestID takes over the client's id if it is harmless.
func requestID(h http.Header) string {
	if v := h["X-Request-Id"]; len(v) == 1 && harmlessID(v[0]) {
		return v[0]
	}
	return uuid.NewString()
}

// harmlessID is [A-Za-z0-9._-]{1,128}.
func harmlessID(s string) bool {
	if s == "" || len(s) > 128 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return true
}

// traceID reads the trace id of a W3C traceparent: version, 32 hex digits of
// trace id that are not all zero, parent id, flags.
func traceID(h http.Header) string {
	v := h["Traceparent"]
	if len(v) != 1 || len(v[0]) < 55 || v[0][2] != '-' || v[0][35] != '-' {
		return ""
	}
	id := v[0][3:35]
	if strings.Trim(id, "0123456789abcdef") != "" || strings.Trim(id, "0") == "" {
		return ""
	}
	return id
}
