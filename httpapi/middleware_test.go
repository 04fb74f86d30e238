package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"granary/auth"
	"granary/formats"
	"granary/kv"
	"granary/repo/config"
)

func TestRequestID(t *testing.T) {
	r := newRig(t)
	uuid := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	long := strings.Repeat("x", 128)
	for sent, echoed := range map[string]bool{"abc.DEF_1-2": true, long: true, long + "x": false, "a b": false, `"><`: false, "": false} {
		for _, path := range []string{"/api/v1/health", "/repository/none/x", "/no/such/path"} {
			got := r.do("", "GET", path, nil, "X-Request-Id", sent).Header.Get("X-Request-Id")
			if echoed && got != sent || !echoed && !uuid.MatchString(got) {
				t.Errorf("%s: id %q is answered with %q", path, sent, got)
			}
		}
	}
}

func TestSecurityHeaders(t *testing.T) {
	r := newRig(t)
	r.do("", "GET", "/repository/none/x", nil).header("X-Content-Type-Options", "nosniff")
	for _, path := range []string{"/api/v1/health", "/no/such/path", "/live", "/api/v1/repositories/none"} {
		r.do("", "GET", path, nil).header("X-Content-Type-Options", "nosniff").header("Referrer-Policy", "no-referrer").
			header("Content-Security-Policy", "frame-ancestors 'none'").header("Set-Cookie", "")
	}
}

// Credentials that are wrong or not understood are 401 on every route, never
// served as anonymous.
func TestBadCredentials(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	r.Put("files", "x", []byte("x"))
	r.anyone("read", "*")
	r.do("", "GET", "/repository/files/x", nil).status(200)
	for _, authorization := range []string{"Basic !!!", "Basic eA==", "Basic YWRtaW46d3Jvbmc=", "Bearer nonsense", "Bearer ", "Digest x", "nonsense"} {
		for _, path := range []string{
			"/repository/files/x", "/api/v1/repositories", "/api/v1/health", "/api/v1/users", "/no/such/path", "/metrics", "/health", "/swagger-ui/",
		} {
			a := r.do("", "GET", path, nil, "Authorization", authorization).fails(401, "UNAUTHORIZED", "")
			want := `Basic realm="granary"`
			if strings.HasPrefix(authorization, "Bearer") {
				want = ""
			}
			a.header("Www-Authenticate", want)
		}
	}
}

func TestLockOut(t *testing.T) {
	r := newRig(t)
	for i := range 12 {
		a := r.do("", "GET", "/api/v1/repositories", nil, "Authorization", "Basic Ym9iOndyb25n")
		if i < 10 {
			a.fails(401, "UNAUTHORIZED", "")
		} else if a.fails(429, "RATE_LIMITED", ""); a.Header.Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
	}
}

func TestMustChangePassword(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	_, err := r.auth.CreateUser(t.Context(), auth.NewUser{Username: "new", Password: "password", Roles: []string{"admin"}, MustChangePassword: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/repository/files/x", "/api/v1/users", "/api/v1/repositories/files", "/metrics"} {
		r.do("new", "GET", path, nil).fails(403, "FORBIDDEN", "password")
	}
	r.do("new", "GET", "/swagger-ui/", nil).status(403)
	a := r.json("new", "POST", "/api/v1/auth/change-password", `{"username":"new","current_password":"password","new_password":"password2"}`).status(200)
	var s struct {
		Token      string
		MustChange *bool `json:"must_change_password"`
	}
	a.decode(&s)
	if s.MustChange == nil || *s.MustChange {
		t.Errorf("answer %s", a.text)
	}
	r.do("", "GET", "/api/v1/users", nil, "Authorization", "Bearer "+s.Token).status(200)
}

func TestHealth(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"/health", "/live", "/ready", "/healthz", "/api/v1/health"} {
		r.do("", "GET", path, nil).status(200).is(`{"status":"ok","version":"0.1.0"}`+map[bool]string{true: "\n"}[path == "/api/v1/health"]).header("Content-Type", "application/json")
		r.do("", "POST", path, nil).status(405).is("")
	}
	r.Create("files", config.Hosted, "raw", nil)
	r.setReady(errors.New("lost the cluster"))
	for path, want := range map[string]int{"/health": 503, "/live": 200, "/ready": 503, "/healthz": 200, "/api/v1/health": 503} {
		r.do("", "GET", path, nil).status(want)
	}
	for _, path := range []string{"/repository/files/x", "/api/v1/repositories", "/no/such/path", "/metrics"} {
		r.do("admin", "GET", path, nil).fails(503, "UNAVAILABLE", "").header("Retry-After", "1")
	}
	r.setReady(nil)
	r.do("admin", "GET", "/api/v1/repositories", nil).status(200)
}

func TestUnknownPaths(t *testing.T) {
	r := newRig(t)
	for _, path := range []string{"/", "/api", "/api/v1/nothing", "/api/v2/x", "/index.html", "/repository", "/swagger-ui/../x"} {
		r.do("admin", "GET", path, nil).fails(404, "NOT_FOUND", "")
	}
	r.do("admin", "PATCH", "/api/v1/repositories", nil).status(405).is("")
	r.do("admin", "DELETE", "/metrics", nil).status(405).is("")
}

func TestDocumentation(t *testing.T) {
	r := newRig(t)
	r.user("alice")
	for _, path := range []string{"/swagger-ui/", "/api-docs/openapi.json", "/swagger-ui/swagger-ui-bundle.js"} {
		r.do("", "GET", path, nil).status(401).is("")
		r.do("alice", "GET", path, nil).status(200)
	}
	page := r.do("alice", "GET", "/swagger-ui/", nil)
	if strings.Contains(page.text, "http:") || strings.Contains(page.text, "https:") {
		t.Error("the page loads from elsewhere")
	}
	var doc struct {
		OpenAPI string
		Paths   map[string]map[string]struct {
			RequestBody struct {
				Content map[string]struct{ Schema map[string]any }
			}
		}
		Components struct{ SecuritySchemes map[string]any }
	}
	r.do("alice", "GET", "/api-docs/openapi.json", nil).header("Content-Type", "application/json").decode(&doc)
	for _, path := range []string{"/api/v1/health", "/api/v1/repositories", "/api/v1/repositories/{name}", "/api/v1/repositories/{repo}/artifacts", "/api/v1/stores/{name}/check", "/api/v1/settings"} {
		if doc.Paths[path] == nil {
			t.Errorf("%s is not described", path)
		}
	}
	if doc.Paths["/api/v1/repositories"]["post"].RequestBody.Content["application/json"].Schema == nil {
		t.Error("the body that makes a repository is not described")
	}
	if doc.Components.SecuritySchemes["basic"] == nil || doc.Components.SecuritySchemes["bearer"] == nil {
		t.Errorf("security schemes %v", doc.Components.SecuritySchemes)
	}
	r.do("alice", "GET", "/swagger-ui/nothing.js", nil).status(404)
}

func TestMetrics(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	r.do("admin", "GET", "/repository/files/some/path", nil).status(404)
	r.do("admin", "BREW", "/invented/by/somebody", nil).status(404)
	r.do("admin", "GET", "/api/v1/repositories/files", nil).status(200)
	r.do("", "GET", "/metrics", nil).fails(401, "UNAUTHORIZED", "")
	text := r.do("admin", "GET", "/metrics", nil).status(200).text
	for _, want := range []string{
		`http_requests_total{http_request_method="GET",http_response_status_code="404",http_route="/repository/{repo}/{path}"} 1`,
		`http_requests_total{http_request_method="_OTHER",http_response_status_code="404",http_route="unmatched"} 1`,
		`http_requests_total{http_request_method="GET",http_response_status_code="200",http_route="/api/v1/repositories/{name}"} 1`,
		`http_requests_in_flight 1`,
		`auth_attempts_total{method="basic",result="success"} 4`,
		`auth_attempts_total{method="anonymous",result="success"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no line %s", want)
		}
	}
	if strings.Contains(text, "invented") || strings.Contains(text, "some/path") || strings.Contains(text, "BREW") {
		t.Error("what a client invented became a label value")
	}
}

func TestRequestLog(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	r.do("admin", "PUT", "/repository/files/x", strings.NewReader("hello"), "X-Request-Id", "the-id",
		"Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").status(201)
	line := map[string]any{}
	if err := json.Unmarshal([]byte(r.log.String()), &line); err != nil {
		t.Fatalf("%v in %s", err, r.log)
	}
	for k, want := range map[string]any{
		"request_id": "the-id", "username": "admin", "ip": "192.0.2.1", "method": "PUT", "path": "/repository/files/x", "status": 201.0,
		"action": "file", "bytes_recv": 5.0, "direction": "downstream", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
	} {
		if line[k] != want {
			t.Errorf("%s is %v, want %v", k, line[k], want)
		}
	}
	if line["elapsed_ns"].(float64) <= 0 || line["bytes_sent"].(float64) <= 0 {
		t.Errorf("line %v", line)
	}
	before := len(r.log.String())
	if _, err := r.Registry.UpdateSettings(t.Context(), func(s *config.Settings) error { s.AccessLog = false; return nil }); err != nil {
		t.Fatal(err)
	}
	r.do("admin", "GET", "/repository/files/x", nil).status(200)
	if len(r.log.String()) != before {
		t.Error("logged although access_log is off")
	}
}

func TestPanicBecomes500(t *testing.T) {
	r := newRig(t)
	r.Create("odd", config.Hosted, "probe", nil)
	r.probe.call = func(http.ResponseWriter, *http.Request) error { panic(errSecret) }
	r.do("admin", "GET", "/repository/odd/call", nil, "X-Request-Id", "the-id").fails(500, "INTERNAL_ERROR", "the-id")
	if !strings.Contains(r.log.String(), errSecret.Error()) {
		t.Error("the panic was not logged")
	}
	r.probe.call = func(w http.ResponseWriter, _ *http.Request) error {
		fmt.Fprint(w, "half an ")
		panic("answer")
	}
	func() {
		defer func() {
			if recover() != http.ErrAbortHandler {
				t.Error("half an answer was not cut off")
			}
		}()
		r.do("admin", "GET", "/repository/odd/call", nil)
	}()
}

func TestErrorsOfFormats(t *testing.T) {
	r := newRig(t)
	r.Create("odd", config.Hosted, "probe", nil)
	r.probe.accept = func(context.Context, formats.Op, *formats.Upload, formats.Tx) error { return errSecret }
	a := r.do("admin", "POST", "/repository/odd/x", strings.NewReader("x")).fails(500, "INTERNAL_ERROR", "internal error")
	if strings.Contains(a.text, errSecret.Error()) || !strings.Contains(r.log.String(), errSecret.Error()) {
		t.Errorf("answer %s", a.text)
	}
	r.do("admin", "POST", "/repository/odd/native", strings.NewReader("x")).status(500).is("probe: internal error").header("Content-Type", "application/vnd.probe")
	r.probe.accept = func(context.Context, formats.Op, *formats.Upload, formats.Tx) error {
		return fmt.Errorf("put it away: %w", kv.ErrNoSpace)
	}
	r.do("admin", "POST", "/repository/odd/x", strings.NewReader("x")).fails(507, "INSUFFICIENT_STORAGE", "nothing was stored")
	r.probe.accept = func(context.Context, formats.Op, *formats.Upload, formats.Tx) error {
		return formats.BadRequest("no such thing")
	}
	r.do("admin", "POST", "/repository/odd/native", strings.NewReader("x")).status(400).is("probe: bad request: no such thing")
	r.probe.accept = func(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
		b, err := tx.Blob(ctx, up.Body)
		tx.Put(formats.Record{Name: op.Name}, b)
		return err
	}
	r.do("admin", "POST", "/repository/odd/form", strings.NewReader("x")).status(200).is("")
	r.do("admin", "POST", "/repository/odd/x", strings.NewReader("x")).status(201)
	r.do("admin", "GET", "/repository/odd/x", nil).status(200).is("x").header("Content-Type", "application/octet-stream").header("Content-Disposition", "")
}

func TestCORS(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	r.Put("files", "x", []byte("x"))
	const path = "/repository/files/x"
	preflight := func(origin string) *answer {
		return r.do("", "OPTIONS", path, nil, "Origin", origin, "Access-Control-Request-Method", "PUT")
	}
	preflight("https://a.example.com").status(401).header("Access-Control-Allow-Origin", "")
	set := func(origins ...string) {
		t.Helper()
		_, err := r.Registry.UpdateSettings(t.Context(), func(s *config.Settings) error {
			c := config.DefaultCORS()
			c.AllowedOrigins, s.CORS = origins, &c
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	set("https://a.example.com")
	preflight("https://a.example.com").status(200).is("").header("Access-Control-Allow-Origin", "https://a.example.com").header("Vary", "Origin").
		header("Access-Control-Allow-Methods", "GET, HEAD, POST, PUT, DELETE, PATCH").
		header("Access-Control-Allow-Headers", "Authorization, Content-Type, Accept").header("Access-Control-Max-Age", "3600")
	preflight("https://b.example.com").status(401).header("Access-Control-Allow-Origin", "").header("Vary", "Origin")
	a := r.do("admin", "GET", path, nil, "Origin", "https://a.example.com").status(200).header("Access-Control-Allow-Origin", "https://a.example.com")
	if vary := strings.Join(a.Header["Vary"], ", "); vary != "Authorization, Origin" {
		t.Errorf("Vary %q", vary)
	}
	r.do("", "GET", path, nil, "Origin", "https://a.example.com").status(401).header("Access-Control-Allow-Origin", "https://a.example.com")
	set("*")
	preflight("https://b.example.com").status(200).header("Access-Control-Allow-Origin", "*").header("Vary", "")
}

func TestCallBodiesAreBounded(t *testing.T) {
	r := newRig(t)
	r.Create("odd", config.Hosted, "probe", nil)
	r.probe.call = func(w http.ResponseWriter, r *http.Request) error {
		_, err := io.Copy(io.Discard, r.Body)
		return err
	}
	if _, err := r.Registry.UpdateSettings(t.Context(), func(s *config.Settings) error { s.MaxArtifactBytes = 10; return nil }); err != nil {
		t.Fatal(err)
	}
	r.do("admin", "POST", "/repository/odd/call", strings.NewReader("0123456789")).status(200)
	r.do("admin", "POST", "/repository/odd/call", strings.NewReader("0123456789a")).status(413)
	r.do("admin", "POST", "/repository/odd/call", struct{ io.Reader }{strings.NewReader("0123456789a")}).status(413)
}

// A hit that lies in its record costs one read of the key-value store, whether
// its bytes are sent or not.
func TestCostOfReading(t *testing.T) {
	r := newRig(t)
	r.Create("files", config.Hosted, "raw", nil)
	r.Put("files", "x", []byte("x"))
	r.do("admin", "GET", "/repository/files/x", nil).status(200)
	for _, header := range [][]string{nil, {"If-None-Match", "*"}, {"Range", "bytes=0-0"}} {
		for _, method := range []string{"GET", "HEAD"} {
			r.KV.Reset()
			r.do("admin", method, "/repository/files/x", nil, header...)
			if r.KV.Reads() != 1 || r.KV.Writes() != 0 {
				t.Errorf("%s with %q: %s", method, header, r.KV)
			}
		}
	}
}
