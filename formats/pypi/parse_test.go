package pypi_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"granary/digest"
	"granary/formats"
	"granary/formats/formattest"
)

// parsed renders the records of an upstream's page one on a line.
func parsed(t testing.TB, scope, page string) (string, error) {
	t.Helper()
	src := &formattest.Source{Files: map[string]string{format().Entry(scope): page}}
	var out []string
	last := ""
	for rec, err := range format().Parse(t.Context(), scope, src) {
		if err != nil {
			return strings.Join(out, "\n"), err
		}
		if rec.Name <= last {
			t.Errorf("%q after %q", rec.Name, last)
		}
		if err := formats.CheckPath(rec.Key()); err != nil {
			t.Errorf("record: %v", err)
		}
		last = rec.Name
		out = append(out, fmt.Sprintf("%s %s %.8s %s", rec.Name, rec.URL, rec.Sums.Hex(digest.SHA256), rec.Meta))
	}
	return strings.Join(out, "\n"), nil
}

const jsonPage = `{"meta":{"api-version":"1.4","tracks":["https://example.com/t"]},"name":"lib","project-status":{"status":"archived","reason":"old"},
"versions":["1.0"],"files":[
{"filename":"lib-1.0-py3-none-any.whl","url":"https://files.example.com/a/lib-1.0-py3-none-any.whl?sig=1","hashes":{"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
 "requires-python":">=3","yanked":"bad","core-metadata":{"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},"size":7,"upload-time":"2024-01-02T03:04:05.678Z","provenance":"https://example.com/p"},
{"filename":"lib-1.0.tar.gz","url":"../../x/lib-1.0.tar.gz","hashes":{},"yanked":false,"gpg-sig":true},
{"filename":"lib-old.egg","url":"lib-old.egg","hashes":{"md5":"zz"}},
{"filename":"../evil","url":"x","hashes":{}},{"filename":"lib-1.0.tar.gz.metadata","url":"x","hashes":{}}]}`

const htmlPage = `<!DOCTYPE html><html><head><base href="https://files.example.com/b/"></head><body>
<a href="lib-1.0-py3-none-any.whl#sha256=e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" data-requires-python="&gt;=3" data-yanked data-core-metadata="true" DATA-GPG-SIG="false">lib-1.0-py3-none-any.whl</a>
<A href='/x/lib%2B-1.0+l.tar.gz#md5=d41d8cd98f00b204e9800998ecf8427e'>x</A><a>nothing</a><a href="::">bad</a></body></html>`

func TestParse(t *testing.T) {
	got, err := parsed(t, "packages/lib", jsonPage)
	want := `-/lib-old.egg lib-old.egg  {"version":""}
1.0/lib-1.0-py3-none-any.whl https://files.example.com/a/lib-1.0-py3-none-any.whl?sig=1 e3b0c442 {"version":"1.0","requires_python":"\u003e=3","yanked":"bad","metadata":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","provenance":true,"uploaded":"2024-01-02T03:04:05.678Z","size":7,"kind":"bdist_wheel","python":"py3"}
1.0/lib-1.0-py3-none-any.whl.metadata https://files.example.com/a/lib-1.0-py3-none-any.whl.metadata?sig=1 e3b0c442 
1.0/lib-1.0-py3-none-any.whl.provenance https://example.com/p  
1.0/lib-1.0.tar.gz ../../x/lib-1.0.tar.gz  {"version":"1.0","signed":true,"kind":"sdist","python":"source"}
1.0/lib-1.0.tar.gz.asc ../../x/lib-1.0.tar.gz.asc  
:project   {"status":"archived","reason":"old","tracks":["https://example.com/t"]}`
	if err != nil || got != want {
		t.Errorf("JSON: %v\n got %s\nwant %s", err, got, want)
	}
	got, err = parsed(t, "packages/lib", htmlPage)
	want = `-/lib+-1.0+l.tar.gz https://files.example.com/x/lib%2B-1.0+l.tar.gz  {"version":""}
1.0/lib-1.0-py3-none-any.whl https://files.example.com/b/lib-1.0-py3-none-any.whl e3b0c442 {"version":"1.0","requires_python":"\u003e=3","yanked":"","metadata":"true","signed":false,"kind":"bdist_wheel","python":"py3"}
1.0/lib-1.0-py3-none-any.whl.metadata https://files.example.com/b/lib-1.0-py3-none-any.whl.metadata  `
	if err != nil || got != want {
		t.Errorf("HTML: %v\n got %s\nwant %s", err, got, want)
	}
	for _, page := range []string{`<a href="b/">B.b</a><a href="a/">a</a><a href="x">-</a>`, `{"projects":[{"name":"B_b"},{"name":"a"},{"name":""}]}`} {
		if got, err = parsed(t, "simple", page); err != nil || got != ":a   \n:b-b   " {
			t.Errorf("list: %q, %v", got, err)
		}
	}
}

func TestParseRefused(t *testing.T) {
	for _, page := range []string{`{"files":7}`, `{"files":[`, "<a href='x'>cut"} {
		if _, err := parsed(t, "packages/lib", page); !errors.Is(err, formats.ErrUpstream) {
			t.Errorf("%q: %v", page, err)
		}
	}
	src := &formattest.Source{Err: formats.ErrUpstreamTimeout}
	for _, err := range format().Parse(t.Context(), "packages/lib", src) {
		if !errors.Is(err, formats.ErrUpstreamTimeout) {
			t.Errorf("got %v", err)
		}
	}
}

// What an upstream says is shown again as text, never as markup.
func TestUpstreamInjection(t *testing.T) {
	page := `{"files":[{"filename":"lib-1.0.tar.gz","url":"javascript:alert(1)","hashes":{},"requires-python":"\"><script>","yanked":"<b>\n"}],"project-status":{"status":"\"><i>"}}`
	src := &formattest.Source{Files: map[string]string{"lib/": page}}
	op, _ := format().Route(formattest.Request(t, "GET", "simple/lib/", nil))
	doc, err := formattest.Render(t.Context(), format(), op, format().Parse(t.Context(), "packages/lib", src))
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script", "<b>", "<i>", "javascript:"} {
		if strings.Contains(string(doc.Body), bad) {
			t.Errorf("page with %q:\n%s", bad, doc.Body)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(jsonPage)
	f.Add(htmlPage)
	f.Fuzz(func(t *testing.T, page string) {
		for _, scope := range []string{"packages/lib", "simple"} {
			if _, err := parsed(t, scope, page); err != nil && !errors.Is(err, formats.ErrUpstream) {
				t.Error(err)
			}
		}
	})
}

// What a page says of a file beside its name, place and digests may be of any
// kind without spoiling the page.
func TestParseOddMembers(t *testing.T) {
	for member, want := range map[string]string{
		`"upload-time":"2020-01-02T03:04:05"`:       `"uploaded":"2020-01-02T03:04:05Z",`,
		`"upload-time":"2020-01-02 03:04:05+02:00"`: `"uploaded":"2020-01-02T01:04:05Z",`,
		`"upload-time":"2020-01-02"`:                `"uploaded":"2020-01-02T00:00:00Z",`,
		`"upload-time":"yesterday"`:                 ``,
		`"upload-time":1577934245`:                  ``,
		`"upload-time":null,"size":"7"`:             ``,
		`"size":7.5`:                                ``,
		`"size":7`:                                  `"size":7,`,
		`"provenance":{"x":1}`:                      ``,
		`"gpg-sig":"true"`:                          ``,
		`"requires-python":3`:                       ``,
		`"core-metadata":7,"yanked":7`:              ``,
	} {
		got, err := parsed(t, "packages/lib", `{"files":[{"filename":"lib-1.0.tar.gz","url":"x","hashes":null,`+member+`}]}`)
		if full := `1.0/lib-1.0.tar.gz x  {"version":"1.0",` + want + `"kind":"sdist","python":"source"}`; err != nil || got != full {
			t.Errorf("%s: %v\n got %s\nwant %s", member, err, got, full)
		}
	}
}
