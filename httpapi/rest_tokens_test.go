package httpapi

import (
	"encoding/base64"
	"net/http"
	"strings"
	"testing"
	"time"

	"granary/formats"
	"granary/repo/config"
)

func (a *answer) list() (v []map[string]any) {
	a.t.Helper()
	a.decode(&v)
	return v
}

// token makes an API token and returns its id and text.
func (r *rig) token(as, body string) (id, text string) {
	r.t.Helper()
	got := r.json(as, "POST", "/api/v1/tokens", body).status(201).object()
	return got["id"].(string), got["token"].(string)
}

func TestTokenRoutes(t *testing.T) {
	r := newRig(t)
	r.user("ann", "read", "*")
	r.user("bob", "read", "*")
	const all = "/api/v1/tokens"
	got := r.json("ann", "POST", all, `{"name":"ci","expires_at":"2999-01-02T03:04:05+01:00","capabilities":[{"capability":"read","repo":"f*"}]}`).status(201).object()
	id, text := got["id"].(string), got["token"].(string)
	if got["username"] != "ann" || got["name"] != "ci" || got["last_used_at"] != nil {
		t.Errorf("made as %v", got)
	}
	r.json("ann", "POST", all, `{"name":"forever"}`).status(201)
	for body, want := range map[string]int{
		`{}`:                                   422,
		`{"name":""}`:                          400,
		`{"name":5}`:                           422,
		`{"name":"a\u0007"}`:                   400,
		`{"name":"x","expires_at":"tomorrow"}`: 422,
		`{"name":"x","expires_at":"2001-01-01T00:00:00Z"}`:                    400,
		`{"name":"x","capabilities":[{"capability":"own","repo":"*"}]}`:       422,
		`{"name":"x","capabilities":[{"capability":"read","repo":"a/../b"}]}`: 400,
		`{"name":"x","username":"bob"}`:                                       403,
		`{"name":"x","username":"nobody"}`:                                    403,
		`{"name":"` + strings.Repeat("x", 64<<10) + `"}`:                      413,
	} {
		r.json("ann", "POST", all, body).status(want)
	}
	r.json("admin", "POST", all, `{"name":"x","username":"bob"}`).fails(400, "BAD_REQUEST", "username")
	r.json("", "POST", all, `{"name":"x"}`).fails(401, "UNAUTHORIZED", "")
	r.do("", "GET", all, nil).status(401)
	r.do("bob", "GET", all+"?username=ann", nil).status(403)
	for _, a := range []*answer{r.do("ann", "GET", all, nil), r.do("admin", "GET", all+"?username=ann", nil)} {
		if list := a.status(200).list(); len(list) != 2 || strings.Contains(a.text, text) {
			t.Errorf("listed as %s", a.text)
		}
	}
	if list := r.do("bob", "GET", all, nil).status(200).list(); len(list) != 0 {
		t.Errorf("bob has %v", list)
	}
	r.do("bob", "DELETE", all+"/"+id, nil).status(404)
	r.do("", "DELETE", all+"/"+id, nil).status(401)
	r.do("ann", "DELETE", all+"/"+id, nil).status(204)
	r.do("ann", "DELETE", all+"/"+id, nil).status(404)
	r.do("", "GET", all, nil, "Authorization", "Bearer "+text).status(401)
}

func TestTokensOnRoutes(t *testing.T) {
	r := newRig(t)
	r.user("ann", "read", "*", "write", "*")
	r.Create("files", config.Hosted, "raw", nil)
	r.Create("other", config.Hosted, "raw", nil)
	_, whole := r.token("ann", `{"name":"whole"}`)
	_, limited := r.token("ann", `{"name":"limited","capabilities":[{"capability":"write","repo":"files"}]}`)
	basic := func(name, password string) string {
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
	}
	for _, tt := range []struct {
		method, target, authorization string
		want                          int
	}{
		{"PUT", "/repository/files/x", "Bearer " + whole, 201},
		{"PUT", "/repository/files/y", basic("anybody", whole), 201},
		{"PUT", "/repository/files/z", basic("anybody", limited), 201},
		{"GET", "/repository/files/x", "Bearer " + limited, 403},
		{"PUT", "/repository/other/x", "Bearer " + limited, 403},
		{"GET", "/repository/files/x", "Bearer " + whole[:len(whole)-1], 401},
		{"GET", "/repository/files/x", whole, 401}, // no format of raw's clients
		{"GET", "/api/v1/repositories", "Bearer " + whole, 200},
		{"GET", "/api/v1/users", "Bearer " + whole, 403},
		{"GET", "/api/v1/tokens", "Bearer " + whole, 200},
		{"GET", "/api/v1/tokens", "Bearer " + limited, 403},
		{"POST", "/api/v1/users/ann/revoke-tokens", "Bearer " + limited, 403},
		{"POST", "/api/v1/users/ann/revoke-tokens", "Bearer " + whole, 204},
		{"GET", "/api/v1/repositories", "Bearer " + whole, 401},
	} {
		r.do("", tt.method, tt.target, strings.NewReader("x"), "Authorization", tt.authorization).status(tt.want)
	}
	if text := r.do("admin", "GET", "/metrics", nil).text; !strings.Contains(text, `auth_attempts_total{method="token",result="success"}`) {
		t.Error("tokens are not counted")
	}
}

// A credential in a place of a format's own counts on that format's routes
// alone, and tells nobody which format a repository has that they may not use.
func TestNativeCredentials(t *testing.T) {
	r := newRig(t)
	r.probe.call = func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(204); return nil }
	r.user("ann", "read", "*")
	r.user("bob", "read", "mine")
	r.Create("probe", config.Hosted, "probe", nil)
	r.Create("files", config.Hosted, "raw", nil)
	_, ann := r.token("ann", `{"name":"x"}`)
	_, bob := r.token("bob", `{"name":"x"}`)
	for _, tt := range []struct {
		target, header, value string
		want                  int
	}{
		{"/repository/probe/call", "X-Probe-Key", ann, 204},
		{"/repository/probe/call", "Authorization", ann, 204},
		{"/repository/probe/call", "X-Probe-Key", "wrong", 401},
		{"/repository/probe/call", "Authorization", "wrong", 401},
		{"/repository/files/x", "X-Probe-Key", ann, 401},
		{"/repository/none/x", "X-Probe-Key", ann, 404},
		{"/repository/probe/call", "X-Probe-Key", bob, 403},
		{"/repository/files/x", "X-Probe-Key", bob, 403},
		{"/repository/none/x", "X-Probe-Key", bob, 403},
		{"/api/v1/repositories", "Authorization", ann, 401},
		{"/api/v1/users", "X-Probe-Key", ann, 401},
	} {
		r.do("", "GET", tt.target, nil, tt.header, tt.value).status(tt.want)
	}
	// Where everybody's place has a credential, that is the one.
	r.do("ann", "GET", "/repository/probe/call", nil, "X-Probe-Key", "wrong").status(204)
	r.do("", "GET", "/repository/probe/call", nil, "Authorization", ann, "authorization", ann).status(204)
}

func TestServiceAccountRoutes(t *testing.T) {
	r := newRig(t)
	const users = "/api/v1/users"
	got := r.json("admin", "POST", users, `{"username":"robot","kind":"service","roles":["read-only"]}`).status(201).object()
	if got["kind"] != "service" {
		t.Errorf("made as %v", got)
	}
	r.json("admin", "POST", users, `{"username":"robot2","kind":"service","password":"password"}`).fails(400, "BAD_REQUEST", "password")
	r.json("admin", "POST", users, `{"username":"robot3","kind":"ldap","password":"password"}`).status(422)
	r.json("admin", "POST", users, `{"username":"dave","kind":"builtin"}`).fails(422, "BAD_REQUEST", "password: is missing")
	_, text := r.token("admin", `{"name":"ci","username":"robot"}`)
	r.do("", "GET", "/repository/none/x", nil, "Authorization", "Bearer "+text).status(404)
	r.do("", "PUT", "/repository/none/x", strings.NewReader("x"), "Authorization", "Bearer "+text).status(403)
	r.do("admin", "DELETE", users+"/robot", nil).status(204)
	r.do("", "GET", "/repository/none/x", nil, "Authorization", "Bearer "+text).status(401)
}

var _ formats.Credentialer = (*probe)(nil)

// What a listing of the tokens says of their use comes without a write per
// request.
func TestTokenUseCostsNothing(t *testing.T) {
	r := newRig(t)
	_, text := r.token("admin", `{"name":"x"}`)
	before := time.Now().Add(-time.Minute)
	for range 10 {
		r.do("", "GET", "/api/v1/repositories", nil, "Authorization", "Bearer "+text).status(200)
	}
	list := r.do("admin", "GET", "/api/v1/tokens", nil).status(200).list()
	used, err := time.Parse(time.RFC3339, list[0]["last_used_at"].(string))
	if err != nil || used.Before(before) {
		t.Errorf("last used at %v, %v", used, err)
	}
}
