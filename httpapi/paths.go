package httpapi

import (
	"net/http"
	"net/url"
	"strings"

	"granary/httpapi/requestpath"
)

// location is the URL of an artifact.
func location(base, repository, path string) string {
	u := url.URL{Path: requestpath.Prefix + repository + "/" + path}
	return base + u.EscapedPath()
}

// parseQuery returns nil for a request without one.
func parseQuery(r *http.Request) (url.Values, error) {
	if r.URL.RawQuery == "" {
		return nil, nil
	}
	return url.ParseQuery(r.URL.RawQuery)
}

// wantsFresh tells whether the client asks for the latest state.
func wantsFresh(h http.Header) bool {
	for _, v := range h["Cache-Control"] {
		for directive := range strings.SplitSeq(v, ",") {
			if d := strings.TrimSpace(directive); strings.EqualFold(d, "no-cache") || strings.EqualFold(d, "max-age=0") {
				return true
			}
		}
	}
	return false
}
