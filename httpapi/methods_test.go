package httpapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestWrongMethods: a 405 says what is possible, as RFC 9110 asks.
func TestWrongMethods(t *testing.T) {
	r := newRig(t, withEverything)
	for path, want := range map[string]string{
		"/api/v1/repositories":                        "GET, HEAD, POST",
		"/api/v1/repositories/files":                  "GET, HEAD, PUT, DELETE",
		"/api/v1/repositories/files/clone":            "POST",
		"/api/v1/auth/login":                          "POST",
		"/api/v1/users/alice":                         "GET, HEAD, PUT, DELETE",
		"/api/v1/tokens/x":                            "DELETE",
		"/api/v1/tasks/gc":                            "GET, HEAD, POST, DELETE", // gc is an id, too
		"/api/v1/settings":                            "GET, HEAD, PUT",
		"/api/v1/health":                              "GET, HEAD",
		"/health":                                     "GET, HEAD",
		"/metrics":                                    "GET, HEAD",
		"/api-docs/openapi.json":                      "GET, HEAD",
		"/service/rest/v1/status":                     "GET, HEAD",
		"/service/rest/v1/components?repository=none": "GET, HEAD, POST",
		"/service/rest/v1/assets/x":                   "GET, HEAD, DELETE",
	} {
		for _, method := range []string{"PATCH", "OPTIONS", "BREW"} {
			r.do("admin", method, path, nil).status(405).header("Allow", want).is("")
		}
	}
	r.do("admin", "HEAD", "/api/v1/auth/login", nil).status(405).header("Allow", "POST")
}

// TestHeadOfEveryGet: HEAD is answered as GET is, to each caller, without a
// body.
func TestHeadOfEveryGet(t *testing.T) {
	r := routeRig(t)
	s := httptest.NewServer(r.handler)
	defer s.Close()
	for line := range routeTable {
		method, template, _ := strings.Cut(line, " ")
		if method != http.MethodGet {
			continue
		}
		target := fillIn(template, "raw")
		for _, c := range callers {
			if c.name != "administrator" && c.name != "no rights" && c.name != "nobody" {
				continue
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, s.URL+target, nil)
			if err != nil {
				t.Fatal(err)
			}
			if a := c.authorization(r); a != "" {
				req.Header.Set("Authorization", a)
			}
			res, err := http.DefaultTransport.RoundTrip(req)
			if err != nil {
				t.Errorf("HEAD %s as %s: %v", target, c.name, err)
				continue
			}
			res.Body.Close()
			if want := r.statusOf(http.MethodGet, target, c.authorization(r)); res.StatusCode != want {
				t.Errorf("HEAD %s as %s: status %d, want %d as of GET", target, c.name, res.StatusCode, want)
			}
		}
	}
}

// TestHeadSendsNothing: what net/http keeps back is not counted as sent, and
// the length is that of the GET.
func TestHeadSendsNothing(t *testing.T) {
	r := newRig(t)
	s := httptest.NewServer(r.handler)
	defer s.Close()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodHead, s.URL+"/api/v1/health", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if text := r.log.String(); !strings.Contains(text, `"method":"HEAD"`) || !strings.Contains(text, `"bytes_sent":0`) {
		t.Errorf("log %s", text)
	}
	if want := int64(len(r.do("", "GET", "/api/v1/health", nil).text)); res.ContentLength != want {
		t.Errorf("Content-Length %d, want %d", res.ContentLength, want)
	}
}
