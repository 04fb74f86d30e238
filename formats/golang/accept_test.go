package golang_test

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	modzip "golang.org/x/mod/zip"

	"granary/formats"
	"granary/formats/formattest"
)

const (
	mod  = "example.com/m"
	info = `{"Version":"v1.0.0","Time":"2024-05-06T07:08:09Z","Origin":{"VCS":"git"}}`
	made = `{"Version":"v1.0.0","Time":"2026-01-02T03:04:05Z"}`
)

func upload(t testing.TB, s *formattest.Store, fields map[string]string) (*formattest.Answer, error) {
	t.Helper()
	var parts []formattest.Part
	for _, name := range []string{"module", "version", "info", "mod", "zip", "other"} {
		if v, ok := fields[name]; ok {
			p := formattest.Part{Name: name, Content: v}
			if name == "zip" || name == "mod" || name == "info" {
				p.File = name
			}
			parts = append(parts, p)
		}
	}
	header, body := formattest.Form(t, parts...)
	return s.Do("POST", "upload", header, body)
}

func get(t testing.TB, s *formattest.Store, target string) string {
	t.Helper()
	a, err := s.Do("GET", target, nil, nil)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(a.Body)
}

func expect(t testing.TB, s *formattest.Store, want map[string]string) {
	t.Helper()
	for target, body := range want {
		if got := get(t, s, target); got != body {
			t.Errorf("GET %s: %q, want %q", target, got, body)
		}
	}
}

func moduleZip(t testing.TB, version string, files map[string]string) string {
	t.Helper()
	return string(formattest.Module(t, mod, version, files))
}

func TestUploadForm(t *testing.T) {
	s := formattest.NewStore(t, format())
	body := moduleZip(t, "v1.0.0", map[string]string{"m.go": "package m\n"})
	a, err := upload(t, s, map[string]string{"module": mod, "version": "v1.0.0", "info": info, "mod": "module example.com/m\n\ngo 1.21\n", "zip": body, "other": "x"})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(s.Keys(), " "); got != mod+"/@latest/:v1.0.0 "+mod+"/@v/v1.0.0.info "+mod+"/@v/v1.0.0.mod "+mod+"/@v/v1.0.0.zip" {
		t.Errorf("stored %s", got)
	}
	if a.Records[0].Name != "v1.0.0.zip" || a.Records[0].Type != "application/zip" || a.Records[0].Move || a.Records[2].Move {
		t.Errorf("records %+v", a.Records)
	}
	expect(t, s, map[string]string{
		mod + "/@v/list":        "v1.0.0\n",
		mod + "/@latest":        info + "\n",
		mod + "/@v/v1.0.0.info": info,
		mod + "/@v/v1.0.0.mod":  "module example.com/m\n\ngo 1.21\n",
		mod + "/@v/v1.0.0.zip":  body,
	})

	// The answer has the hash that the go command will compute.
	file := filepath.Join(t.TempDir(), "m.zip")
	if err := os.WriteFile(file, []byte(body), 0o600); err != nil {
		t.Fatal(err)
	}
	h1, err := dirhash.HashZip(file, dirhash.Hash1)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	if !format().Answer(w, httptest.NewRequest("POST", "/upload", nil), a.Op, a.Records) {
		t.Fatal("no answer")
	}
	var got map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || w.Code != 200 || got["module"] != mod || got["version"] != "v1.0.0" || got["sum"] != h1 {
		t.Errorf("answer %d %s: %v", w.Code, w.Body, err)
	}

	// The same again changes nothing; other bytes are a conflict.
	if _, err := upload(t, s, map[string]string{"zip": body}); err != nil {
		t.Errorf("the same zip again: %v", err)
	}
	expect(t, s, map[string]string{mod + "/@v/v1.0.0.info": info})
	if _, err := upload(t, s, map[string]string{"zip": moduleZip(t, "v1.0.0", map[string]string{"m.go": "package n\n"})}); !errors.Is(err, formats.ErrExists) {
		t.Errorf("another zip: %v", err)
	}
}

func TestUploadBare(t *testing.T) {
	s := formattest.NewStore(t, format())
	name, version := "example.com/Upper/m", "v1.2.0-RC1"
	body := formattest.Module(t, name, version, nil)
	if _, err := s.Do("PUT", "upload", http.Header{"Content-Type": {"application/zip"}, "X-Checksum-Sha256": {strings.Repeat("0", 64)}}, body); !errors.Is(err, formats.ErrChecksum) {
		t.Errorf("wrong checksum: %v", err)
	}
	if _, err := s.Do("PUT", "upload", http.Header{"Content-Type": {"application/zip"}}, body); err != nil {
		t.Fatal(err)
	}
	expect(t, s, map[string]string{
		"example.com/!upper/m/@v/list":              version + "\n",
		"example.com/!upper/m/@v/v1.2.0-!r!c1.zip":  string(body),
		"example.com/!upper/m/@v/v1.2.0-!r!c1.info": `{"Version":"v1.2.0-RC1","Time":"2026-01-02T03:04:05Z"}`,
	})
}

func TestUploadWithoutGoMod(t *testing.T) {
	s := formattest.NewStore(t, format())
	for _, version := range []string{"v1.0.0", "v2.0.0+incompatible"} {
		body := formattest.Zip(t, formattest.Entry{Name: mod + "@" + version + "/m.go", Content: "package m\n"})
		if _, err := s.Do("POST", "upload", nil, body); err != nil {
			t.Fatal(err)
		}
		expect(t, s, map[string]string{mod + "/@v/" + version + ".mod": "module example.com/m\n"})
	}
	expect(t, s, map[string]string{mod + "/@v/list": "v1.0.0\nv2.0.0+incompatible\n"})
}

func TestUploadWithoutTime(t *testing.T) {
	s := formattest.NewStore(t, format())
	if _, err := upload(t, s, map[string]string{"zip": moduleZip(t, "v1.0.0", nil), "info": `{"Version":"v1.0.0"}`, "mod": ""}); err != nil {
		t.Fatal(err)
	}
	expect(t, s, map[string]string{mod + "/@v/v1.0.0.info": made})
}

// Files that replace others bring a new time, too.
func TestUploadOverwrite(t *testing.T) {
	s := formattest.NewStore(t, format())
	s.Overwrite = true
	if _, err := upload(t, s, map[string]string{"zip": moduleZip(t, "v1.0.0", nil), "info": info}); err != nil {
		t.Fatal(err)
	}
	if _, err := upload(t, s, map[string]string{"zip": moduleZip(t, "v1.0.0", map[string]string{"a": "b"})}); err != nil {
		t.Fatal(err)
	}
	expect(t, s, map[string]string{mod + "/@v/v1.0.0.info": made, mod + "/@latest": made + "\n"})
}

func TestUploadRefused(t *testing.T) {
	good := moduleZip(t, "v1.0.0", nil)
	at := func(name, version string) string { return string(formattest.Module(t, name, version, nil)) }
	files := func(pairs ...string) string {
		var entries []formattest.Entry
		for i := 0; i < len(pairs); i += 2 {
			entries = append(entries, formattest.Entry{Name: mod + "@v1.0.0/" + pairs[i], Content: pairs[i+1]})
		}
		return string(formattest.Zip(t, entries...))
	}
	for name, tc := range map[string]struct {
		fields map[string]string
		want   error
	}{
		"no zip":               {map[string]string{"module": mod, "version": "v1.0.0"}, formats.ErrBadRequest},
		"no zip file":          {map[string]string{"zip": "hello"}, formats.ErrBadPackage},
		"empty zip":            {map[string]string{"zip": string(formattest.Zip(t))}, formats.ErrBadPackage},
		"cut zip":              {map[string]string{"zip": good[:len(good)-30]}, formats.ErrBadPackage},
		"no prefix":            {map[string]string{"zip": string(formattest.Zip(t, formattest.Entry{Name: "go.mod"}))}, formats.ErrBadPackage},
		"other module":         {map[string]string{"module": "example.com/other", "zip": good}, formats.ErrBadPackage},
		"other version":        {map[string]string{"version": "v1.0.1", "zip": good}, formats.ErrBadPackage},
		"two prefixes":         {map[string]string{"zip": string(formattest.Zip(t, formattest.Entry{Name: mod + "@v1.0.0/a"}, formattest.Entry{Name: mod + "@v1.0.1/b"}))}, formats.ErrBadPackage},
		"bad module":           {map[string]string{"zip": at("nodot/m", "v1.0.0")}, formats.ErrBadRequest},
		"long module":          {map[string]string{"module": strings.Repeat("a", 2000), "zip": good}, formats.ErrBadRequest},
		"deep module":          {map[string]string{"zip": at("example.com/"+strings.Repeat("abcdefg/", 120)+"m", "v1.0.0")}, formats.ErrBadRequest},
		"major without suffix": {map[string]string{"zip": at(mod, "v2.0.0")}, formats.ErrBadRequest},
		"suffix without major": {map[string]string{"zip": at(mod+"/v2", "v1.0.0")}, formats.ErrBadRequest},
		"short version":        {map[string]string{"zip": at(mod, "v1.0")}, formats.ErrBadRequest},
		"no version":           {map[string]string{"zip": at(mod, "main")}, formats.ErrBadRequest},
		"build metadata":       {map[string]string{"zip": at(mod, "v1.0.0+meta")}, formats.ErrBadRequest},
		"v1 incompatible":      {map[string]string{"zip": at(mod, "v1.0.0+incompatible")}, formats.ErrBadRequest},
		"incompatible, go.mod": {map[string]string{"zip": at(mod, "v2.0.0+incompatible")}, formats.ErrBadPackage},
		"go.mod of another":    {map[string]string{"zip": files("go.mod", "module example.com/x\n")}, formats.ErrBadPackage},
		"go.mod of nothing":    {map[string]string{"zip": files("go.mod", "go 1.21\n")}, formats.ErrBadPackage},
		"other mod":            {map[string]string{"zip": good, "mod": "module example.com/m\n"}, formats.ErrBadPackage},
		"info is no JSON":      {map[string]string{"zip": good, "info": "v1.0.0"}, formats.ErrBadPackage},
		"info of another":      {map[string]string{"zip": good, "info": `{"Version":"v1.0.1"}`}, formats.ErrBadPackage},
		"info without version": {map[string]string{"zip": good, "info": `{}`}, formats.ErrBadPackage},
		"info with bad time":   {map[string]string{"zip": good, "info": `{"Version":"v1.0.0","Time":"now"}`}, formats.ErrBadPackage},
		"large info":           {map[string]string{"zip": good, "info": `{"Version":"v1.0.0"}` + strings.Repeat(" ", 20000)}, formats.ErrTooLarge},
		"dot-dot":              {map[string]string{"zip": files("../a", "")}, formats.ErrBadPackage},
		"absolute":             {map[string]string{"zip": files("/a", "")}, formats.ErrBadPackage},
		"reserved":             {map[string]string{"zip": files("a/con.txt", "")}, formats.ErrBadPackage},
		"same name":            {map[string]string{"zip": files("a", "", "a", "")}, formats.ErrBadPackage},
		"case":                 {map[string]string{"zip": files("a/x", "", "A/y", "")}, formats.ErrBadPackage},
		"file and directory":   {map[string]string{"zip": files("a", "", "a/b", "")}, formats.ErrBadPackage},
		"GO.MOD":               {map[string]string{"zip": files("GO.MOD", "")}, formats.ErrBadPackage},
		"go.mod below":         {map[string]string{"zip": files("sub/go.mod", "")}, formats.ErrBadPackage},
		"large LICENSE":        {map[string]string{"zip": files("LICENSE", strings.Repeat("x", modzip.MaxLICENSE+1))}, formats.ErrBadPackage},
		"large go.mod":         {map[string]string{"zip": files("go.mod", strings.Repeat("x", modzip.MaxGoMod+1))}, formats.ErrBadPackage},
		"long path":            {map[string]string{"zip": files(strings.Repeat("a/", 2100)+"b", "")}, formats.ErrBadPackage},
	} {
		t.Run(name, func(t *testing.T) {
			s := formattest.NewStore(t, format())
			if _, err := upload(t, s, tc.fields); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if keys := s.Keys(); len(keys) > 0 {
				t.Errorf("stored %q", keys)
			}
		})
	}
}

func TestUploadFormRefused(t *testing.T) {
	s := formattest.NewStore(t, format())
	zipPart := formattest.Part{Name: "zip", File: "m.zip", Content: moduleZip(t, "v1.0.0", nil)}
	header, body := formattest.Form(t, zipPart, zipPart)
	if _, err := s.Do("POST", "upload", header, body); !errors.Is(err, formats.ErrBadRequest) {
		t.Errorf("two zips: %v", err)
	}
	header, body = formattest.Form(t, zipPart)
	if _, err := s.Do("POST", "upload", header, body[:len(body)/2]); !errors.Is(err, formats.ErrTruncated) {
		t.Errorf("half a form: %v", err)
	}
	up := &formats.Upload{Header: http.Header{}, Body: strings.NewReader(""), Size: modzip.MaxZipFile + 1}
	err := format().Accept(t.Context(), formats.Op{Kind: formats.Write, Label: "upload"}, up, formattest.NewTx(t, s))
	if !errors.Is(err, formats.ErrTooLarge) {
		t.Errorf("a body announced too large: %v", err)
	}
}

// Damage that the directory of a zip does not show is found by unpacking it.
func TestUploadDamaged(t *testing.T) {
	body := []byte(moduleZip(t, "v1.0.0", map[string]string{"m.go": strings.Repeat("package m\n", 50)}))
	i := bytes.Index(body, []byte("m.go")) + 10
	body[i] ^= 0xff
	s := formattest.NewStore(t, format())
	if _, err := s.Do("POST", "upload", nil, body); !errors.Is(err, formats.ErrBadPackage) {
		t.Errorf("got %v", err)
	}
}

// A zip whose sizes lie is found as well: nothing unpacks more than they say.
func TestUploadLyingSizes(t *testing.T) {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	h := &zip.FileHeader{Name: mod + "@v1.0.0/big", Method: zip.Store, CompressedSize64: 4, UncompressedSize64: 501 << 20}
	f, err := w.CreateRaw(h)
	if err == nil {
		_, err = f.Write([]byte("tiny"))
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	s := formattest.NewStore(t, format())
	if _, err := s.Do("POST", "upload", nil, buf.Bytes()); !errors.Is(err, formats.ErrBadPackage) || !strings.Contains(err.Error(), "more than") {
		t.Errorf("got %v", err)
	}
}

func FuzzForm(f *testing.F) {
	header, body := formattest.Form(f, formattest.Part{Name: "module", Content: mod}, formattest.Part{Name: "zip", File: "z", Content: moduleZip(f, "v1.0.0", nil)})
	f.Add(header.Get("Content-Type"), body)
	f.Add("application/zip", []byte(moduleZip(f, "v1.0.0", nil)))
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		s := formattest.NewStore(t, format())
		_, err := s.Do("POST", "upload", http.Header{"Content-Type": {contentType}}, body)
		if err != nil && !errors.Is(err, formats.ErrBadRequest) && !errors.Is(err, formats.ErrTooLarge) {
			t.Error(err)
		}
		if n := len(s.Keys()); err == nil && n != 4 || err != nil && n != 0 {
			t.Errorf("%v, stored %q", err, s.Keys())
		}
	})
}

// FuzzZip compares the check of zips with the go command's own.
func FuzzZip(f *testing.F) {
	f.Add([]byte(moduleZip(f, "v1.0.0", map[string]string{"a/b": "c", "LICENSE": "free"})))
	f.Add(formattest.Zip(f, formattest.Entry{Name: mod + "@v1.0.0/a", Content: "x"}, formattest.Entry{Name: mod + "@v1.0.0/A", Content: "x"}))
	f.Add(formattest.Zip(f, formattest.Entry{Name: mod + "@v1.0.0/a/"}, formattest.Entry{Name: mod + "@v1.0.0/a/", Content: ""}))
	f.Fuzz(func(t *testing.T, body []byte) {
		op, _ := format().Route(formattest.Request(t, "GET", mod+"/@v/v1.0.0.zip", nil))
		err := format().Verify(t.Context(), op, formattest.NewBytes(body), nil)
		file := filepath.Join(t.TempDir(), "m.zip")
		if err := os.WriteFile(file, body, 0o600); err != nil {
			t.Fatal(err)
		}
		_, theirs := modzip.CheckZip(module.Version{Path: mod, Version: "v1.0.0"}, file)
		if err != nil && !errors.Is(err, formats.ErrBadPackage) {
			t.Errorf("%v is no ErrBadPackage", err)
		}
		stricter := err != nil && (strings.Contains(err.Error(), "encrypted") || strings.Contains(err.Error(), "path of"))
		if (err == nil) != (theirs == nil) && !stricter {
			t.Errorf("we say %v, the go command %v", err, theirs)
		}
	})
}

func BenchmarkUpload(b *testing.B) {
	body := formattest.Module(b, mod, "v1.0.0", map[string]string{"m.go": strings.Repeat("package m\n", 800)})
	header, form := formattest.Form(b,
		formattest.Part{Name: "module", Content: mod}, formattest.Part{Name: "version", Content: "v1.0.0"},
		formattest.Part{Name: "info", File: "info", Content: info}, formattest.Part{Name: "zip", File: "zip", Content: string(body)})
	s := formattest.NewStore(b, format())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := s.Do("POST", "upload", header, form); err != nil {
			b.Fatal(err)
		}
	}
}

func ExampleFormat() {
	op, _ := format().Route(formats.Req{Method: "GET", Path: "github.com/!burnt!sushi/toml/@v/v1.3.2.zip"})
	fmt.Println(op.Scope, op.Name, op.Fixed)
	// Output: github.com/!burnt!sushi/toml/@v v1.3.2.zip true
}
