package httpapi

import (
	"context"
	"encoding/base64"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gorilla/mux"

	"granary/audit"
	"granary/auth"
	"granary/events"
	"granary/formats"
	"granary/httpapi/registry"
	"granary/httpapi/requestpath"
	"granary/kv/mem"
	"granary/repo/config"
	"granary/webhook"
)

// caller is somebody who sends a request, and what of the table that one may
// do.
type caller struct {
	name string
	// authorization returns the header, made anew each time: some routes end
	// all sessions.
	authorization func(r *rig) string
	may           []need // beside public
	refusal       int
}

func pair(name, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
}

func password(name string) func(*rig) string {
	return func(*rig) string { return pair(name, "password") }
}

func fixedHeader(value string) func(*rig) string { return func(*rig) string { return value } }

// tokenOf is an API token of a user, limited if grants says to what.
func tokenOf(name string, limits ...auth.Capability) func(*rig) string {
	return func(r *rig) string {
		n := auth.NewAPIToken{Name: "test"}
		if limits != nil {
			n.Capabilities = &limits
		}
		_, text, err := r.auth.CreateToken(r.t.Context(), r.identity(name), n)
		if err != nil {
			r.t.Fatal(err)
		}
		return "Bearer " + string(text)
	}
}

func sessionOf(name string) func(*rig) string {
	return func(r *rig) string {
		s, err := r.auth.Issue(r.identity(name))
		if err != nil {
			r.t.Fatal(err)
		}
		return "Bearer " + string(s.Token)
	}
}

func (r *rig) identity(name string) auth.Identity {
	r.t.Helper()
	req := httptest.NewRequest(http.MethodGet, "/", nil)
	req.Header.Set("Authorization", pair(name, "password"))
	id, err := r.auth.Authenticate(r.t.Context(), req)
	if err != nil {
		r.t.Fatal(err)
	}
	return id
}

var everywhere = []auth.Capability{{Capability: "read", Repo: "*"}, {Capability: "write", Repo: "*"}, {Capability: "delete", Repo: "*"}}

var callers = func() []caller {
	loggedIn := []need{self, login, account}
	limited := []need{self, login}
	with := func(base []need, more ...need) []need { return append(slices.Clone(base), more...) }
	all := with(loggedIn, list, read, write, remove, configure, administer)
	none := []need{} // not nil: recognised
	return []caller{
		{"nobody", fixedHeader(""), none, 401},
		{"wrong password", fixedHeader(pair("boss", "wrong")), nil, 401},
		{"unknown user", fixedHeader(pair("nobody", "password")), nil, 401},
		{"no base64", fixedHeader("Basic !"), nil, 401},
		{"unknown scheme", fixedHeader("Digest x"), nil, 401},
		{"forged token", fixedHeader("Bearer grn_" + strings.Repeat("a", 56)), nil, 401},
		{"forged session", fixedHeader("Bearer eyJhbGciOiJub25lIn0.eyJzdWIiOiJib3NzIiwiZXhwIjo5OTk5OTk5OTk5fQ."), nil, 401},
		{"no rights", password("none"), loggedIn, 403},
		{"reader", password("reader"), with(loggedIn, list, read), 403},
		{"writer", password("writer"), with(loggedIn, write), 403},
		{"deleter", password("deleter"), with(loggedIn, remove), 403},
		{"reader elsewhere", password("elsewhere"), loggedIn, 403},
		{"reader of a path elsewhere", password("path"), with(loggedIn, list), 403},
		{"owner", password("owner"), with(loggedIn, list, read, write, remove, configure), 403},
		{"password not changed", password("fresh"), []need{self}, 403},
		{"reader's session", sessionOf("reader"), with(loggedIn, list, read), 403},
		{"reader's token", tokenOf("reader"), with(loggedIn, list, read), 403},
		{"reader's token limited to more", tokenOf("reader", everywhere...), with(limited, list, read), 403},
		{"administrator's token limited", tokenOf("boss", everywhere...), with(limited, list, read, write, remove), 403},
		{"administrator's token for one repository", tokenOf("boss", auth.Capability{Capability: "read", Repo: "elsewhere"}), limited, 403},
		{"administrator's token", tokenOf("boss"), all, 403},
		{"administrator's session", sessionOf("boss"), all, 403},
		{"administrator", password("boss"), all, 403},
	}
}()

// routeRig has every caller, and a hosted repository of every format under the
// format's name.
func routeRig(t *testing.T) *rig {
	t.Helper()
	r := newRig(t, withEverything)
	r.probe.call = func(w http.ResponseWriter, _ *http.Request) error { w.WriteHeader(204); return nil }
	r.user("none")
	r.user("reader", "read", "*")
	r.user("writer", "write", "*")
	r.user("deleter", "delete", "*")
	r.user("owner", "admin", "*")
	r.user("elsewhere", "read", "elsewhere*", "write", "elsewhere*", "delete", "elsewhere*")
	role := auth.NewRole{Name: "path", Capabilities: []auth.Capability{{Capability: "read", Repo: "*", Paths: []string{"elsewhere/**"}}}}
	if _, err := r.auth.CreateRole(t.Context(), role); err != nil {
		t.Fatal(err)
	}
	for _, u := range []auth.NewUser{
		{Username: "path", Roles: []string{"path"}},
		{Username: "boss", Roles: []string{auth.AdminRole}},
		{Username: "fresh", Roles: []string{auth.AdminRole}, MustChangePassword: true},
	} {
		u.Password = "password"
		if _, err := r.auth.CreateUser(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range r.formats {
		r.Create(f.Name(), config.Hosted, f.Name(), nil)
	}
	return r
}

// withEverything makes the surface have every optional route.
func withEverything(c *Config) {
	c.REST.Events = events.New(events.Config{})
	c.REST.StoreUsage = func(context.Context, string) (blobs, bytes int64, ok bool) { return 0, 0, false }
	c.REST.Audit = audit.New(audit.Config{KV: mem.New(mem.Options{}), Node: "n"})
	c.REST.Webhooks = webhook.New(webhook.Config{KV: mem.New(mem.Options{}), Registry: c.REST.Registry})
	c.REST.Tasks, c.REST.Members = idleTasks(), aloneNode{}
}

// TestEveryOptionalRoute: an optional part of the REST surface that
// withEverything leaves out would have routes that TestRoutes never sees.
func TestEveryOptionalRoute(t *testing.T) {
	newRig(t, withEverything, func(c *Config) {
		v := reflect.ValueOf(c.REST)
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if k := v.Field(i).Kind(); (k == reflect.Pointer || k == reflect.Interface || k == reflect.Func) && v.Field(i).IsNil() {
				t.Errorf("rest.Config.%s: set it in withEverything, and add its routes to routeTable", name)
			}
		}
	})
}

// statusOf sends a request and returns the status. It ends with the header:
// some answers go on for ever.
func (r *rig) statusOf(method, target, authorization string) int {
	ctx, cancel := context.WithCancel(r.t.Context())
	defer cancel()
	req := httptest.NewRequestWithContext(ctx, method, target, strings.NewReader("{}"))
	req.Header.Set("Content-Type", "application/json")
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	w := &firstStatus{header: http.Header{}, cancel: cancel}
	func() {
		defer func() {
			if v := recover(); v != nil {
				if err, ok := v.(error); !ok || !errors.Is(err, http.ErrAbortHandler) {
					panic(v)
				}
			}
		}()
		r.handler.ServeHTTP(w, req)
	}()
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}

type firstStatus struct {
	header http.Header
	status int
	cancel context.CancelFunc
}

func (w *firstStatus) Header() http.Header { return w.header }

func (w *firstStatus) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.cancel()
}

func (w *firstStatus) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	return len(p), nil
}

// judge sends a request as a caller and compares.
func (r *rig) judge(c caller, method, target string, needs need) {
	r.t.Helper()
	status := r.statusOf(method, target, c.authorization(r))
	refused := status == http.StatusUnauthorized || status == http.StatusForbidden
	want := c.may != nil && (needs == public || slices.Contains(c.may, needs))
	switch {
	case want && refused:
		r.t.Errorf("%s %s as %s: %d, but it is for those who have %q", method, target, c.name, status, needs)
	case !want && status != c.refusal:
		r.t.Errorf("%s %s as %s: %d, want %d: it needs %q", method, target, c.name, status, c.refusal, needs)
	}
}

// routesOf lists what the router has, "METHOD template".
func routesOf(t *testing.T, r *rig) []string {
	t.Helper()
	var list []string
	err := r.handler.(*server).router.Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		template, err := route.GetPathTemplate()
		if err != nil {
			return err
		}
		methods, err := route.GetMethods()
		if err != nil {
			methods = []string{"*"}
		}
		for _, m := range methods {
			if m != http.MethodHead {
				list = append(list, m+" "+template)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestRoutes walks every route as every caller.
func TestRoutes(t *testing.T) {
	known := map[string]string{
		"* " + requestpath.Prefix: "",                                   // formatTable
		"* " + registry.Prefix:    "", "* " + registry.Prefix + "/": "", // registryTable
	}
	for line := range routeTable {
		template, _, _ := strings.Cut(line, "?")
		known[template] = line
	}
	for _, route := range routesOf(t, newRig(t, withEverything)) {
		line, ok := known[route]
		if !ok {
			t.Errorf("%s: who is it for? Add it to routeTable", route)
			continue
		}
		delete(known, route)
		if line == "" {
			continue
		}
		t.Run(route, func(t *testing.T) {
			t.Parallel()
			r := routeRig(t)
			method, template, _ := strings.Cut(line, " ")
			for _, repository := range []string{"raw", "missing"} {
				for _, c := range callers {
					r.judge(c, method, fillIn(template, repository), routeTable[line])
				}
			}
		})
	}
	for route := range known {
		t.Errorf("%s is in routeTable and not in the router", route)
	}
}

// fillIn puts values in the place of the variables of a template.
func fillIn(template, repository string) string {
	id := base64.RawURLEncoding.EncodeToString([]byte(repository + ":x//y"))
	return strings.NewReplacer(
		"{name}", repository, "{repo}", repository, "{id}", id, "{username}", "whoever", "{snapshot}", "s", "{fingerprint}", "AB", "{asset:[a-z0-9.-]+}", "index.css",
	).Replace(template)
}

// TestFormatRoutes walks a route of every label of every format as every
// caller.
func TestFormatRoutes(t *testing.T) {
	for _, f := range newRig(t).formats {
		if f.Name() == "probe" {
			continue
		}
		rows := formatTable[f.Name()]
		labels := slices.Clone(unrouted[f.Name()])
		for _, row := range rows {
			labels = append(labels, row.label)
		}
		for _, label := range labelsOf(t, f.Name()) {
			if !slices.ContainsFunc(labels, func(have string) bool {
				return have == label || strings.HasSuffix(label, " ") && strings.HasPrefix(have, label)
			}) {
				t.Errorf("format %s: who may %q? Add it to formatTable", f.Name(), label)
			}
		}
		t.Run(f.Name(), func(t *testing.T) {
			t.Parallel()
			for _, row := range rows {
				r := routeRig(t)
				checkRow(t, f, row)
				for _, repository := range []string{f.Name(), "missing"} {
					for _, c := range callers {
						if needs := row.needs; repository == f.Name() || needs == usualNeed(row.method) {
							r.judge(c, row.method, requestpath.Prefix+repository+"/"+row.path, needs)
						}
					}
				}
			}
		})
	}
}

// usualNeed is what a method needs where the format is not known.
func usualNeed(method string) need { return need(usualVerb(method)) }

// checkRow compares a row with what the format makes of the request.
func checkRow(t *testing.T, f formats.Format, row formatRoute) {
	t.Helper()
	req := httptest.NewRequest(row.method, requestpath.Prefix+"x/"+row.path, nil)
	target, err := requestpath.Parse(req.URL.Path)
	if err != nil {
		t.Fatal(err)
	}
	op, ok := f.Route(formats.Req{Method: row.method, Path: target.Path, Slash: target.Slash, Query: req.URL.Query(), Header: req.Header})
	if !ok || op.Label != row.label || need(op.Needs()) != row.needs {
		t.Errorf("format %s: %s %s is %q and needs %q, %v; the table says %q and %q",
			f.Name(), row.method, row.path, op.Label, op.Needs(), ok, row.label, row.needs)
	}
}

// labelsOf reads the labels of a format's operations in its source: constants
// whose names begin with "label", and strings given to a field Label.
func labelsOf(t *testing.T, format string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "formats", format, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("source of format %s: %v, %v", format, files, err)
	}
	var labels []string
	add := func(e ast.Expr) {
		if l, ok := e.(*ast.BasicLit); ok && l.Kind == token.STRING {
			if s, err := strconv.Unquote(l.Value); err == nil {
				labels = append(labels, s)
			}
		}
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				for i, id := range n.Names {
					if strings.HasPrefix(id.Name, "label") && i < len(n.Values) {
						add(n.Values[i])
					}
				}
			case *ast.KeyValueExpr:
				if id, ok := n.Key.(*ast.Ident); ok && id.Name == "Label" {
					add(n.Value)
				}
			}
			return true
		})
	}
	if len(labels) == 0 {
		t.Errorf("format %s has no labels that this test can read", format)
	}
	return labels
}

// TestRegistryRoutes walks what lies below /v2 as every caller, for a
// repository that there is and one that there is not.
func TestRegistryRoutes(t *testing.T) {
	for _, row := range registryTable {
		t.Run(row.method+" "+row.path, func(t *testing.T) {
			t.Parallel()
			r := routeRig(t)
			for _, repository := range []string{"docker", "missing"} {
				for _, c := range callers {
					r.judge(c, row.method, fillIn(row.path, repository), row.needs)
				}
			}
		})
	}
}
