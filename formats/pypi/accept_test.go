package pypi_test

import (
	"archive/zip"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"granary/formats"
	"granary/formats/formattest"
)

const simpleJSON = "application/vnd.pypi.simple.v1+json"

func TestUpload(t *testing.T) {
	s := formattest.NewStore(t, format())
	body := wheel(t, "My.Lib", "1.0", "Requires-Python: >=3.8\nRequires-Dist: other>1\nSummary: it's <mine>\n\nlong\n")
	header, sent := form(t, wheelName("My.Lib", "1.0"), body, "name=My.Lib", "version=1.0", "filetype=bdist_wheel", "sha256_digest="+sha(body), "classifiers=a", "classifiers=b")
	for _, target := range []string{"", "legacy/"} { // the second is the same bytes again
		if _, err := s.Do("POST", target, header, sent); err != nil {
			t.Fatal(err)
		}
	}
	const file = "packages/my-lib/1.0/My.Lib-1.0-py3-none-any.whl"
	if got := strings.Join(s.Keys(), " "); got != file+" "+file+".metadata simple/:my-lib" {
		t.Errorf("stored %s", got)
	}
	if get(t, s, file) != body || !strings.HasPrefix(get(t, s, file+".metadata"), "Metadata-Version: 2.1\nName: My.Lib\n") {
		t.Error("other bytes are served")
	}
	var page struct {
		Name     string
		Versions []string
		Files    []map[string]any
	}
	if err := json.Unmarshal([]byte(get(t, s, "simple/my-lib/", "Accept", simpleJSON)), &page); err != nil {
		t.Fatal(err)
	}
	f := page.Files[0]
	digest := sha(get(t, s, file+".metadata"))
	if page.Name != "my-lib" || !slices.Equal(page.Versions, []string{"1.0"}) || f["url"] != "../../"+file || f["requires-python"] != ">=3.8" || f["yanked"] != false ||
		f["size"] != float64(len(body)) || f["upload-time"] != "2026-11-22T10:20:30.000000Z" || fmt.Sprint(f["hashes"]) != "map[sha256:"+sha(body)+"]" ||
		fmt.Sprint(f["core-metadata"]) != "map[sha256:"+digest+"]" || f["gpg-sig"] != false {
		t.Errorf("page %+v", page)
	}
	html := get(t, s, "simple/my-lib/")
	for _, want := range []string{
		`<a href="../../` + file + `#sha256=` + sha(body) + `" data-requires-python="&gt;=3.8" data-dist-info-metadata="sha256=` + digest + `" data-core-metadata="sha256=` + digest + `">My.Lib-1.0-py3-none-any.whl</a>`,
		`<meta name="pypi:repository-version" content="1.4">`,
	} {
		if !strings.Contains(html, want) {
			t.Errorf("page without %s:\n%s", want, html)
		}
	}
	if got := get(t, s, "simple/"); !strings.Contains(got, `<a href="my-lib/">my-lib</a>`) {
		t.Errorf("list:\n%s", got)
	}
	if got := get(t, s, "simple/", "Accept", simpleJSON); got != `{"meta":{"api-version":"1.4"},"projects":[{"name":"my-lib"}]}`+"\n" {
		t.Errorf("list: %s", got)
	}
	if err := upload(t, s, wheelName("My.Lib", "1.0"), wheel(t, "My.Lib", "1.0", "Summary: other\n")); !errors.Is(err, formats.ErrExists) {
		t.Errorf("another file of that name: %v", err)
	}
}

func TestUploadSdist(t *testing.T) {
	s := formattest.NewStore(t, format())
	info := formattest.Entry{Name: "PKG-INFO", Content: metadata("my-lib", "1.0", "Requires-Python: >=3\n")}
	mustUpload(t, s, "my_lib-1.0.tar.gz", sdist(t, "my_lib-1.0", formattest.Entry{Name: "setup.py"}, info))
	mustUpload(t, s, "my-lib-1.1.zip", string(formattest.Zip(t, formattest.Entry{Name: "my-lib-1.1/PKG-INFO", Content: metadata("my_lib", "1.1", "")})), "name=my-lib")
	if html := get(t, s, "simple/my-lib/"); strings.Index(html, "my_lib-1.0.tar.gz") > strings.Index(html, "my-lib-1.1.zip") || strings.Contains(html, "core-metadata") {
		t.Errorf("page:\n%s", html)
	}
}

func TestUploadRefused(t *testing.T) {
	name := wheelName("lib", "1.0")
	good := wheel(t, "lib", "1.0", "")
	raw := func(entries ...formattest.Entry) string { return string(formattest.Zip(t, entries...)) }
	info := func(more ...formattest.Entry) string {
		return raw(append([]formattest.Entry{{Name: "lib-1.0.dist-info/METADATA", Content: metadata("lib", "1.0", "")}, {Name: "lib-1.0.dist-info/WHEEL"}, {Name: "lib-1.0.dist-info/RECORD"}}, more...)...)
	}
	pkgInfo := formattest.Entry{Name: "PKG-INFO", Content: metadata("lib", "1.0", "")}
	for what, tc := range map[string]struct {
		file, body string
		fields     []string
	}{
		"no archive":            {name, "hello", nil},
		"cut":                   {name, good[:len(good)-20], nil},
		"no file name":          {"", good, nil},
		"no wheel":              {"lib-1.0.exe", good, nil},
		"path as a name":        {"a/../" + name + "%2f..", good, nil},
		"name in the form":      {name, good, []string{"name=other"}},
		"version in the form":   {name, good, []string{"version=2.0"}},
		"kind in the form":      {name, good, []string{"filetype=sdist"}},
		"action":                {name, good, []string{":action=submit"}},
		"protocol":              {name, good, []string{"name=lib", "name=lib"}},
		"wrong sha256":          {name, good, []string{"sha256_digest=" + sha("x")}},
		"wrong md5":             {name, good, []string{"md5_digest=00000000000000000000000000000000"}},
		"wrong blake2":          {name, good, []string{"blake2_256_digest=" + sha("x")}},
		"no digest":             {name, good, []string{"sha256_digest=zz"}},
		"version in the file":   {wheelName("lib", "2.0"), good, nil},
		"name in the metadata":  {name, raw(formattest.Entry{Name: "lib-1.0.dist-info/METADATA", Content: metadata("evil", "1.0", "")}, formattest.Entry{Name: "lib-1.0.dist-info/WHEEL"}, formattest.Entry{Name: "lib-1.0.dist-info/RECORD"}), nil},
		"no metadata":           {name, raw(formattest.Entry{Name: "lib/__init__.py"}), nil},
		"no RECORD":             {name, raw(formattest.Entry{Name: "lib-1.0.dist-info/METADATA", Content: metadata("lib", "1.0", "")}, formattest.Entry{Name: "lib-1.0.dist-info/WHEEL"}), nil},
		"two metadata":          {name, info(formattest.Entry{Name: "lib-1.0.dist-info/METADATA", Content: metadata("lib", "1.0", "")}), nil},
		"two dist-info":         {name, info(formattest.Entry{Name: "evil-1.0.dist-info/METADATA", Content: metadata("evil", "1.0", "")}), nil},
		"parent path":           {name, info(formattest.Entry{Name: "../evil.py"}), nil},
		"absolute path":         {name, info(formattest.Entry{Name: "/etc/evil"}), nil},
		"malformed metadata":    {name, raw(formattest.Entry{Name: "lib-1.0.dist-info/METADATA", Content: "hello\n"}, formattest.Entry{Name: "lib-1.0.dist-info/WHEEL"}, formattest.Entry{Name: "lib-1.0.dist-info/RECORD"}), nil},
		"sdist without info":    {"lib-1.0.tar.gz", sdist(t, "lib-1.0", formattest.Entry{Name: "setup.py"}), nil},
		"sdist of two folders":  {"lib-1.0.tar.gz", sdist(t, "", formattest.Entry{Name: "lib-1.0/PKG-INFO", Content: pkgInfo.Content}, formattest.Entry{Name: "x/y"}), nil},
		"sdist with parents":    {"lib-1.0.tar.gz", sdist(t, "lib-1.0", pkgInfo, formattest.Entry{Name: "../../x"}), nil},
		"sdist of another kind": {"lib-1.0.tar.bz2", sdist(t, "lib-1.0", pkgInfo), nil},
		"no attestation":        {name, good, []string{`attestations=[{"version":1}]`}},
		"attestations no list":  {name, good, []string{`attestations={}`}},
	} {
		s := formattest.NewStore(t, format())
		if err := upload(t, s, tc.file, tc.body, tc.fields...); !errors.Is(err, formats.ErrBadRequest) {
			t.Errorf("%s: %v", what, err)
		}
		if keys := s.Keys(); len(keys) > 0 {
			t.Errorf("%s: stored %q", what, keys)
		}
	}
}

// A wheel of zeros that unpacks to a thousand times its size.
func TestUploadBomb(t *testing.T) {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	f, err := w.Create("lib/zeros")
	for range 80 {
		if err == nil {
			_, err = f.Write(make([]byte, 1<<20))
		}
	}
	if err = errors.Join(err, w.Close()); err != nil {
		t.Fatal(err)
	}
	s := formattest.NewStore(t, format())
	if err := upload(t, s, wheelName("lib", "1.0"), buf.String()); !errors.Is(err, formats.ErrBadPackage) || !strings.Contains(err.Error(), "times its size") {
		t.Errorf("got %v", err)
	}
}

func TestYank(t *testing.T) {
	s := formattest.NewStore(t, format())
	for _, v := range []string{"1.0", "2.0"} {
		mustUpload(t, s, wheelName("lib", v), wheel(t, "lib", v, ""))
	}
	if _, err := s.Do("POST", "packages/Lib/2.0/yank", nil, []byte(`{"reason":"\"><script>alert(1)</script>"}`)); err != nil {
		t.Fatal(err)
	}
	html := get(t, s, "simple/lib/")
	if !strings.Contains(html, ` data-yanked="&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;">lib-2.0`) || strings.Contains(html, "<script") || strings.Count(html, "data-yanked") != 1 {
		t.Errorf("page:\n%s", html)
	}
	if page := get(t, s, "simple/lib/", "Accept", simpleJSON); !strings.Contains(page, `"yanked":"\"><script>alert(1)</script>"`) {
		t.Errorf("page: %s", page)
	}
	if got := get(t, s, "pypi/lib/json"); !strings.Contains(got, `"version":"1.0"`) {
		t.Errorf("a yanked version is the latest: %s", got)
	}
	if _, err := s.Do("POST", "packages/lib/2.0/unyank", nil, nil); err != nil {
		t.Fatal(err)
	}
	if html := get(t, s, "simple/lib/"); strings.Contains(html, "data-yanked") {
		t.Errorf("page:\n%s", html)
	}
	for _, target := range []string{"packages/lib/3.0/yank", "packages/none/1.0/yank"} {
		if _, err := s.Do("POST", target, nil, nil); !errors.Is(err, formats.ErrNotFound) {
			t.Errorf("%s: %v", target, err)
		}
	}
	if _, err := s.Do("POST", "packages/lib/1.0/yank", nil, []byte("no JSON")); !errors.Is(err, formats.ErrBadRequest) {
		t.Errorf("got %v", err)
	}
}

func TestDelete(t *testing.T) {
	s := formattest.NewStore(t, format())
	info := formattest.Entry{Name: "PKG-INFO", Content: metadata("lib", "1.0", "")}
	fill := func() {
		mustUpload(t, s, "lib-1.0.tar.gz", sdist(t, "lib-1.0", info))
		for _, v := range []string{"1.0", "2.0"} {
			mustUpload(t, s, wheelName("lib", v), wheel(t, "lib", v, ""))
		}
	}
	do := func(target, left string, want error) {
		t.Helper()
		if _, err := s.Do("DELETE", target, nil, nil); !errors.Is(err, want) || (err == nil) != (want == nil) {
			t.Errorf("DELETE %s: %v, want %v", target, err, want)
		}
		var files []string
		for _, k := range s.Keys() {
			files = append(files, k[strings.LastIndex(k, "/")+1:])
		}
		if got := strings.Join(files, " "); got != left {
			t.Errorf("DELETE %s leaves %s, want %s", target, got, left)
		}
	}
	fill()
	do("packages/lib/1.0/"+wheelName("lib", "1.0"), "lib-1.0.tar.gz lib-2.0-py3-none-any.whl lib-2.0-py3-none-any.whl.metadata :lib", nil)
	do("packages/lib/1.0/"+wheelName("lib", "1.0"), "lib-1.0.tar.gz lib-2.0-py3-none-any.whl lib-2.0-py3-none-any.whl.metadata :lib", formats.ErrNotFound)
	do("packages/lib/2.0", "lib-1.0.tar.gz :lib", nil)
	do("packages/lib/1.0/lib-1.0.tar.gz", "", nil)
	fill()
	do("packages/lib/2.0", "lib-1.0-py3-none-any.whl lib-1.0-py3-none-any.whl.metadata lib-1.0.tar.gz :lib", nil)
}

func attestation(t testing.TB, name, sum string) string {
	t.Helper()
	st := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":%q,"digest":{"sha256":%q}}],"predicateType":"https://example.com/attestations/publish/v1"}`, name, sum)
	return fmt.Sprintf(`{"version":1,"verification_material":{"certificate":"AA=="},"envelope":{"statement":%q,"signature":"AAAA"}}`, base64.StdEncoding.EncodeToString([]byte(st)))
}

func TestAttestations(t *testing.T) {
	s := formattest.NewStore(t, format())
	name, body := wheelName("lib", "1.0"), wheel(t, "lib", "1.0", "")
	if err := upload(t, s, name, body, "attestations=["+attestation(t, name, sha("other"))+"]"); !errors.Is(err, formats.ErrBadRequest) {
		t.Errorf("an attestation about other bytes: %v", err)
	}
	mustUpload(t, s, name, body, "attestations=["+attestation(t, name, sha(body))+"]")
	const path = "integrity/lib/1.0/lib-1.0-py3-none-any.whl/provenance"
	var p struct {
		Version int
		Bundles []struct {
			Publisher    map[string]string
			Attestations []json.RawMessage
		} `json:"attestation_bundles"`
	}
	a, err := s.Do("GET", path, nil, nil)
	if err == nil {
		err = json.Unmarshal(a.Body, &p)
	}
	if err != nil || p.Version != 1 || len(p.Bundles) != 1 || string(p.Bundles[0].Attestations[0]) != attestation(t, name, sha(body)) || a.Header.Get("Content-Type") != "application/vnd.pypi.integrity.v1+json" {
		t.Errorf("provenance %+v, %v", p, err)
	}
	for _, form := range []string{"text/html", simpleJSON} {
		if page := get(t, s, "simple/lib/", "Accept", form); !strings.Contains(page, `"`+formattest.Base+path+`"`) {
			t.Errorf("page without provenance:\n%s", page)
		}
	}
}

func TestProjectJSON(t *testing.T) {
	s := formattest.NewStore(t, format())
	mustUpload(t, s, wheelName("lib", "1.0"), wheel(t, "lib", "1.0", "Requires-Dist: dep>1\nProject-URL: Home, https://example.com/\n"))
	mustUpload(t, s, wheelName("lib", "2.0rc1"), wheel(t, "lib", "2.0rc1", ""))
	var got struct {
		Info struct {
			Name, Version string
			RequiresDist  []string          `json:"requires_dist"`
			ProjectURLs   map[string]string `json:"project_urls"`
		}
		Releases map[string][]map[string]any
		URLs     []map[string]any
	}
	if err := json.Unmarshal([]byte(get(t, s, "pypi/LIB/json")), &got); err != nil {
		t.Fatal(err)
	}
	if got.Info.Version != "1.0" || !slices.Equal(got.Info.RequiresDist, []string{"dep>1"}) || got.Info.ProjectURLs["Home"] != "https://example.com/" ||
		len(got.Releases) != 2 || got.URLs[0]["packagetype"] != "bdist_wheel" || got.URLs[0]["url"] != formattest.Base+"packages/lib/1.0/lib-1.0-py3-none-any.whl" {
		t.Errorf("got %+v", got)
	}
	if one := get(t, s, "pypi/lib/2.0.rc1/json"); !strings.Contains(one, `"version":"2.0rc1"`) || strings.Contains(one, `"releases"`) {
		t.Errorf("got %s", one)
	}
	if got := get(t, s, "pypi/lib/9/json"); !strings.Contains(got, "not found") {
		t.Errorf("got %s", got)
	}
}

func TestFail(t *testing.T) {
	for _, tc := range []struct {
		method         string
		status, answer int
		body           string
	}{
		{"POST", 409, 400, "File already exists: it is there\n"}, {"POST", 400, 400, "it is there\n"}, {"POST", 403, 403, "it is there\n"}, {"GET", 404, 0, ""},
	} {
		w := httptest.NewRecorder()
		w.Code = 0
		format().Fail(w, httptest.NewRequest(tc.method, "/", nil), tc.status, "it is there")
		if w.Code != tc.answer || w.Body.String() != tc.body {
			t.Errorf("%s %d: %d %q", tc.method, tc.status, w.Code, w.Body)
		}
	}
}

func FuzzUpload(f *testing.F) {
	header, body := form(f, wheelName("lib", "1.0"), wheel(f, "lib", "1.0", ""))
	f.Add(header.Get("Content-Type"), body)
	header, body = form(f, "lib-1.0.tar.gz", sdist(f, "lib-1.0", formattest.Entry{Name: "PKG-INFO", Content: metadata("lib", "1.0", "")}), "name=lib", `attestations=[{"version":1}]`)
	f.Add(header.Get("Content-Type"), body)
	f.Fuzz(func(t *testing.T, contentType string, body []byte) {
		s := formattest.NewStore(t, format())
		_, err := s.Do("POST", "", http.Header{"Content-Type": {contentType}}, body)
		if err != nil && !errors.Is(err, formats.ErrBadRequest) && !errors.Is(err, formats.ErrTooLarge) {
			t.Error(err)
		}
		if n := len(s.Keys()); err == nil && n < 2 || err != nil && n != 0 {
			t.Errorf("%v, stored %q", err, s.Keys())
		}
	})
}

// A version is yanked and removed whichever way it is spelled; what is published
// after it was removed is not yanked, whether it went as a whole or file by file.
func TestYankedVersionRemoved(t *testing.T) {
	s := formattest.NewStore(t, format())
	yanked := func() int { return strings.Count(get(t, s, "simple/lib/"), "data-yanked") }
	must := func(method, target string) {
		t.Helper()
		if _, err := s.Do(method, target, nil, nil); err != nil {
			t.Fatalf("%s %s: %v", method, target, err)
		}
	}
	publish := func() {
		t.Helper()
		mustUpload(t, s, wheelName("lib", "1.0"), wheel(t, "lib", "1.0", ""))
		mustUpload(t, s, "lib-1.0.0.tar.gz", sdist(t, "lib-1.0.0", formattest.Entry{Name: "PKG-INFO", Content: metadata("lib", "1.0.0", "")}))
		mustUpload(t, s, wheelName("lib", "2.0"), wheel(t, "lib", "2.0", ""))
	}
	publish()
	must("POST", "packages/lib/1/yank")
	if n := yanked(); n != 2 {
		t.Errorf("%d files are yanked, want those of 1.0 and 1.0.0", n)
	}
	must("POST", "packages/lib/1.0.0.0/unyank")
	if n := yanked(); n != 0 {
		t.Errorf("%d files are yanked still", n)
	}
	must("POST", "packages/lib/1.0/yank")
	must("DELETE", "packages/lib/1.0/"+wheelName("lib", "1.0"))
	if n := yanked(); n != 1 {
		t.Errorf("%d files are yanked, want the one that is left", n)
	}
	must("DELETE", "packages/lib/1.0.0/lib-1.0.0.tar.gz")
	publish()
	if n := yanked(); n != 0 {
		t.Errorf("%d files are yanked that came after the yanked ones were removed", n)
	}
	must("POST", "packages/lib/1.0/yank")
	must("DELETE", "packages/lib/1")
	if html := get(t, s, "simple/lib/"); strings.Contains(html, "lib-1.0") || !strings.Contains(html, "lib-2.0") {
		t.Errorf("after 1 was removed the page is\n%s", html)
	}
	publish()
	if n := yanked(); n != 0 {
		t.Errorf("%d files are yanked that came after the version was removed", n)
	}
}
