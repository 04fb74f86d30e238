package helm_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"granary/formats"
	"granary/formats/formattest"
	"granary/formats/helm"
)

// pack is a packaged chart; more is added to its Chart.yaml.
func pack(t testing.TB, name, version, more string) []byte {
	return formattest.TarGz(t,
		formattest.Entry{Name: name + "/Chart.yaml", Content: fmt.Sprintf("apiVersion: v2\nname: %s\nversion: %q\n%s", name, version, more)},
		formattest.Entry{Name: name + "/values.yaml", Content: "a: 1\n"},
		formattest.Entry{Name: name + "/charts/sub/Chart.yaml", Content: "name: sub\n"})
}

func provenance(file string, chart []byte) []byte {
	return fmt.Appendf(nil, "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\napiVersion: v2\nname: x\n\n...\nfiles:\n  %s: sha256:%x\n"+
		"-----BEGIN PGP SIGNATURE-----\n\nwsBc\n-----END PGP SIGNATURE-----", file, sha256.Sum256(chart))
}

func do(t testing.TB, s *formattest.Store, method, target string, body []byte) *formattest.Answer {
	t.Helper()
	a, err := s.Do(method, target, nil, body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	return a
}

type index struct {
	APIVersion string                      `yaml:"apiVersion"`
	Entries    map[string][]map[string]any `yaml:"entries"`
	Generated  string                      `yaml:"generated"`
}

func read(t testing.TB, doc []byte) index {
	t.Helper()
	var i index
	if err := yaml.Unmarshal(doc, &i); err != nil {
		t.Fatalf("%v in\n%s", err, doc)
	}
	return i
}

// brief lists what an index has, in its order.
func (i index) brief() string {
	var b strings.Builder
	for _, name := range []string{"a", "foo", "sub", "true", "x-1.y_z"} {
		for _, v := range i.Entries[name] {
			fmt.Fprintf(&b, "%s %v %v; ", v["name"], v["version"], v["urls"])
		}
	}
	return b.String()
}

func TestRoute(t *testing.T) {
	for _, tc := range []struct{ method, target, want string }{
		{"GET", "index.yaml", "2 index index.yaml"},
		{"GET", "foo-1.0.0+b.1.tgz", "1 chart foo-1.0.0+b.1.tgz"},
		{"HEAD", "charts/foo-1.0.0%2Bb.tgz", "1 chart foo-1.0.0+b.tgz"},
		{"GET", "charts/foo-1.0.0.tgz.prov", "1 prov foo-1.0.0.tgz.prov"},
		{"GET", "charts/x/foo-1.0.0.tgz", ""},
		{"GET", ".tgz", ""},
		{"GET", "foo.txt", ""},
		{"GET", "", ""},
		{"PUT", "foo-1.0.0.tgz", "3 chart foo-1.0.0.tgz"},
		{"PUT", "index.yaml", ""},
		{"PUT", "upload", "3 upload "},
		{"POST", "upload", "3 upload "},
		{"POST", "api/charts", "3 push "},
		{"POST", "api/prov", "3 push prov "},
		{"POST", "foo-1.0.0.tgz", ""},
		{"GET", "api/charts", "5 api "},
		{"GET", "api/charts/foo", "5 api foo"},
		{"HEAD", "api/charts/foo/1.0.0+b", "5 api foo foo-1.0.0+b.tgz"},
		{"GET", "api/charts/foo/x", ""},
		{"GET", "api/charts/foo/1.0.0/x", ""},
		{"GET", "api/chartsfoo", ""},
		{"DELETE", "api/charts/foo/1.0.0", "4 chart foo-1.0.0.tgz"},
		{"DELETE", "api/charts/foo", ""},
		{"DELETE", "charts/foo-1.0.0.tgz.prov", "4 prov foo-1.0.0.tgz.prov"},
	} {
		got := ""
		if op, ok := helm.New().Route(formattest.Request(t, tc.method, tc.target, nil)); ok {
			got = fmt.Sprintf("%d %s %s", op.Kind, op.Label, strings.TrimSpace(op.Path+" "+op.Name))
		}
		if got != tc.want {
			t.Errorf("%s %s: %q, want %q", tc.method, tc.target, got, tc.want)
		}
	}
}

func TestUploads(t *testing.T) {
	chart := pack(t, "foo", "1.0.0+b.1", "")
	prov := provenance("foo-1.0.0+b.1.tgz", chart)
	form := func(parts ...formattest.Part) (http.Header, []byte) { return formattest.Form(t, parts...) }
	for name, tc := range map[string]struct {
		method, target string
		parts          []formattest.Part
		body           []byte
		status         int
		answer         string
	}{
		"body":          {"POST", "api/charts", nil, chart, 201, `{"saved":true}`},
		"form":          {"POST", "api/charts", []formattest.Part{{Name: "chart", File: "x.tgz", Content: string(chart)}}, nil, 201, `{"saved":true}`},
		"upload":        {"POST", "upload", []formattest.Part{{Name: "prov", File: "p", Content: string(prov)}, {Name: "chart", File: "x", Content: string(chart)}}, nil, 200, `{"saved":true}`},
		"put":           {"PUT", "foo-1.0.0+b.1.tgz", nil, chart, 201, ""},
		"put in charts": {"PUT", "charts/foo-1.0.0+b.1.tgz", nil, chart, 201, ""},
		"with prov":     {"POST", "api/charts", []formattest.Part{{Name: "chart", File: "x", Content: string(chart)}, {Name: "prov", File: "p", Content: string(prov)}}, nil, 201, `{"saved":true}`},
	} {
		s := formattest.NewStore(t, helm.New())
		var h http.Header
		if tc.parts != nil {
			h, tc.body = form(tc.parts...)
		}
		a, err := s.Do(tc.method, tc.target, h, tc.body)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		w := httptest.NewRecorder()
		if !helm.New().Answer(w, httptest.NewRequest(tc.method, "/", nil), a.Op, a.Records) || w.Code != tc.status || w.Body.String() != tc.answer {
			t.Errorf("%s: answered %d %s", name, w.Code, w.Body)
		}
		want := "foo-1.0.0+b.1.tgz"
		if len(tc.parts) == 2 {
			want += " foo-1.0.0+b.1.tgz.prov"
		}
		if got := strings.Join(s.Keys(), " "); got != want {
			t.Errorf("%s: stored %s", name, got)
		}
		if got := read(t, do(t, s, "GET", "index.yaml", nil).Body).brief(); got != "foo 1.0.0+b.1 [foo-1.0.0+b.1.tgz]; " {
			t.Errorf("%s: %s", name, got)
		}
	}
	// The form of Nexus.
	s := formattest.NewStore(t, helm.New())
	h, body := form(formattest.Part{Name: "helm.asset", File: "x.tgz", Content: string(chart)})
	tx := formattest.NewTx(t, s)
	up := &formats.Upload{Header: h, Body: strings.NewReader(string(body)), Size: int64(len(body))}
	if err := helm.New().Accept(t.Context(), helm.New().Component(), up, tx); err != nil || len(tx.Puts) != 1 {
		t.Errorf("component: %v", err)
	}
}

func TestIndex(t *testing.T) {
	s := formattest.NewStore(t, helm.New())
	if got := string(do(t, s, "GET", "index.yaml", nil).Body); got != "apiVersion: v1\nentries: {}\ngenerated: \"0001-01-01T00:00:00Z\"\n" {
		t.Errorf("empty: %s", got)
	}
	do(t, s, "PUT", "foo-1.10.0.tgz", pack(t, "foo", "1.10.0", "appVersion: 1.10\ndescription: |\n  two\n  # lines: \"x\"\n\n  \nkeywords: [a, \"<b>\"]\n"+
		"annotations: {n: 1, \"y\": yes}\nmaintainers:\n- name: A\n  email: a@b.c\ndependencies:\n- name: sub\n  version: ~1\n  repository: \"\"\nunknown: {a: [1]}\ntype: application\n"))
	for _, v := range []string{"1.9.0", "2.0.0-rc.1", "v1.2"} {
		do(t, s, "POST", "api/charts", pack(t, "foo", v, ""))
	}
	do(t, s, "POST", "api/charts", pack(t, "a", "0.1.0", ""))
	doc := do(t, s, "GET", "index.yaml", nil)
	i := read(t, doc.Body)
	if got, want := i.brief(), "a 0.1.0 [a-0.1.0.tgz]; foo 2.0.0-rc.1 [foo-2.0.0-rc.1.tgz]; foo 1.10.0 [foo-1.10.0.tgz]; foo 1.9.0 [foo-1.9.0.tgz]; foo v1.2 [foo-v1.2.tgz]; "; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	v := i.Entries["foo"][1]
	want := map[string]any{
		"apiVersion": "v2", "appVersion": "1.10", "description": "two\n# lines: \"x\"\n", "keywords": []any{"a", "<b>"},
		"annotations": map[string]any{"n": "1", "y": "yes"}, "type": "application", "created": "2026-11-22T10:20:30Z",
		"maintainers":  []any{map[string]any{"name": "A", "email": "a@b.c"}},
		"dependencies": []any{map[string]any{"name": "sub", "version": "~1", "repository": ""}},
	}
	for k, w := range want {
		if fmt.Sprintf("%#v", v[k]) != fmt.Sprintf("%#v", w) {
			t.Errorf("%s is %#v, want %#v", k, v[k], w)
		}
	}
	if d, _ := v["digest"].(string); len(d) != 64 || v["unknown"] != nil || doc.Header.Get("Content-Type") != "application/yaml" || i.APIVersion != "v1" {
		t.Errorf("version %v of type %s", v, doc.Header.Get("Content-Type"))
	}
	do(t, s, "DELETE", "api/charts/foo/1.10.0", nil)
	if got := read(t, do(t, s, "GET", "index.yaml", nil).Body).brief(); strings.Contains(got, "1.10.0") {
		t.Errorf("after the deletion: %s", got)
	}
}

func TestRefused(t *testing.T) {
	tgz := func(name, content string) []byte {
		return formattest.TarGz(t, formattest.Entry{Name: name, Content: content})
	}
	good := pack(t, "foo", "1.0.0", "")
	for name, tc := range map[string]struct {
		target string
		body   []byte
		want   error
	}{
		"empty":            {"api/charts", nil, formats.ErrBadPackage},
		"no archive":       {"api/charts", []byte("hello"), formats.ErrBadPackage},
		"no Chart.yaml":    {"api/charts", tgz("foo/values.yaml", "x"), formats.ErrBadPackage},
		"too deep":         {"api/charts", tgz("a/foo/Chart.yaml", "x"), formats.ErrBadPackage},
		"not YAML":         {"api/charts", tgz("foo/Chart.yaml", "a: [\n"), formats.ErrBadPackage},
		"a list":           {"api/charts", tgz("foo/Chart.yaml", "- a\n"), formats.ErrBadPackage},
		"no apiVersion":    {"api/charts", tgz("foo/Chart.yaml", "name: foo\nversion: 1.0.0\n"), formats.ErrBadPackage},
		"name":             {"api/charts", pack(t, "../foo", "1.0.0", ""), formats.ErrBadPackage},
		"script":           {"api/charts", tgz("foo/Chart.yaml", "apiVersion: v1\nname: <script>\nversion: 1.0.0\n"), formats.ErrBadPackage},
		"version":          {"api/charts", pack(t, "foo", "latest", ""), formats.ErrBadPackage},
		"absolute path":    {"api/charts", tgz("/foo/Chart.yaml", "x"), formats.ErrBadPackage},
		"huge Chart.yaml":  {"api/charts", tgz("foo/Chart.yaml", strings.Repeat("# comment\n", 200_000)), formats.ErrBadPackage},
		"huge description": {"api/charts", pack(t, "foo", "1.0.0", "description: "+strings.Repeat("x", 200_000)), formats.ErrBadPackage},
		"other path":       {"foo-1.0.1.tgz", good, formats.ErrBadPackage},
		"no form":          {"upload", good, formats.ErrBadRequest},
		"prov":             {"api/prov", []byte("x"), formats.ErrBadPackage},
		"prov of none":     {"api/prov", []byte("-----BEGIN PGP SIGNED MESSAGE-----\n\na: b\n\n...\nfiles: {}\n-----BEGIN PGP SIGNATURE-----\n"), formats.ErrBadPackage},
		"prov leads away":  {"api/prov", provenance("../foo-1.0.0.tgz", good), formats.ErrBadPackage},
	} {
		s := formattest.NewStore(t, helm.New())
		method := "POST"
		if strings.HasSuffix(tc.target, ".tgz") {
			method = "PUT"
		}
		if _, err := s.Do(method, tc.target, nil, tc.body); !errors.Is(err, tc.want) || len(s.Keys()) > 0 {
			t.Errorf("%s: %v, stored %q", name, err, s.Keys())
		}
	}
}

func TestConflictAndForce(t *testing.T) {
	s := formattest.NewStore(t, helm.New())
	do(t, s, "POST", "api/charts", pack(t, "foo", "1.0.0", ""))
	do(t, s, "POST", "api/charts", pack(t, "foo", "1.0.0", ""))
	other := pack(t, "foo", "1.0.0", "description: other\n")
	if _, err := s.Do("POST", "api/charts", nil, other); !errors.Is(err, formats.ErrExists) {
		t.Errorf("other bytes: %v", err)
	}
	if _, err := s.Do("POST", "api/prov", nil, provenance("foo-1.0.0.tgz", other)); !errors.Is(err, formats.ErrBadPackage) {
		t.Errorf("provenance of other bytes: %v", err)
	}
	do(t, s, "POST", "api/charts?force", other)
	do(t, s, "POST", "api/prov", provenance("foo-1.0.0.tgz", other))
	if got := string(do(t, s, "GET", "charts/foo-1.0.0.tgz.prov", nil).Body); !strings.Contains(got, "foo-1.0.0.tgz") {
		t.Errorf("provenance %s", got)
	}
	do(t, s, "DELETE", "foo-1.0.0.tgz", nil)
	if len(s.Keys()) > 0 {
		t.Errorf("left: %q", s.Keys())
	}
}

func TestAPI(t *testing.T) {
	s := formattest.NewStore(t, helm.New())
	for _, v := range []string{"1.0.0", "1.1.0+b"} {
		do(t, s, "POST", "api/charts", pack(t, "foo", v, "dependencies:\n- name: d\n  repository: r\n  import-values: [{1: .nan}]\n"))
	}
	do(t, s, "POST", "api/charts", pack(t, "a", "0.1.0", ""))
	for target, parts := range map[string][]string{
		"api/charts":              {`"a":[{`, `"foo":[{`, `"version":"1.0.0"`, `"1":"NaN"`},
		"api/charts/foo":          {`[{`, `"version":"1.1.0+b"`, `"urls":["foo-1.0.0.tgz"]`, `"digest":"`, `"created":"2026-11-22T10:20:30Z"`},
		"api/charts/foo/1.1.0+b":  {`{`, `"version":"1.1.0+b"`},
		"api/charts/a/0.1.0?x=<b": {`"name":"a"`},
	} {
		body := string(do(t, s, "GET", target, nil).Body)
		for _, p := range parts {
			if !strings.Contains(body, p) {
				t.Errorf("%s has no %s: %s", target, p, body)
			}
		}
	}
	for _, target := range []string{"api/charts/none", "api/charts/foo/1.1.0", "api/charts/foo/2.0.0"} {
		if _, err := s.Do("GET", target, nil, nil); !errors.Is(err, formats.ErrNotFound) {
			t.Errorf("%s: %v", target, err)
		}
	}
	w := httptest.NewRecorder()
	if !helm.New().Fail(w, httptest.NewRequest("POST", "/repository/r/api/charts", nil), 409, "exists") || w.Body.String() != `{"error":"exists"}` {
		t.Errorf("error %s", w.Body)
	}
	if helm.New().Fail(w, httptest.NewRequest("GET", "/repository/r/index.yaml", nil), 404, "x") {
		t.Error("an error of ChartMuseum's form outside its API")
	}
}

// Mappings of very many keys, which take minutes to decode, are refused before.
func TestManyKeys(t *testing.T) {
	var keys strings.Builder
	for i := range 40_000 {
		fmt.Fprintf(&keys, "k%d: x\n", i)
	}
	below := "annotations:\n  " + strings.ReplaceAll(strings.TrimSuffix(keys.String(), "\n"), "\n", "\n  ") + "\n"
	s := formattest.NewStore(t, helm.New())
	for name, more := range map[string]string{"at the top": keys.String(), "below": below} {
		if _, err := s.Do("PUT", "a-1.0.0.tgz", nil, pack(t, "a", "1.0.0", more)); !errors.Is(err, formats.ErrBadPackage) {
			t.Errorf("%s: %v, want ErrBadPackage", name, err)
		}
	}
	prov := strings.Replace(string(provenance("a-1.0.0.tgz", nil)), "files:\n", "files:\n  "+strings.ReplaceAll(keys.String(), "\n", "\n  "), 1)
	if _, err := s.Do("POST", "api/prov", nil, []byte(prov)); !errors.Is(err, formats.ErrBadPackage) {
		t.Errorf("provenance: %v, want ErrBadPackage", err)
	}
}
