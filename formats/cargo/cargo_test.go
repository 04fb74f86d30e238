package cargo_test

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/cargo"
	"granary/formats/formattest"
)

func format() *cargo.Format { return cargo.New(func() time.Time { return formattest.Epoch }) }

// crate is a .crate with a Cargo.toml; toml is added to its [package].
func crate(t testing.TB, name, version, toml string) []byte {
	root := name + "-" + version + "/"
	return formattest.TarGz(t,
		formattest.Entry{Name: root + "Cargo.toml", Content: fmt.Sprintf("[package]\nname = %q\nversion = %q\n%s", name, version, toml)},
		formattest.Entry{Name: root + "src/lib.rs", Content: "pub fn f() {}\n"})
}

// body frames a publish.
func body(metadata string, crate []byte) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(metadata)))
	b = append(b, metadata...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(crate)))
	return append(b, crate...)
}

func metadata(name, version, more string) string {
	return fmt.Sprintf(`{"name":%q,"vers":%q,"deps":[],"features":{},"authors":[],"readme":"# hello"%s}`, name, version, more)
}

func publish(t testing.TB, s *formattest.Store, name, version string) error {
	t.Helper()
	_, err := s.Do("PUT", "api/v1/crates/new", nil, body(metadata(name, version, ""), crate(t, name, version, "")))
	return err
}

func get(t testing.TB, s *formattest.Store, target string) string {
	t.Helper()
	a, err := s.Do("GET", target, nil, nil)
	if err != nil {
		t.Fatalf("%s: %v", target, err)
	}
	return string(a.Body)
}

func TestRoute(t *testing.T) {
	for _, tc := range []struct {
		method, target, want string // kind label scope name/path
	}{
		{"GET", "config.json", "5 config  "},
		{"GET", "index/config.json", "5 config  "},
		{"GET", "1/a", "2 index crates/a index"},
		{"GET", "2/ab", "2 index crates/ab index"},
		{"GET", "index/3/a/abc", "2 index crates/abc index"},
		{"HEAD", "se/rd/serde_json", "2 index crates/serde_json index"},
		{"GET", "in/de/index", "2 index crates/index index"},
		{"GET", "index/cr/at/crates", "2 index crates/crates index"},
		{"GET", "se/rd/Serde", ""},
		{"GET", "SE/RD/serde", ""},
		{"GET", "se/rx/serde", ""},
		{"GET", "1/ab", ""},
		{"GET", "se/rd/serde/", ""},
		{"POST", "se/rd/serde", ""},
		{"GET", "api/v1/crates/Serde/1.0.0/download", "1 download crates/serde serde-1.0.0.crate"},
		{"GET", "api/v1/crates/serde/1.0.0+x.1/download", "1 download crates/serde serde-1.0.0+x.1.crate"},
		{"GET", "api/v1/crates/serde/1.0/download", ""},
		{"GET", "api/v1/crates/serde/01.0.0/download", ""},
		{"GET", "api/v1/crates/serde/99999999999999999999.0.0/download", ""},
		{"GET", "crates/serde/serde-1.0.0-rc.1.crate", "1 download crates/serde serde-1.0.0-rc.1.crate"},
		{"GET", "crates/serde/other-1.0.0.crate", ""},
		{"GET", "crates/Serde/Serde-1.0.0.crate", ""},
		{"DELETE", "crates/serde/serde-1.0.0.crate", "4 version crates/serde serde-1.0.0.crate"},
		{"DELETE", "api/v1/crates/serde/1.0.0", "4 version crates/serde serde-1.0.0.crate"},
		{"GET", "api/v1/crates/serde/1.0.0", ""},
		{"PUT", "api/v1/crates/new", "3 publish  "},
		{"GET", "api/v1/crates/new", ""},
		{"DELETE", "api/v1/crates/serde/1.0.0+x/yank", "3 yank crates/serde :1.0.0"},
		{"PUT", "api/v1/crates/serde/1.0.0/unyank", "3 unyank crates/serde :1.0.0"},
		{"PUT", "api/v1/crates/serde/1.0.0/yank", ""},
		{"GET", "api/v1/crates/Foo_bar/owners", "5 owners names/foo-bar :crate"},
		{"PUT", "api/v1/crates/foo-bar/owners", "3 add owners names/foo-bar :crate"},
		{"DELETE", "api/v1/crates/foo-bar/owners", "3 remove owners names/foo-bar :crate"},
		{"GET", "api/v1/crates?q=x", "5 search  "},
		{"GET", "me", "5 me  "},
		{"GET", "info/refs?service=git-upload-pack", "5 git index  "},
		{"GET", "index/info/refs", "5 git index  "},
		{"POST", "git/index/git-upload-pack", "5 git index  "},
		{"GET", "git/index", "5 git index  "},
		{"GET", "in/fo/info", "2 index crates/info index"},
		{"GET", "", ""},
	} {
		got := ""
		if op, ok := format().Route(formattest.Request(t, tc.method, tc.target, nil)); ok {
			name := op.Name
			if op.Kind == formats.Doc {
				name = op.Path
			}
			got = fmt.Sprintf("%d %s %s %s", op.Kind, op.Label, op.Scope, name)
		}
		if got != tc.want {
			t.Errorf("%s %s: %q, want %q", tc.method, tc.target, got, tc.want)
		}
	}
}

const manyDeps = `
[dependencies]
plain = "1.0"
renamed = { version = "2", package = "original", optional = true, default-features = false, features = ["x"] }
[dev-dependencies.here]
path = "../here"
[build-dependencies]
cc = { version = "1", registry-index = "sparse+https://other.example.com/" }
[target.'cfg(any(unix,windows))'.dependencies]
libc = "0.2"
[features]
default = ["new"]
new = ["dep:renamed", "plain?/std"]
`

const manyDepsSaid = `,"links":"z","description":"does things","rust_version":"1.70","deps":[
 {"name":"plain","version_req":"^1.0","features":[],"optional":false,"default_features":true,"target":null,"kind":"normal"},
 {"name":"original","version_req":"^2","features":["x"],"optional":true,"default_features":false,"target":null,"kind":"normal","explicit_name_in_toml":"renamed"},
 {"name":"cc","version_req":"^1","features":[],"optional":false,"default_features":true,"target":null,"kind":"build","registry":"sparse+https://other.example.com/"},
 {"name":"libc","version_req":"^0.2","features":[],"optional":false,"default_features":true,"target":"cfg(any(unix, windows))","kind":"normal"}],
 "features":{"default":["new"],"new":["dep:renamed","plain?/std"]}`

func TestPublish(t *testing.T) {
	s := formattest.NewStore(t, format())
	a, err := s.Do("PUT", "api/v1/crates/new", nil,
		body(metadata("Foo_bar", "1.0.0+b.1", manyDepsSaid), crate(t, "Foo_bar", "1.0.0+b.1", "links = \"z\"\nrust-version = \"1.70\"\n"+manyDeps)))
	if err != nil {
		t.Fatal(err)
	}
	w := newRecorder()
	if !format().Answer(w, newRequest("PUT"), a.Op, a.Records) || w.Body.String() != `{"warnings":{"invalid_categories":[],"invalid_badges":[],"other":[]}}` {
		t.Errorf("answered %s", w.Body)
	}
	want := `{"name":"Foo_bar","vers":"1.0.0+b.1","deps":[` +
		`{"name":"plain","req":"^1.0","features":[],"optional":false,"default_features":true,"target":null,"kind":"normal"},` +
		`{"name":"renamed","req":"^2","features":["x"],"optional":true,"default_features":false,"target":null,"kind":"normal","package":"original"},` +
		`{"name":"cc","req":"^1","features":[],"optional":false,"default_features":true,"target":null,"kind":"build","registry":"sparse+https://other.example.com/"},` +
		`{"name":"libc","req":"^0.2","features":[],"optional":false,"default_features":true,"target":"cfg(any(unix, windows))","kind":"normal"}],` +
		`"cksum":"CKSUM","features":{"default":["new"]},"features2":{"new":["dep:renamed","plain?/std"]},"yanked":false,"links":"z","v":2,` +
		`"rust_version":"1.70","pubtime":"2026-11-22T10:20:30Z"}` + "\n"
	index := get(t, s, "fo/o_/foo_bar")
	var l struct{ Cksum string }
	if err := json.Unmarshal([]byte(index), &l); err != nil {
		t.Fatal(err)
	}
	if got := strings.Replace(index, l.Cksum, "CKSUM", 1); got != want || len(l.Cksum) != 64 {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := get(t, s, "api/v1/crates/Foo_bar/1.0.0+b.1/download"); got == "" {
		t.Error("no crate")
	}
	if got := get(t, s, "api/v1/crates?q=FOO-b"); got != `{"crates":[{"name":"Foo_bar","max_version":"1.0.0+b.1","description":"does things"}],"meta":{"total":1}}` {
		t.Errorf("search: %s", got)
	}
}

func TestPublishRefused(t *testing.T) {
	const deps = `,"deps":[{"name":"a","version_req":"^1","features":[],"optional":false,"default_features":true,"target":null,"kind":"normal"}]`
	good := crate(t, "foo", "1.0.0", "")
	ok := metadata("foo", "1.0.0", "")
	link := formattest.TarGz(t, formattest.Entry{Name: "foo-1.0.0/../../x", Content: "x"})
	for name, tc := range map[string]struct {
		body []byte
		want error
	}{
		"empty":              {nil, formats.ErrTruncated},
		"no crate length":    {body(ok, nil)[:len(ok)+6], formats.ErrTruncated},
		"cut":                {body(ok, good)[:len(ok)+20], formats.ErrTruncated},
		"more":               {append(body(ok, good), 'x'), formats.ErrBadRequest},
		"long metadata":      {binary.LittleEndian.AppendUint32(nil, 1<<31), formats.ErrBadRequest},
		"no JSON":            {body("{", good), formats.ErrBadRequest},
		"null":               {body("null", good), formats.ErrBadRequest},
		"name":               {body(metadata("../x", "1.0.0", ""), good), formats.ErrBadRequest},
		"name in script":     {body(metadata("<script>", "1.0.0", ""), good), formats.ErrBadRequest},
		"name not ASCII":     {body(metadata("fö", "1.0.0", ""), good), formats.ErrBadRequest},
		"long name":          {body(metadata(strings.Repeat("a", 65), "1.0.0", ""), good), formats.ErrBadRequest},
		"device":             {body(metadata("NUL", "1.0.0", ""), good), formats.ErrBadRequest},
		"version":            {body(metadata("foo", "1.0", ""), good), formats.ErrBadRequest},
		"not a crate":        {body(ok, []byte("hello")), formats.ErrBadPackage},
		"no Cargo.toml":      {body(ok, formattest.TarGz(t, formattest.Entry{Name: "foo-1.0.0/x", Content: "x"})), formats.ErrBadPackage},
		"bad Cargo.toml":     {body(ok, formattest.TarGz(t, formattest.Entry{Name: "foo-1.0.0/Cargo.toml", Content: "[package"})), formats.ErrBadPackage},
		"parent path":        {body(ok, link), formats.ErrBadPackage},
		"beside the root":    {body(ok, formattest.TarGz(t, formattest.Entry{Name: "bar-1.0.0/Cargo.toml", Content: "x"})), formats.ErrBadPackage},
		"other name inside":  {body(metadata("bar", "1.0.0", ""), good), formats.ErrBadPackage},
		"other case inside":  {body(metadata("Foo", "1.0.0", ""), good), formats.ErrBadPackage},
		"other version":      {body(metadata("foo", "1.0.1", ""), good), formats.ErrBadPackage},
		"dependency missing": {body(ok, crate(t, "foo", "1.0.0", "[dependencies]\na = \"1\"\n")), formats.ErrBadPackage},
		"other links":        {body(metadata("foo", "1.0.0", `,"links":"z"`), good), formats.ErrBadPackage},
		"feature missing":    {body(ok, crate(t, "foo", "1.0.0", "[features]\na = []\n")), formats.ErrBadPackage},
		"other feature":      {body(metadata("foo", "1.0.0", `,"features":{"a":["b"],"b":[]}`), crate(t, "foo", "1.0.0", "[features]\na = []\nb = []\n")), formats.ErrBadPackage},
		"optional or not":    {body(metadata("foo", "1.0.0", deps), crate(t, "foo", "1.0.0", "[dependencies]\na = { version = \"1\", optional = true }\n")), formats.ErrBadPackage},
	} {
		s := formattest.NewStore(t, format())
		_, err := s.Do("PUT", "api/v1/crates/new", nil, tc.body)
		if !errors.Is(err, tc.want) || len(s.Keys()) > 0 {
			t.Errorf("%s: %v, stored %q", name, err, s.Keys())
		}
	}
}

// The index may say more than Cargo.toml, not less.
func TestPublisherSaysMore(t *testing.T) {
	s := formattest.NewStore(t, format())
	said := metadata("foo", "1.0.0", `,"deps":[{"name":"serde","version_req":"^1.0","features":["derive"],"optional":false,"default_features":true}],"features":{"default":[]}`)
	if _, err := s.Do("PUT", "api/v1/crates/new", nil, body(said, crate(t, "foo", "1.0.0", ""))); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, "3/f/foo"); !strings.Contains(got, `"deps":[{"name":"serde","req":"^1.0","features":["derive"],"optional":false,"default_features":true,"target":null,"kind":"normal"}]`) {
		t.Errorf("index %s", got)
	}
}

// A name has one spelling, a version one crate.
func TestCollisions(t *testing.T) {
	s := formattest.NewStore(t, format())
	for _, v := range []string{"1.0.0", "1.0.1+a"} {
		if err := publish(t, s, "foo-bar", v); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct{ name, version string }{
		{"foo_bar", "2.0.0"}, {"Foo-bar", "2.0.0"}, {"foo-bar", "1.0.0+b"}, {"foo-bar", "1.0.1"}, {"foo-bar", "1.0.1+b"},
	} {
		if err := publish(t, s, tc.name, tc.version); !errors.Is(err, formats.ErrExists) {
			t.Errorf("%s %s: %v", tc.name, tc.version, err)
		}
	}
	if err := publish(t, s, "foo-bar", "1.0.0"); err != nil {
		t.Errorf("the same again: %v", err)
	}
	other := body(metadata("foo-bar", "1.0.0", ""), crate(t, "foo-bar", "1.0.0", "description = \"other\"\n"))
	if _, err := s.Do("PUT", "api/v1/crates/new", nil, other); !errors.Is(err, formats.ErrExists) {
		t.Errorf("other bytes: %v", err)
	}
	if got := strings.Count(get(t, s, "fo/o-/foo-bar"), "\n"); got != 2 {
		t.Errorf("%d versions", got)
	}
	s.Overwrite = true
	if _, err := s.Do("PUT", "api/v1/crates/new", nil, other); err != nil {
		t.Errorf("overwrite: %v", err)
	}
	if got := strings.Count(get(t, s, "fo/o-/foo-bar"), "\n"); got != 2 {
		t.Errorf("%d versions after one was overwritten", got)
	}
}

func TestYank(t *testing.T) {
	s := formattest.NewStore(t, format())
	for _, v := range []string{"1.0.0", "1.10.0", "1.9.0", "2.0.0-rc.1"} {
		if err := publish(t, s, "foo", v); err != nil {
			t.Fatal(err)
		}
	}
	yanked := func() (list string) {
		for l := range strings.Lines(get(t, s, "index/3/f/foo")) {
			var v struct {
				Vers   string
				Yanked bool
			}
			if err := json.Unmarshal([]byte(l), &v); err != nil {
				t.Fatal(err)
			}
			list += fmt.Sprintf("%s %v ", v.Vers, v.Yanked)
		}
		return list
	}
	for _, tc := range []struct{ method, target, want string }{
		{"DELETE", "api/v1/crates/foo/1.10.0/yank", "1.0.0 false 1.9.0 false 1.10.0 true 2.0.0-rc.1 false "},
		{"DELETE", "api/v1/crates/foo/1.10.0/yank", "1.0.0 false 1.9.0 false 1.10.0 true 2.0.0-rc.1 false "},
		{"PUT", "api/v1/crates/foo/1.10.0/unyank", "1.0.0 false 1.9.0 false 1.10.0 false 2.0.0-rc.1 false "},
	} {
		a, err := s.Do(tc.method, tc.target, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		w := newRecorder()
		if !format().Answer(w, newRequest(tc.method), a.Op, a.Records) || w.Body.String() != `{"ok":true}` {
			t.Errorf("answered %s", w.Body)
		}
		if got := yanked(); got != tc.want {
			t.Errorf("%s %s: %s", tc.method, tc.target, got)
		}
	}
	// The same crate again does not take a yank back.
	if _, err := s.Do("DELETE", "api/v1/crates/foo/1.0.0/yank", nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := publish(t, s, "foo", "1.0.0"); err != nil {
		t.Fatal(err)
	}
	if got := yanked(); !strings.HasPrefix(got, "1.0.0 true ") {
		t.Errorf("after another publish: %s", got)
	}
	for _, target := range []string{"api/v1/crates/foo/3.0.0/yank", "api/v1/crates/foo/1.0.0+x/yank", "api/v1/crates/bar/1.0.0/yank"} {
		if _, err := s.Do("DELETE", target, nil, nil); !errors.Is(err, formats.ErrNotFound) {
			t.Errorf("%s: %v", target, err)
		}
	}
	// What is deleted is gone, and may be published again.
	if _, err := s.Do("DELETE", "api/v1/crates/foo/1.0.0", nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := yanked(); strings.Contains(got, "1.0.0 ") && strings.HasPrefix(got, "1.0.0") {
		t.Errorf("after the deletion: %s", got)
	}
	if err := publish(t, s, "foo", "1.0.0+other"); err != nil {
		t.Error(err)
	}
}

func TestOwners(t *testing.T) {
	s := formattest.NewStore(t, format())
	if _, err := s.Do("GET", "api/v1/crates/foo/owners", nil, nil); !errors.Is(err, formats.ErrNotFound) {
		t.Errorf("owners of nothing: %v", err)
	}
	if _, err := s.Do("PUT", "api/v1/crates/foo/owners", nil, []byte(`{"users":["a"]}`)); !errors.Is(err, formats.ErrNotFound) {
		t.Errorf("an owner of nothing: %v", err)
	}
	if err := publish(t, s, "foo", "1.0.0"); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ method, body, want string }{
		{"PUT", `{"users":["bob","alice"]}`, `{"users":[{"id":1,"login":"alice"},{"id":2,"login":"bob"}]}`},
		{"PUT", `{"users":["bob"]}`, `{"users":[{"id":1,"login":"alice"},{"id":2,"login":"bob"}]}`},
		{"DELETE", `{"users":["alice"]}`, `{"users":[{"id":1,"login":"bob"}]}`},
	} {
		if _, err := s.Do(tc.method, "api/v1/crates/foo/owners", nil, []byte(tc.body)); err != nil {
			t.Fatal(err)
		}
		if got := get(t, s, "api/v1/crates/foo/owners"); got != tc.want {
			t.Errorf("%s %s: %s", tc.method, tc.body, got)
		}
	}
	for _, b := range []string{"", "{}", `{"users":[""]}`, `{"users":["a\nb"]}`, `{"users":1}`} {
		if _, err := s.Do("PUT", "api/v1/crates/foo/owners", nil, []byte(b)); !errors.Is(err, formats.ErrBadRequest) {
			t.Errorf("%q: %v", b, err)
		}
	}
	// The index does not know of owners, and publishing keeps them.
	if err := publish(t, s, "foo", "1.1.0"); err != nil {
		t.Fatal(err)
	}
	if got := get(t, s, "api/v1/crates/foo/owners"); !strings.Contains(got, "bob") {
		t.Errorf("after a publish: %s", got)
	}
}

func TestSearch(t *testing.T) {
	s := formattest.NewStore(t, format())
	for i := range 25 {
		if err := publish(t, s, fmt.Sprintf("lib_%02d", i), "1.0.0"); err != nil {
			t.Fatal(err)
		}
	}
	if err := publish(t, s, "other", "1.0.0"); err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]string{
		"api/v1/crates?q=lib":                    "10 of 25 from lib_00",
		"api/v1/crates?q=LIB-&per_page=3&page=2": "3 of 25 from lib_03",
		"api/v1/crates?q=lib&page=3":             "5 of 25 from lib_20",
		"api/v1/crates?q=lib&per_page=-1":        "10 of 25 from lib_00",
		"api/v1/crates":                          "10 of 26 from lib_00",
		"api/v1/crates?q=none":                   "0 of 0 from ",
	} {
		var got struct {
			Crates []struct{ Name string }
			Meta   struct{ Total int }
		}
		if err := json.Unmarshal([]byte(get(t, s, target)), &got); err != nil {
			t.Fatal(err)
		}
		first := ""
		if len(got.Crates) > 0 {
			first = got.Crates[0].Name
		}
		if s := fmt.Sprintf("%d of %d from %s", len(got.Crates), got.Meta.Total, first); s != want {
			t.Errorf("%s: %s, want %s", target, s, want)
		}
	}
}

func TestCalls(t *testing.T) {
	for _, tc := range []struct {
		target string
		public bool
		status int
		body   string
	}{
		{"config.json", true, 200, `{"dl":"https://h.example/repository/r/api/v1/crates","api":"https://h.example/repository/r"}`},
		{"index/config.json", false, 200, `{"dl":"https://h.example/repository/r/api/v1/crates","api":"https://h.example/repository/r","auth-required":true}`},
		{"info/refs", true, 501, `{"errors":[{"detail":"this registry has no Git index; write index = \"sparse+https://h.example/repository/r/\", with a Cargo of 1.68 or later"}]}`},
	} {
		op, ok := format().Route(formattest.Request(t, "GET", tc.target, nil))
		if !ok {
			t.Fatal(tc.target)
		}
		w, r := newRecorder(), newRequest("GET")
		site := formats.Site{URL: "https://h.example/repository/r", Public: tc.public}
		if err := format().Call(w, r.WithContext(formats.WithSite(r.Context(), site)), op, nil); err != nil {
			t.Fatal(err)
		}
		if w.Code != tc.status || w.Body.String() != tc.body {
			t.Errorf("%s: %d %s", tc.target, w.Code, w.Body)
		}
	}
	w, r := newRecorder(), newRequest("GET")
	op, _ := format().Route(formattest.Request(t, "GET", "me", nil))
	if err := format().Call(w, r.WithContext(formats.WithSite(r.Context(), formats.Site{URL: "https://h/<script>"})), op, nil); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(w.Body.String(), "<script>") || !strings.Contains(w.Body.String(), "cargo login") {
		t.Errorf("me: %s", w.Body)
	}
}

func TestCredentials(t *testing.T) {
	for v, want := range map[string]bool{"": false, "gran_abc": true, "Bearer x": false, "Basic eDp5": false} {
		r := newRequest("GET")
		r.Header.Set("Authorization", v)
		if token, ok := format().Credential(r); ok != want || ok && token != v {
			t.Errorf("%q: %q %v", v, token, ok)
		}
	}
	for path, want := range map[string]bool{"config.json": true, "api/v1/crates/new": true, "some/file": false, "1/a": false, "info/refs": false} {
		r := newRequest("GET")
		if path == "api/v1/crates/new" {
			r.Method = http.MethodPut
		}
		r = r.WithContext(formats.WithSite(r.Context(), formats.Site{Path: path}))
		if format().Speaks(r) {
			t.Errorf("%s: taken for one of Cargo's", path)
		}
		if got := format().Challenge(r); (got == `Cargo login_url="/me"`) != want {
			t.Errorf("%s: %q", path, got)
		}
		r.Header.Set("User-Agent", "cargo/1.95.0")
		if got := format().Challenge(r); got == "" || !format().Speaks(r) {
			t.Errorf("%s: no challenge for Cargo", path)
		}
	}
}

func newRecorder() *httptest.ResponseRecorder { return httptest.NewRecorder() }

func newRequest(method string) *http.Request {
	return httptest.NewRequest(method, "/repository/r/x", nil)
}

// A Cargo.toml of very many keys or tables, which takes minutes to decode, is
// refused before.
func TestManyKeys(t *testing.T) {
	var keys, tables strings.Builder
	for i := range 60_000 {
		fmt.Fprintf(&keys, "k%d=1\n", i)
		fmt.Fprintf(&tables, "[t%d]\n", i)
	}
	s := formattest.NewStore(t, format())
	for name, more := range map[string]string{"keys": "[package.metadata]\n" + keys.String(), "tables": tables.String()} {
		_, err := s.Do("PUT", "api/v1/crates/new", nil, body(metadata("lib_a", "1.0.0", ""), crate(t, "lib_a", "1.0.0", more)))
		if !errors.Is(err, formats.ErrBadPackage) {
			t.Errorf("%s: %v, want ErrBadPackage", name, err)
		}
	}
}
