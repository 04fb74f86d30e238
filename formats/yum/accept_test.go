package yum_test

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"granary/formats"
	"granary/formats/formattest"
)

// send gives an upload to the format and commits it.
func send(t testing.TB, s *formattest.Store, method, target string, header http.Header, body string) error {
	t.Helper()
	op, ok := format().Route(formattest.Request(t, method, target, header))
	if !ok {
		t.Fatalf("%s %s has no route", method, target)
	}
	if header == nil {
		header = http.Header{}
	}
	tx := formattest.NewTx(t, s)
	var up *formats.Upload
	if op.Kind == formats.Write {
		up = &formats.Upload{Header: header, Body: strings.NewReader(body), Size: int64(len(body))}
	}
	if err := format().Accept(t.Context(), op, up, tx); err != nil {
		return err
	}
	return tx.Commit()
}

func put(t testing.TB, s *formattest.Store, target string, r rpm) {
	t.Helper()
	if err := send(t, s, "PUT", target, nil, string(r.build())); err != nil {
		t.Fatalf("PUT %s: %v", target, err)
	}
}

// signer signs nothing; what a signature is made of is tested with the keys.
type signer struct{ err error }

func (s signer) Clear(b []byte) ([]byte, error) { return b, s.err }

func (s signer) Detached(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(r)
	return append([]byte("signature of\n"), b...), errors.Join(err, s.err)
}
func (signer) Public(bool) ([]byte, error) { return []byte("key\n"), nil }
func (signer) Fingerprints() []string      { return []string{"AB"} }

func sha256Of(b []byte) string { return fmt.Sprintf("%x", sha256.Sum256(b)) }

func render(t testing.TB, s *formattest.Store, scope string) map[string]*formattest.Doc {
	t.Helper()
	pub := &formattest.Pub{Keys: signer{}, Set: s.Set}
	if err := format().Render(t.Context(), scope, s.Records(t.Context(), scope), pub); err != nil {
		t.Fatal(err)
	}
	return pub.Docs
}

// listed are the places of the packages that a root lists.
func listed(t testing.TB, docs map[string]*formattest.Doc) string {
	t.Helper()
	var out []string
	for line := range strings.Lines(unzipped(t, docs["primary.xml.gz"].Body)) {
		if href, ok := strings.CutPrefix(line, `<location href="`); ok {
			out = append(out, strings.TrimSuffix(href, "\"/>\n"))
		}
	}
	return strings.Join(out, " ")
}

func TestRoutes(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	for target, want := range map[string]string{
		"GET repodata/repomd.xml":                                 "repomd repodata repomd.xml",
		"GET el9/x86_64/repodata/repomd.xml.asc":                  "repomd el9/x86_64/repodata repomd.xml.asc",
		"GET el9/repodata/" + sum + "-primary.xml.gz":             "metadata el9/repodata " + sum + "-primary.xml.gz fixed",
		"GET repodata/primary.xml.gz":                             "metadata repodata primary.xml.gz",
		"GET repodata/x/y":                                        "",
		"GET repomd.xml.key":                                      "key :keys repomd.xml.key",
		"GET own.repo":                                            "repo file  own",
		"GET el9/own.repo":                                        "repo file el9 own",
		"GET repodata/mirrorlist":                                 "mirrorlist repodata ",
		"GET generations/" + sum + "/el9/repodata/repomd.xml.asc": "metadata el9/repodata " + sum + "-repomd.xml.asc fixed",
		"GET generations/" + sum + "/repodata/" + sum + "-x.xml":  "metadata repodata " + sum + "-x.xml fixed",
		"GET generations/" + sum + "/a/hello-1-1.x86_64.rpm":      "package a hello-1-1.x86_64.rpm fixed",
		"GET generations/" + sum + "/repodata/x/y":                "",
		"GET generations/x/repodata/repomd.xml":                   "repomd generations/x/repodata repomd.xml",
		"GET Packages/h/hello-1-1.x86_64.rpm":                     "package Packages/h hello-1-1.x86_64.rpm fixed",
		"GET .treeinfo":                                           "file  .treeinfo",
		"GET images/":                                             "",
		"PUT Packages/hello.rpm":                                  "package Packages hello.rpm fixed",
		"PUT generations/" + sum + "/hello.rpm":                   "",
		"PUT generations/" + sum + "/comps.xml":                   "",
		"DELETE generations/" + sum + "/hello.rpm":                "",
		"PUT generations/x/hello.rpm":                             "package generations/x hello.rpm fixed",
		"PUT .rpm":                                                "",
		"PUT notes.txt":                                           "",
		"PUT repodata/hello.rpm":                                  "",
		"PUT el9/comps.xml":                                       "extra metadata el9/repodata comps.xml",
		"PUT repodata/updateinfo.xml.gz":                          "extra metadata repodata updateinfo.xml.gz",
		"PUT modules.yaml.zst":                                    "extra metadata repodata modules.yaml.zst",
		"PUT modules.yaml.zip":                                    "",
		"POST upload":                                             "upload  ",
		"POST ":                                                   "upload  ",
		"POST snapshots":                                          "snapshot  ",
		"POST other":                                              "",
		"DELETE Packages/hello.rpm":                               "package Packages hello.rpm fixed",
		"DELETE snapshots/one":                                    "drop snapshot snapshots :one",
		"DELETE comps.xml":                                        "extra metadata repodata comps.xml",
		"DELETE repodata/repomd.xml":                              "",
		"GET snapshots/one/repodata/repomd.xml":                   "repomd snapshots/one/repodata repomd.xml",
		"GET snapshots/one/Packages/hello-1-1.x86_64.rpm":         "package snapshots/one/Packages hello-1-1.x86_64.rpm fixed",
	} {
		method, path, _ := strings.Cut(target, " ")
		op, ok := format().Route(formattest.Request(t, method, path, nil))
		got := ""
		if ok {
			got = op.Label + " " + op.Scope + " " + op.Path + op.Name
			if op.Fixed {
				got += " fixed"
			}
		}
		if got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}

func FuzzRoute(f *testing.F) {
	f.Add("GET", "el9/repodata/ab-primary.xml.gz")
	f.Add("PUT", "repodata/comps.xml")
	f.Add("DELETE", "snapshots/x")
	f.Fuzz(func(t *testing.T, method, path string) {
		if formats.CheckPath(path) != nil {
			return // the core refuses it
		}
		op, ok := format().Route(formats.Req{Method: method, Path: path, Header: http.Header{}})
		if ok && op.Kind == formats.File && (op.Name == "" || op.Key() != path) {
			t.Errorf("%q is %q", path, op.Key())
		}
	})
}

// repodata_depth says which directories have metadata of their own.
func TestDepth(t *testing.T) {
	s := formattest.NewStore(t, format())
	s.Set.RepodataDepth = 2
	put(t, s, "el9/x86_64/Packages/h/hello.rpm", hello(1, "a"))
	put(t, s, "el9/aarch64/hello.rpm", hello(1, "b"))
	put(t, s, "el8/hello.rpm", hello(1, "c"))
	for scope, want := range map[string]string{
		"el9/x86_64/repodata": "Packages/h/hello.rpm", "el9/aarch64/repodata": "hello.rpm", "el8/repodata": "hello.rpm", "repodata": "",
	} {
		if got := listed(t, render(t, s, scope)); got != want {
			t.Errorf("%s lists %q, want %q", scope, got, want)
		}
	}
}

// The same package with other bytes is refused, also at another path; the same
// bytes at another path are listed there.
func TestSamePackage(t *testing.T) {
	s := formattest.NewStore(t, format())
	put(t, s, "a/hello.rpm", hello(1, "one"))
	for _, target := range []string{"a/hello.rpm", "b/hello.rpm"} {
		if err := send(t, s, "PUT", target, nil, string(hello(1, "two").build())); !errors.Is(err, formats.ErrExists) {
			t.Errorf("%s: %v, want ErrExists", target, err)
		}
	}
	put(t, s, "a/hello.rpm", hello(1, "one"))
	put(t, s, "b/hello.rpm", hello(1, "one"))
	if got := listed(t, render(t, s, "repodata")); got != "b/hello.rpm" {
		t.Errorf("listed %q", got)
	}
	// Deleting the copy that is not listed leaves the other listed.
	if err := send(t, s, "DELETE", "a/hello.rpm", nil, ""); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, render(t, s, "repodata")); got != "b/hello.rpm" {
		t.Errorf("listed %q", got)
	}
	if err := send(t, s, "DELETE", "b/hello.rpm", nil, ""); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(s.Keys(), " "); got != "repodata/:root" {
		t.Errorf("left are %s", got)
	}
}

// Where the policy lets bytes be replaced, another package takes the place of
// one, pieces and all.
func TestOverwrite(t *testing.T) {
	s := formattest.NewStore(t, format())
	s.Overwrite = true
	big := hello(1, "one")
	big.more = manyFiles
	put(t, s, "hello.rpm", big)
	if n := len(s.Keys()); n < 4 {
		t.Fatalf("the description is in %d records", n)
	}
	put(t, s, "hello.rpm", hello(2, "two"))
	if got := strings.Join(s.Keys(), " "); got != "hello.rpm repodata/:root repodata/packages/hello/:0:1.2-1.x86_64" {
		t.Errorf("there are %s", got)
	}
	other := hello(2, "three")
	put(t, s, "hello.rpm", other)
	if got := listed(t, render(t, s, "repodata")); got != "hello.rpm" {
		t.Errorf("listed %s", got)
	}
}

// manyFiles makes a description that does not fit into one record.
func manyFiles(h *rpmHeader) {
	var names []string
	state := uint64(1)
	for range 60_000 {
		name := make([]byte, 16)
		for i := range name {
			state = state*6364136223846793005 + 1442695040888963407
			name[i] = 'a' + byte(state>>59)%26
		}
		names = append(names, string(name))
	}
	h.texts(1117, names...)
	h.texts(1118, "/usr/share/")
	h.int32s(1116, make([]uint32, len(names))...)
}

func TestBigDescription(t *testing.T) {
	s := formattest.NewStore(t, format())
	big := hello(1, "one")
	big.more = manyFiles
	put(t, s, "hello.rpm", big)
	if n := strings.Count(unzipped(t, render(t, s, "repodata")["filelists.xml.gz"].Body), "<file>"); n != 60_000 {
		t.Errorf("%d files are listed", n)
	}
	// A piece that is missing fails the rendering instead of leaving a package out.
	s2 := formattest.NewStore(t, format())
	put(t, s2, "hello.rpm", big)
	keys := s2.Keys()
	tx := formattest.NewTx(t, s2)
	tx.Delete("repodata", strings.TrimPrefix(keys[len(keys)-1], "repodata/"))
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	err := format().Render(t.Context(), "repodata", s2.Records(t.Context(), "repodata"), &formattest.Pub{Keys: signer{}})
	if !errors.Is(err, formats.ErrBusy) {
		t.Errorf("%v, want ErrBusy", err)
	}
}

func TestForms(t *testing.T) {
	data := string(hello(1, "x").build())
	for name, c := range map[string]struct {
		parts []formattest.Part
		want  string // key of the package; "": refused
	}{
		"upload":        {[]formattest.Part{{Name: "file", File: "x.rpm", Content: data}, {Name: "directory", Content: "/el9/Packages/"}}, "el9/Packages/hello-1.1-1.x86_64.rpm"},
		"nexus":         {[]formattest.Part{{Name: "yum.directory", Content: "el9"}, {Name: "yum.asset", File: "x.rpm", Content: data}, {Name: "yum.asset.filename", Content: "y.rpm"}}, "el9/y.rpm"},
		"no directory":  {[]formattest.Part{{Name: "file", File: "x", Content: data}}, "hello-1.1-1.x86_64.rpm"},
		"no file":       {[]formattest.Part{{Name: "directory", Content: "el9"}}, ""},
		"dots":          {[]formattest.Part{{Name: "directory", Content: "../x"}, {Name: "file", File: "x.rpm", Content: data}}, ""},
		"metadata":      {[]formattest.Part{{Name: "directory", Content: "el9/repodata"}, {Name: "file", File: "x.rpm", Content: data}}, ""},
		"snapshots":     {[]formattest.Part{{Name: "directory", Content: "snapshots/x"}, {Name: "file", File: "x.rpm", Content: data}}, ""},
		"name":          {[]formattest.Part{{Name: "yum.asset.filename", Content: "a/b.rpm"}, {Name: "file", File: "x.rpm", Content: data}}, ""},
		"no package":    {[]formattest.Part{{Name: "file", File: "x.rpm", Content: "hello"}}, ""},
		"twice":         {[]formattest.Part{{Name: "file", File: "x.rpm", Content: data}, {Name: "file", File: "y.rpm", Content: data}}, ""},
		"wrong promise": {[]formattest.Part{{Name: "file", File: "x.rpm", Content: data, Header: http.Header{"X-Checksum-Sha256": {strings.Repeat("00", 32)}}}}, ""},
	} {
		s := formattest.NewStore(t, format())
		h, body := formattest.Form(t, c.parts...)
		err := send(t, s, "POST", "upload", h, string(body))
		keys := strings.Join(s.Keys(), " ")
		if c.want == "" && (err == nil || keys != "") {
			t.Errorf("%s: %v, stored %s", name, err, keys)
		}
		if c.want != "" && (err != nil || !strings.Contains(keys, c.want)) {
			t.Errorf("%s: %v, stored %s", name, err, keys)
		}
	}
}

func TestSnapshot(t *testing.T) {
	s := formattest.NewStore(t, format())
	s.Set.RepodataDepth = 1
	put(t, s, "el9/Packages/hello.rpm", hello(1, "one"))
	take := func(body string) error { return send(t, s, "POST", "snapshots", http.Header{}, body) }
	if err := take(`{"source":"el9","name":"one"}`); err != nil {
		t.Fatal(err)
	}
	put(t, s, "el9/Packages/hello2.rpm", hello(2, "two"))
	if got := listed(t, render(t, s, "snapshots/one/repodata")); got != "el9/Packages/hello.rpm" {
		t.Errorf("the snapshot lists %s", got)
	}
	if a, err := s.Do("GET", "snapshots/one/el9/Packages/hello.rpm", nil, nil); err != nil || !bytes.Equal(a.Body, hello(1, "one").build()) {
		t.Errorf("a package of the snapshot: %v", err)
	}
	for body, want := range map[string]error{
		`{"source":"el9","name":"one"}`:   formats.ErrExists,
		`{"source":"el8","name":"two"}`:   formats.ErrNotFound,
		`{"source":"el9","name":"../x"}`:  formats.ErrBadRequest,
		`{"source":"..","name":"x"}`:      formats.ErrBadRequest,
		`{"source":"el9","name":"x.rpm"}`: formats.ErrBadRequest, // by its path a package would be deleted
		`{"source":"el9"}`:                formats.ErrBadRequest,
		`nonsense`:                        formats.ErrBadRequest,
	} {
		if err := take(body); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", body, err, want)
		}
	}
	// A package that is deleted leaves the snapshots, too.
	if err := send(t, s, "DELETE", "el9/Packages/hello.rpm", nil, ""); err != nil {
		t.Fatal(err)
	}
	if got := listed(t, render(t, s, "snapshots/one/repodata")); got != "" {
		t.Errorf("the snapshot lists %s", got)
	}
	if err := send(t, s, "DELETE", "snapshots/one", nil, ""); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(s.Keys(), " "); strings.Contains(got, "snapshots") {
		t.Errorf("left are %s", got)
	}
}
