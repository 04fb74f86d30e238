package golang_test

import (
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"granary/formats"
	"granary/formats/formattest"
	"granary/formats/golang"
)

func TestPathsOfNoModule(t *testing.T) {
	s := formattest.NewStore(t, format())
	for _, target := range []string{"github.com/BurntSushi/toml/@v/v1.0.0.zip", "example.com/m/@v/main.zip", "example.com/m/@v/x"} {
		if _, err := s.Do("GET", target, nil, nil); !errors.Is(err, formats.ErrNotFound) {
			t.Errorf("%s: %v", target, err)
		}
	}
}

// clock is when versions without a time are dated.
var clock = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func format() *golang.Format { return golang.New(func() time.Time { return clock }) }

func TestRoute(t *testing.T) {
	const text, tile = "text/plain; charset=utf-8", "application/octet-stream"
	none := formats.Op{Kind: formats.Call, Label: "none", Verb: formats.VerbRead}
	file := func(label, scope, name, typ string, fixed bool) formats.Op {
		return formats.Op{Kind: formats.File, Label: label, Scope: scope, Name: name, Type: typ, Fixed: fixed}
	}
	for _, tc := range []struct {
		method, target string
		want           formats.Op // the zero Op: no route
	}{
		{"GET", "example.com/m/@v/list", formats.Op{Kind: formats.Doc, Label: "list", Scope: "example.com/m/@v", Path: "list"}},
		{"HEAD", "example.com/m/@latest", formats.Op{Kind: formats.Doc, Label: "latest", Scope: "example.com/m/@latest", Path: "@latest"}},
		{"GET", "example.com/m/@v/v1.0.0.info", file("info", "example.com/m/@v", "v1.0.0.info", "application/json", true)},
		{"GET", "example.com/m/@v/v1.0.0.mod", file("mod", "example.com/m/@v", "v1.0.0.mod", text, true)},
		{"GET", "example.com/m/@v/v1.0.0.zip", file("zip", "example.com/m/@v", "v1.0.0.zip", "application/zip", true)},
		{"GET", "github.com/!burnt!sushi/toml/@v/v1.0.0-!r!c1.zip", file("zip", "github.com/!burnt!sushi/toml/@v", "v1.0.0-!r!c1.zip", "application/zip", true)},
		{"GET", "example.com/m/v2/@v/v2.1.0.zip", file("zip", "example.com/m/v2/@v", "v2.1.0.zip", "application/zip", true)},
		{"GET", "example.com/m/@v/v2.1.0+incompatible.zip", file("zip", "example.com/m/@v", "v2.1.0+incompatible.zip", "application/zip", true)},
		{"GET", "gopkg.in/yaml.v3/@v/v3.0.1.mod", file("mod", "gopkg.in/yaml.v3/@v", "v3.0.1.mod", text, true)},
		{"GET", "golang.org/toolchain/@v/v0.0.1-go1.26.0.linux-amd64.zip", file("zip", "golang.org/toolchain/@v", "v0.0.1-go1.26.0.linux-amd64.zip", "application/zip", true)},
		{"GET", "example.com/m/@v/main.info", file("info", "example.com/m/@v", "main.info", "application/json", false)},
		{"GET", "example.com/m/@v/v1.info", file("info", "example.com/m/@v", "v1.info", "application/json", false)},
		{"GET", "example.com/m/@v/v2.0.0.info", file("info", "example.com/m/@v", "v2.0.0.info", "application/json", false)},
		{"GET", "example.com/m/@v/main.zip", none},
		{"GET", "example.com/m/@v/v2.0.0.zip", none},
		{"GET", "example.com/m/@v/v1.0.0", none},
		{"GET", "example.com/m/@v/.zip", none},
		{"GET", "example.com/m/@v/a/b.info", none},
		{"GET", "example.com/m/@v/list/", formats.Op{}},
		{"GET", "example.com/m/@v", formats.Op{}},
		{"GET", "example.com/m/@other", formats.Op{}},
		{"GET", "github.com/BurntSushi/toml/@v/list", none},
		{"GET", "github.com/!Burnt/toml/@v/list", none},
		{"GET", "nodot/m/@v/list", none},
		{"GET", "example.com/m", formats.Op{}},
		{"GET", "", formats.Op{}},
		{"GET", "upload", formats.Op{}},

		{"GET", "sumdb/sum.example.com/supported", file("sumdb", "sumdb/sum.example.com", "supported", text, false)},
		{"GET", "sumdb/sum.example.com/latest", file("sumdb", "sumdb/sum.example.com", "latest", text, false)},
		{"GET", "sumdb/sum.example.com/with/path/latest", file("sumdb", "sumdb/sum.example.com/with/path", "latest", text, false)},
		{"GET", "sumdb/sum.example.com/lookup/github.com/!burnt!sushi/toml@v1.0.0", file("sumdb", "sumdb/sum.example.com/lookup/github.com/!burnt!sushi", "toml@v1.0.0", text, true)},
		{"GET", "sumdb/sum.example.com/lookup/example.com/latest@v1.0.0", file("sumdb", "sumdb/sum.example.com/lookup/example.com", "latest@v1.0.0", text, true)},
		{"GET", "sumdb/sum.example.com/tile/8/0/x001/234", file("sumdb", "sumdb/sum.example.com/tile/8/0/x001", "234", tile, true)},
		{"GET", "sumdb/sum.example.com/tile/8/0/234.p/17", file("sumdb", "sumdb/sum.example.com/tile/8/0/234.p", "17", tile, true)},
		{"GET", "sumdb/sum.example.com/tile/8/data/234", file("sumdb", "sumdb/sum.example.com/tile/8/data", "234", text, true)},
		{"GET", "sumdb/sum.example.com/tile/8/0/1", formats.Op{}},
		{"GET", "sumdb/sum.example.com/lookup/example.com/m", formats.Op{}},
		{"GET", "sumdb/sum.example.com/lookup/example.com/M@v1.0.0", formats.Op{}},
		{"GET", "sumdb/supported", formats.Op{}},
		{"GET", "sumdb/sum.example.com:80/supported", formats.Op{}},
		{"GET", "sumdb/a b/supported", formats.Op{}},
		{"GET", "sumdb/sum.example.com/other", formats.Op{}},

		{"POST", "upload", formats.Op{Kind: formats.Write, Label: "upload"}},
		{"PUT", "upload", formats.Op{Kind: formats.Write, Label: "upload"}},
		{"PUT", "example.com/M/@v/v1.0.0.zip;go.name=x;go.version=v1.0.0", formats.Op{Kind: formats.Write, Label: "zip", Scope: "example.com/M/@v", Name: "v1.0.0.zip"}},
		{"PUT", "example.com/m/@v/nonsense.mod", formats.Op{Kind: formats.Write, Label: "mod", Scope: "example.com/m/@v", Name: "nonsense.mod"}},
		{"PUT", "example.com/m/@v/list", formats.Op{}},
		{"PUT", "example.com/m/@latest", formats.Op{}},
		{"POST", "example.com/m/@v/v1.0.0.zip", formats.Op{}},
		{"PATCH", "upload", formats.Op{}},

		{"DELETE", "example.com/m/@v/v1.0.0.zip", formats.Op{Kind: formats.Delete, Label: "zip", Scope: "example.com/m/@v", Name: "v1.0.0.zip", Fixed: true, Type: "application/zip"}},
		{"DELETE", "example.com/m/@v/v1.0.0", formats.Op{Kind: formats.Delete, Label: "zip", Scope: "example.com/m/@v", Name: "v1.0.0.zip", Fixed: true, Type: "application/zip"}},
		{"DELETE", "example.com/m/@v/main.info", formats.Op{Kind: formats.Delete, Label: "info", Scope: "example.com/m/@v", Name: "main.info", Type: "application/json"}},
		{"DELETE", "sumdb/sum.example.com/latest", formats.Op{Kind: formats.Delete, Label: "sumdb", Scope: "sumdb/sum.example.com", Name: "latest", Type: text}},
		{"DELETE", "example.com/m/@v/list", formats.Op{}},
		{"DELETE", "example.com/m", formats.Op{}},
	} {
		got, ok := format().Route(formattest.Request(t, tc.method, tc.target, nil))
		if !ok {
			got = formats.Op{}
		}
		if ok != (tc.want.Kind != 0) || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", tc.want) {
			t.Errorf("%s %q\n got %+v\nwant %+v", tc.method, tc.target, got, tc.want)
		}
		if ok && got.Kind == formats.File && got.Key() != strings.TrimPrefix(tc.target, "/") {
			t.Errorf("%s: key %q", tc.target, got.Key())
		}
	}
}

func TestFail(t *testing.T) {
	w := httptest.NewRecorder()
	if !format().Fail(w, httptest.NewRequest("GET", "/x", nil), 404, "no <such> thing") {
		t.Fatal("left to the core")
	}
	if w.Code != 404 || w.Body.String() != "no <such> thing\n" || w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("got %d %q %v", w.Code, w.Body, w.Header())
	}
	if w = httptest.NewRecorder(); format().Fail(w, httptest.NewRequest("PUT", "/x", nil), 400, "m") || w.Body.Len() > 0 {
		t.Error("a client that writes got text")
	}
}

func TestEntry(t *testing.T) {
	for scope, want := range map[string]string{
		"example.com/m/@v": "example.com/m/@v/list", "example.com/m/@latest": "example.com/m/@latest", "sumdb/sum.example.com": "",
	} {
		if got := format().Entry(scope); got != want {
			t.Errorf("%s: %q, want %q", scope, got, want)
		}
	}
}

func TestSpeaks(t *testing.T) {
	for path, want := range map[string]bool{
		"corp.example/lib/@v/list": true, "corp.example/lib/@latest": true, "sumdb/sum.example/latest": true, "corp.example/lib": false, "upload": false, "": false,
	} {
		r := httptest.NewRequest("GET", "/repository/r/"+path, nil)
		if got := format().Speaks(r.WithContext(formats.WithSite(r.Context(), formats.Site{Path: path}))); got != want {
			t.Errorf("%q: %v", path, got)
		}
	}
}

func FuzzRoute(f *testing.F) {
	for _, p := range []string{
		"example.com/m/@v/list", "example.com/m/@latest", "github.com/!a/b/@v/v1.0.0-!r.zip", "sumdb/s.example.com/tile/8/data/x001/234.p/5",
		"sumdb/s.example.com/lookup/example.com/m@v1.0.0", "upload", "example.com/m/@v/v1.0.0.zip;a=b",
	} {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			f.Add(method, p, false)
		}
	}
	f.Fuzz(func(t *testing.T, method, p string, slash bool) {
		if p != "" && formats.CheckPath(p) != nil {
			t.Skip()
		}
		op, ok := format().Route(formats.Req{Method: method, Path: p, Slash: slash})
		if !ok {
			return
		}
		if op.Kind == formats.File && (op.Key() != p || op.Name == "" || strings.Contains(op.Name, "/")) {
			t.Errorf("%q: %+v", p, op)
		}
		if op.Kind == formats.Doc && format().Entry(op.Scope) != p {
			t.Errorf("%q: entry %q", p, format().Entry(op.Scope))
		}
	})
}
