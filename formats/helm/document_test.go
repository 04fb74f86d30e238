package helm_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"granary/digest"
	"granary/formats"
	"granary/formats/formattest"
	"granary/formats/helm"
)

func parse(t testing.TB, doc string) ([]formats.Record, error) {
	t.Helper()
	var recs []formats.Record
	var last error
	src := &formattest.Source{Files: map[string]string{"index.yaml": doc}}
	for r, err := range helm.New().Parse(t.Context(), "", src) {
		if last != nil {
			t.Error("Parse goes on after an error")
		}
		if last = err; err == nil {
			recs = append(recs, r)
		}
	}
	return recs, last
}

func render(t testing.TB, recs []formats.Record) []byte {
	t.Helper()
	op := formats.Op{Kind: formats.Doc, Path: "index.yaml", Missing: true}
	doc, err := formattest.Render(t.Context(), helm.New(), op, formattest.Seq(recs...))
	if err != nil {
		t.Fatal(err)
	}
	return doc.Body
}

const sum = "aec070645fe53ee3b3763059376134f058cc337247c978add178b6ccdfb0019f"

// As Helm writes it.
const block = `apiVersion: v1
entries:
  foo:
  - annotations:
      example.com/changes: |
        - kind: added
        urls: none

        # entries:
    apiVersion: v2
    appVersion: "1.0"
    created: "2024-05-06T07:08:09.123456789Z"
    dependencies:
    - name: sub
      repository: https://charts.example.com
      version: 1.x.x
    description: 'it''s: "quoted"'
    digest: ` + sum + `
    maintainers: []
    name: foo
    urls:
    - https://other.example.com/dl/Foo.tar.gz
    - https://mirror.example.com/foo.tgz
    version: 1.0.0+b
  - apiVersion: v2
    name: foo
    urls:
    - charts/foo-0.9.0.tgz?x=1
    version: "0.9.0"
  sub:
    - version: 'v1.2'
      name: sub
      apiVersion: v1
      # a comment
      urls: # and one more
        - "oci://registry.example.com/sub:1.2"
      created: unknown
      digest: sha256:` + sum + `
generated: "2024-05-06T07:08:09Z"
serverInfo: {}
`

func TestParse(t *testing.T) {
	flow := func() string { // the same as JSON
		var v any
		if err := yaml.Unmarshal([]byte(block), &v); err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}()
	for name, doc := range map[string]string{
		"block": block, "CRLF": strings.ReplaceAll(block, "\n", "\r\n"), "no end": strings.TrimSpace(block), "after a marker": "---\n# comment\n" + block,
		"dashes indented": strings.NewReplacer("\n  - ", "\n      - ", "\n    ", "\n        ", "\n      ", "\n          ").Replace(block), "JSON": flow,
	} {
		recs, err := parse(t, doc)
		if err != nil || len(recs) != 6 {
			t.Errorf("%s: %d records, %v", name, len(recs), err)
			continue
		}
		var got strings.Builder
		for _, r := range recs {
			fmt.Fprintf(&got, "%s %s\n", r.Name, r.URL)
		}
		if want := `foo-0.9.0.tgz charts/foo-0.9.0.tgz?x=1
foo-0.9.0.tgz.prov charts/foo-0.9.0.tgz.prov?x=1
foo-1.0.0+b.tgz https://other.example.com/dl/Foo.tar.gz
foo-1.0.0+b.tgz.prov https://other.example.com/dl/Foo.tar.gz.prov
sub-v1.2.tgz oci://registry.example.com/sub:1.2
sub-v1.2.tgz.prov oci://registry.example.com/sub:1.2.prov
`; got.String() != want {
			t.Errorf("%s: got\n%swant\n%s", name, got.String(), want)
		}
		if s := recs[2].Sums.Hex(digest.SHA256); s != sum || recs[4].Sums.Hex(digest.SHA256) != sum {
			t.Errorf("%s: digest %s", name, s)
		}
		i := read(t, render(t, recs))
		if got := i.brief(); got != "foo 1.0.0+b [foo-1.0.0+b.tgz]; foo 0.9.0 [foo-0.9.0.tgz]; sub v1.2 [oci://registry.example.com/sub:1.2]; " {
			t.Errorf("%s: %s", name, got)
		}
		v := i.Entries["foo"][0]
		for k, want := range map[string]any{
			"annotations": map[string]any{"example.com/changes": "- kind: added\nurls: none\n\n# entries:\n"}, "created": "2024-05-06T07:08:09.123456789Z",
			"digest": sum, "description": `it's: "quoted"`, "appVersion": "1.0",
			"dependencies": []any{map[string]any{"name": "sub", "repository": "https://charts.example.com", "version": "1.x.x"}},
		} {
			if fmt.Sprintf("%#v", v[k]) != fmt.Sprintf("%#v", want) {
				t.Errorf("%s: %s is %#v", name, k, v[k])
			}
		}
	}
}

// Versions that would spoil the index are not in it; the others are.
func TestUnsoundVersions(t *testing.T) {
	const good = "  ok:\n  - apiVersion: v1\n    name: ok\n    urls: [ok.tgz]\n    version: 1.0.0\n"
	blockGood := strings.Replace(good, " [ok.tgz]", "\n    - ok.tgz", 1)
	for name, bad := range map[string]string{
		"unclosed quote":  "  foo:\n  - description: \"x\n    name: foo\n    urls:\n    - x.tgz\n    version: 1.0.0\n",
		"unclosed list":   "  foo:\n  - keywords: [a\n    name: foo\n    urls:\n    - x.tgz\n    version: 1.0.0\n",
		"alias":           "  foo:\n  - description: *a\n    name: foo\n    urls:\n    - x.tgz\n    version: 1.0.0\n",
		"twice":           "  foo:\n  - name: foo\n    icon: a\n    icon: b\n    urls:\n    - x.tgz\n    version: 1.0.0\n",
		"name is bad":     "  foo:\n  - name: ../foo\n    urls:\n    - x.tgz\n    version: 1.0.0\n",
		"no version":      "  foo:\n  - name: foo\n    urls:\n    - x.tgz\n",
		"bad version":     "  foo:\n  - name: foo\n    urls:\n    - x.tgz\n    version: latest\n",
		"version a float": "  foo:\n  - name: foo\n    urls:\n    - x.tgz\n    version: 1.10\n",
		"no urls":         "  foo:\n  - name: foo\n    version: 1.0.0\n",
		"empty urls":      "  foo:\n  - name: foo\n    urls: []\n    version: 1.0.0\n",
		"no name":         "  foo:\n  - urls:\n    - x.tgz\n    version: 1.0.0\n",
		"huge":            "  foo:\n  - description: " + strings.Repeat("x", 1<<18) + "\n    name: foo\n    urls:\n    - x.tgz\n    version: 1.0.0\n",
	} {
		recs, err := parse(t, "apiVersion: v1\nentries:\n"+bad+blockGood)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		i := read(t, render(t, recs))
		if len(i.Entries["foo"]) > 0 || len(i.Entries["ok"]) != 1 {
			t.Errorf("%s: %v", name, i.Entries)
		}
	}
	// The same in flow style, which is parsed as a whole.
	if recs, err := parse(t, "entries:\n"+good); err != nil || len(recs) != 2 {
		t.Errorf("flow style: %v %v", recs, err)
	}
}

func TestParseRefused(t *testing.T) {
	for name, doc := range map[string]string{
		"HTML": "<!DOCTYPE html><title>Sign in</title>", "empty": "", "text": "hello", "no entries": "apiVersion: v1\n", "a list": "- a\n", "broken": "entries: {a: [",
		"keys twice": "entries:\n  foo:\n  - name: foo\n    \"url\\x73\":\n    - evil.tgz\n    urls:\n    - x.tgz\n    version: 1.0.0\n",
		"a bomb":     "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e]\n",
	} {
		if recs, err := parse(t, doc); !errors.Is(err, formats.ErrUpstream) || len(recs) > 0 {
			t.Errorf("%s: %d records, %v", name, len(recs), err)
		}
	}
	for _, doc := range []string{"apiVersion: v1\nentries: {}\n", "entries:\n", "entries: null\n", "entries:\ngenerated: x\n", `{"entries":{}}`} {
		if recs, err := parse(t, doc); err != nil || len(recs) > 0 {
			t.Errorf("%q: %d records, %v", doc, len(recs), err)
		}
	}
	for _, err := range (helm.Format{}).Parse(t.Context(), "", &formattest.Source{}) {
		if !errors.Is(err, formats.ErrNotFound) {
			t.Errorf("no index: %v", err)
		}
	}
	for range (helm.Format{}).Parse(t.Context(), "other", &formattest.Source{}) {
		t.Error("another scope has records")
	}
	broken := func(yield func(formats.Record, error) bool) { yield(formats.Record{}, formats.ErrUpstream) }
	if err := helm.New().Render(t.Context(), "", broken, &formattest.Pub{}); !errors.Is(err, formats.ErrUpstream) {
		t.Errorf("a failing member: %v", err)
	}
	damaged := formattest.Seq(formats.Record{Name: "foo-1.0.0.tgz", Meta: []byte("x")})
	if err := helm.New().Render(t.Context(), "", damaged, &formattest.Pub{}); !errors.Is(err, formats.ErrCorrupt) {
		t.Errorf("a damaged record: %v", err)
	}
}

// large is an index with n versions, as Helm writes it.
func large(n int) string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nentries:\n")
	for i := range n {
		if i%50 == 0 {
			fmt.Fprintf(&b, "  chart-%04d:\n", i/50)
		}
		fmt.Fprintf(&b, "  - annotations:\n      category: Database\n      licenses: Apache-2.0\n    apiVersion: v2\n    appVersion: 15.%d.0\n    created: \"2024-05-06T07:08:09.123456789Z\"\n", i%50)
		b.WriteString("    dependencies:\n    - name: common\n      repository: oci://registry.example.com/charts\n      tags:\n      - common\n      version: 2.x.x\n    description: An object-relational database known for reliability and data integrity.\n")
		fmt.Fprintf(&b, "    digest: %064x\n    home: https://example.com\n    icon: https://example.com/assets/icons/a-rather-long-name.png\n    keywords:\n    - database\n    - sql\n    - replication\n    - cluster\n", i)
		b.WriteString("    maintainers:\n    - name: Example Incorporated. All Rights Reserved.\n      url: https://code.example.com/example/charts\n")
		fmt.Fprintf(&b, "    name: chart-%04d\n    sources:\n    - https://code.example.com/example/charts/tree/main/example/chart-%04d\n    urls:\n    - https://charts.example.com/bitname/chart-%04d-12.%d.0.tgz\n    version: 12.%d.0\n", i/50, i/50, i/50, i%50, i%50)
	}
	b.WriteString("generated: \"2024-05-06T07:08:09Z\"\n")
	return b.String()
}

func TestLargeIndex(t *testing.T) {
	doc := large(5000)
	recs, err := parse(t, doc)
	if err != nil || len(recs) != 10_000 {
		t.Fatalf("%d records, %v", len(recs), err)
	}
	i := read(t, render(t, recs))
	if len(i.Entries) != 100 || len(i.Entries["chart-0099"]) != 50 || fmt.Sprint(i.Entries["chart-0099"][0]["version"]) != "12.49.0" {
		t.Errorf("%d charts", len(i.Entries))
	}
}

func BenchmarkParse20MB(b *testing.B) {
	doc := large(18_000)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if recs, err := parse(b, doc); err != nil || len(recs) != 36_000 {
			b.Fatal(len(recs), err)
		}
	}
}

func BenchmarkRender10000(b *testing.B) {
	var recs []formats.Record
	s := formattest.NewStore(b, helm.New())
	a := do(b, s, "POST", "api/charts", pack(b, "chart", "1.0.0", "description: "+strings.Repeat("words ", 100)+"\n"))
	for i := range 10_000 {
		r := a.Records[0]
		version := fmt.Sprintf("1.%05d.0", i)
		r.Name = "chart-" + version + ".tgz"
		r.Meta = []byte(strings.ReplaceAll(strings.ReplaceAll(string(r.Meta), "1.0.0", version), "1.0", "1."))
		recs = append(recs, r)
	}
	b.ReportAllocs()
	for b.Loop() {
		b.SetBytes(int64(len(render(b, recs))))
	}
}

func BenchmarkRenderForeign(b *testing.B) {
	recs, err := parse(b, large(18_000))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		b.SetBytes(int64(len(render(b, recs))))
	}
}

func FuzzParseIndex(f *testing.F) {
	f.Add(block)
	f.Add("entries:\n  a:\n  - name: a\n    version: 1.0.0\n    urls: [x]\n")
	f.Add(`{"entries":{"a":[{"name":"a","version":"1.0.0","urls":["x"]}]}}`)
	f.Fuzz(func(t *testing.T, doc string) {
		recs, err := parse(t, doc)
		if err != nil {
			if !errors.Is(err, formats.ErrUpstream) {
				t.Error(err)
			}
			return
		}
		for i, r := range recs {
			if i > 0 && r.Name <= recs[i-1].Name || formats.CheckPath(r.Name) != nil {
				t.Errorf("record %q", r.Name)
			}
		}
		// Whatever an upstream says, the index can be read, and names only us.
		for name, versions := range read(t, render(t, recs)).Entries {
			for _, v := range versions {
				u, _ := v["urls"].([]any)
				if v["name"] != name || len(u) != 1 || !strings.HasPrefix(fmt.Sprint(u[0]), name+"-") && !strings.HasPrefix(fmt.Sprint(u[0]), "oci://") {
					t.Errorf("%s: %v", name, v)
				}
			}
		}
	})
}

func FuzzUpload(f *testing.F) {
	f.Add(pack(f, "foo", "1.0.0", "annotations: {a: b}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := formattest.NewStore(t, helm.New())
		if _, err := s.Do("POST", "api/charts", nil, data); err != nil && !errors.Is(err, formats.ErrBadRequest) {
			t.Error(err)
		}
	})
}

func FuzzChartYAML(f *testing.F) {
	f.Add("apiVersion: v2\nname: foo\nversion: 1.0.0\ndescription: |\n  a\nannotations: {a: 1.0}\ndependencies: [{name: x, import-values: [a, {b: c}]}]\n")
	f.Fuzz(func(t *testing.T, text string) {
		s := formattest.NewStore(t, helm.New())
		chart := formattest.TarGz(t, formattest.Entry{Name: "foo/Chart.yaml", Content: text})
		if _, err := s.Do("POST", "api/charts", nil, chart); err != nil {
			if !errors.Is(err, formats.ErrBadRequest) {
				t.Error(err)
			}
			return
		}
		if i := read(t, do(t, s, "GET", "index.yaml", nil).Body); len(i.Entries) != 1 {
			t.Errorf("%d charts in the index", len(i.Entries))
		}
		do(t, s, "GET", "api/charts", nil)
	})
}

func FuzzProvenance(f *testing.F) {
	f.Add(provenance("foo-1.0.0.tgz", nil))
	f.Fuzz(func(t *testing.T, data []byte) {
		s := formattest.NewStore(t, helm.New())
		if _, err := s.Do("POST", "api/prov", nil, data); err != nil && !errors.Is(err, formats.ErrBadRequest) && !errors.Is(err, formats.ErrTooLarge) {
			t.Error(err)
		}
	})
}

func FuzzRoute(f *testing.F) {
	f.Add("GET", "charts/foo-1.0.0.tgz.prov")
	f.Add("DELETE", "api/charts/foo/1.0.0+b")
	f.Fuzz(func(t *testing.T, method, path string) {
		if formats.CheckPath(path) != nil {
			t.Skip()
		}
		op, ok := helm.New().Route(formats.Req{Method: method, Path: path})
		if ok && op.Name != "" && formats.CheckPath(op.Key()) != nil {
			t.Errorf("%s: %q", path, op.Key())
		}
	})
}
