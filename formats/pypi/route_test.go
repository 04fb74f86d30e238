package pypi_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"granary/formats"
	"granary/formats/formattest"
)

func TestRoute(t *testing.T) {
	file := func(label, name, typ string, fixed bool) formats.Op {
		return formats.Op{Kind: formats.File, Label: label, Scope: "packages/lib", Name: name, Fixed: fixed, Type: typ}
	}
	redirect := func(to string) formats.Op {
		return formats.Op{Kind: formats.Call, Label: "redirect", Path: to, Verb: formats.VerbRead}
	}
	for _, tc := range []struct {
		method, target string
		want           formats.Op // zero: no route
	}{
		{"GET", "simple/", formats.Op{Kind: formats.Doc, Label: "root", Scope: "simple", Path: "index.html", Type: "text/html; charset=utf-8", Missing: true}},
		{"GET", "simple", redirect("simple/")},
		{"GET", "simple/lib/", formats.Op{Kind: formats.Doc, Label: "project", Scope: "packages/lib", Path: "index.html", Type: "text/html; charset=utf-8"}},
		{"GET", "simple/lib/?format=application/vnd.pypi.simple.v1%2Bjson", formats.Op{Kind: formats.Doc, Label: "project", Scope: "packages/lib", Path: "index.json", Type: simpleJSON}},
		{"GET", "simple/lib", redirect("lib/")},
		{"GET", "simple/My_Lib/", redirect("../my-lib/")},
		{"HEAD", "simple/My._Lib?format=text/html", redirect("my-lib/?format=text%2Fhtml")},
		{"GET", "simple/lib/?format=x/y", formats.Op{Kind: formats.Call, Label: "unacceptable", Verb: formats.VerbRead}},
		{"GET", "simple/lib/x/", formats.Op{}},
		{"GET", "simple/-/", formats.Op{}},
		{"GET", "", formats.Op{}},
		{"GET", "packages/lib/1.0/lib-1.0-py3-none-any.whl", file("file", "1.0/lib-1.0-py3-none-any.whl", "application/zip", true)},
		{"GET", "packages/lib/1.0/lib-1.0.tar.gz", file("file", "1.0/lib-1.0.tar.gz", "application/gzip", true)},
		{"GET", "packages/lib/1.0/lib-1.0-py3-none-any.whl.metadata", file("metadata", "1.0/lib-1.0-py3-none-any.whl.metadata", "text/plain; charset=utf-8", true)},
		{"GET", "packages/lib/1.0/lib-1.0.tar.gz.asc", file("signature", "1.0/lib-1.0.tar.gz.asc", "application/pgp-signature", true)},
		{"GET", "integrity/lib/1.0/lib-1.0.tar.gz/provenance", file("provenance", "1.0/lib-1.0.tar.gz.provenance", "application/vnd.pypi.integrity.v1+json", false)},
		{"GET", "packages/lib/-/lib.egg", file("file", "-/lib.egg", "application/octet-stream", true)},
		{"GET", "packages/Lib/1.0/lib-1.0.tar.gz", formats.Op{}},
		{"GET", "packages/lib/01.0/lib-1.0.tar.gz", formats.Op{}},
		{"GET", "packages/lib/1.0/:yanked", formats.Op{}},
		{"GET", "packages/lib/1.0/", formats.Op{}},
		{"GET", "pypi/Lib/json", formats.Op{Kind: formats.Call, Label: "json", Scope: "packages/lib", Verb: formats.VerbRead}},
		{"GET", "pypi/lib/1.0/json", formats.Op{Kind: formats.Call, Label: "json", Scope: "packages/lib", Name: "1.0", Verb: formats.VerbRead}},
		{"POST", "", formats.Op{Kind: formats.Write, Label: "upload"}},
		{"POST", "legacy/", formats.Op{Kind: formats.Write, Label: "upload"}},
		{"POST", "simple/", formats.Op{}},
		{"PUT", "", formats.Op{}},
		{"POST", "packages/My.Lib/1.0.0a/yank", formats.Op{Kind: formats.Write, Label: "yank", Scope: "packages/my-lib", Name: "1.0.0a0"}},
		{"POST", "packages/lib/1.0/unyank", formats.Op{Kind: formats.Write, Label: "unyank", Scope: "packages/lib", Name: "1.0"}},
		{"POST", "packages/lib/x/yank", formats.Op{}},
		{"DELETE", "packages/lib/1.0/lib-1.0.tar.gz", formats.Op{Kind: formats.Delete, Label: "file", Scope: "packages/lib", Name: "1.0/lib-1.0.tar.gz"}},
		{"DELETE", "packages/lib/1.0", formats.Op{Kind: formats.Delete, Label: "version", Scope: "packages/lib", Name: "1.0"}},
		{"DELETE", "packages/lib", formats.Op{}},
		{"DELETE", "simple/lib", formats.Op{}},
	} {
		got, ok := format().Route(formattest.Request(t, tc.method, tc.target, http.Header{}))
		if !ok {
			got = formats.Op{}
		}
		if ok != (tc.want.Kind != 0) || fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", tc.want) {
			t.Errorf("%s %q\n got %+v\nwant %+v", tc.method, tc.target, got, tc.want)
		}
	}
}

func FuzzRoute(f *testing.F) {
	for _, p := range []string{"simple/a", "packages/a/1.0/a-1.0.tar.gz.metadata", "integrity/a/1/b/provenance", "pypi/a/1/json", "packages/a/1/yank", ""} {
		for _, method := range []string{"GET", "POST", "DELETE"} {
			f.Add(method, p, false, "text/html;q=1")
		}
	}
	f.Fuzz(func(t *testing.T, method, p string, slash bool, accept string) {
		if p != "" && formats.CheckPath(p) != nil {
			t.Skip()
		}
		op, ok := format().Route(formats.Req{Method: method, Path: p, Slash: slash, Header: http.Header{"Accept": {accept}}})
		if ok && op.Kind == formats.File && (op.Name == "" || !strings.HasPrefix(op.Scope, "packages/")) {
			t.Errorf("%q: %+v", p, op)
		}
	})
}
