package yum_test

import (
	"database/sql"
	"encoding/xml"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"granary/formats"
	"granary/formats/formattest"
)

const comps = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE comps PUBLIC "-//Red Hat, Inc.//DTD Comps info//EN" "comps.dtd">
<comps>
  <group><id>core</id><name>Core</name><name xml:lang="de">Kern &amp; mehr</name><packagelist><packagereq type="mandatory">hello</packagereq></packagelist></group>
  <environment><id>minimal</id><grouplist><groupid>core</groupid></grouplist></environment>
</comps>
`

const updates = `<updates>
<update type="security" from="a@example.com"><id>EX-2026:1</id><title>first</title></update>
<update type="bugfix"><id>EX-2026:2</id><title>second</title></update>
</updates>
`

const modules = `---
document: modulemd
version: 2
data:
  name: thing
  stream: "1.0"
  version: 1
  context: abc
  arch: x86_64
  summary: A thing
...
---
document: modulemd-defaults
version: 1
data:
  module: thing
  stream: "1.0"
...
---
document: modulemd-obsoletes
version: 1
data: {modified: 2026-01-01T00:00Z, module: thing, stream: "1.0", message: unsupported}
---
document: modulemd-obsoletes
version: 1
data: {modified: 2026-02-01T00:00Z, module: thing, stream: "1.0", message: supported, reset: true}
`

func TestExtras(t *testing.T) {
	s := formattest.NewStore(t, format())
	s.Set.RepodataDepth = 1
	for target, body := range map[string]string{"el9/comps.xml": comps, "el9/repodata/updateinfo.xml": updates, "el9/modules.yaml": modules} {
		if err := send(t, s, "PUT", target, nil, body); err != nil {
			t.Fatalf("%s: %v", target, err)
		}
	}
	put(t, s, "el9/hello.rpm", hello(1, "x"))
	docs := render(t, s, "el9/repodata")
	for path, want := range map[string][]string{
		"comps.xml.gz":      {`<name xml:lang="de">Kern &amp; mehr</name>`, "<environment><id>minimal</id>"},
		"updateinfo.xml.gz": {`<update type="security" from="a@example.com"><id>EX-2026:1</id>`, "EX-2026:2"},
		"modules.yaml.gz":   {"---\ndocument: modulemd\n", "  stream: \"1.0\"\n", "document: modulemd-defaults", "message: unsupported", "message: supported"},
	} {
		text := unzipped(t, docs[path].Body)
		for _, w := range want {
			if !strings.Contains(text, w) {
				t.Errorf("%s lacks %s:\n%s", path, w, text)
			}
		}
	}
	// A module has one default, whatever its stream: a group takes the first.
	if keys := strings.Join(s.Keys(), " "); !strings.Contains(keys+" ", "el9/repodata/modules/:modulemd-defaults:thing ") {
		t.Errorf("parts are %s", keys)
	}
	entry := string(docs["repomd.xml"].Body)
	for _, kind := range []string{"primary", "filelists", "other", "group", "group_gz", "updateinfo", "modules"} {
		if !strings.Contains(entry, `<data type="`+kind+`">`) {
			t.Errorf("repomd.xml does not list %s", kind)
		}
	}
	// A new document takes the place of all of the old one.
	one := strings.Replace(updates, "EX-2026:2", "EX-2026:3", 1)
	if err := send(t, s, "PUT", "el9/updateinfo.xml", nil, one); err != nil {
		t.Fatal(err)
	}
	if text := unzipped(t, render(t, s, "el9/repodata")["updateinfo.xml.gz"].Body); strings.Contains(text, "EX-2026:2") || !strings.Contains(text, "EX-2026:3") {
		t.Errorf("replaced: %s", text)
	}
	if err := send(t, s, "DELETE", "el9/updateinfo.xml", nil, ""); err != nil {
		t.Fatal(err)
	}
	if docs := render(t, s, "el9/repodata"); docs["updateinfo.xml.gz"] != nil || docs["comps.xml"] == nil {
		t.Error("deleted one and not the other")
	}
	if err := send(t, s, "DELETE", "el9/updateinfo.xml", nil, ""); !errors.Is(err, formats.ErrNotFound) {
		t.Errorf("deleted twice: %v", err)
	}
}

func TestBadExtras(t *testing.T) {
	var bomb strings.Builder
	bomb.WriteString(`<!DOCTYPE x [<!ENTITY a0 "x">`)
	for i := range 20 {
		bomb.WriteString(`<!ENTITY a` + string(rune('1'+i)) + ` "&a0;&a0;&a0;">`)
	}
	bomb.WriteString("]><updates><update><id>&a9;</id></update></updates>")
	for name, c := range map[string][2]string{
		"bomb":        {"updateinfo.xml", bomb.String()},
		"other root":  {"updateinfo.xml", comps},
		"cut":         {"comps.xml", comps[:len(comps)-20]},
		"no id":       {"updateinfo.xml", "<updates><update/></updates>"},
		"nothing":     {"comps.xml", ""},
		"no gzip":     {"comps.xml.gz", comps},
		"no module":   {"modules.yaml", "a: b\n"},
		"no yaml":     {"modules.yaml", "a: [\n"},
		"yaml bomb":   {"modules.yaml", yamlBomb},
		"long id":     {"updateinfo.xml", "<updates><update><id>" + strings.Repeat("x", 400) + "</id></update></updates>"},
		"dots for id": {"updateinfo.xml", "<updates><update><id>a/../../b</id></update></updates>"},
	} {
		s := formattest.NewStore(t, format())
		err := send(t, s, "PUT", c[0], nil, c[1])
		if name == "dots for id" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if !errors.Is(err, formats.ErrBadRequest) || len(s.Keys()) > 0 {
			t.Errorf("%s: %v, want ErrBadRequest", name, err)
		}
	}
}

const yamlBomb = `a: &a [x,x,x,x,x,x,x,x,x,x]
b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]
c: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]
d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]
e: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]
document: *e
data: {name: *e}
`

// A signature that fails fails the publication; all that repomd.xml lists is
// there under a name with its digest.
func TestRepomd(t *testing.T) {
	s := formattest.NewStore(t, format())
	put(t, s, "hello.rpm", hello(1, "x"))
	docs := render(t, s, "repodata")
	var doc struct {
		Data []struct {
			Location struct {
				Href string `xml:"href,attr"`
			} `xml:"location"`
			Checksum     string `xml:"checksum"`
			OpenChecksum string `xml:"open-checksum"`
			Size         int    `xml:"size"`
			OpenSize     int    `xml:"open-size"`
		} `xml:"data"`
	}
	if err := xml.Unmarshal(docs["repomd.xml"].Body, &doc); err != nil || len(doc.Data) != 3 {
		t.Fatalf("%v\n%s", err, docs["repomd.xml"].Body)
	}
	for _, d := range doc.Data {
		name := strings.TrimPrefix(d.Location.Href, "repodata/")
		found := docs[name]
		if found == nil || !strings.HasPrefix(name, d.Checksum+"-") || sha256Of(found.Body) != d.Checksum || len(found.Body) != d.Size {
			t.Errorf("%s is not what repomd.xml lists", name)
			continue
		}
		if text := unzipped(t, found.Body); sha256Of([]byte(text)) != d.OpenChecksum || len(text) != d.OpenSize || !strings.Contains(text, ` packages="1"`) {
			t.Errorf("%s is not what repomd.xml lists when it is unpacked", name)
		}
	}
	if want := "signature of\n" + string(docs["repomd.xml"].Body); string(docs["repomd.xml.asc"].Body) != want || string(docs["repomd.xml.key"].Body) != "key\n" {
		t.Error("the signature is of another text")
	}
	for _, keys := range []formats.Signer{nil, signer{errors.New("boom")}} {
		pub := &formattest.Pub{Keys: keys}
		if err := format().Render(t.Context(), "repodata", s.Records(t.Context(), "repodata"), pub); err == nil {
			t.Error("metadata was published unsigned")
		}
	}
}

// Databases are made where the settings ask for them, of what the documents say.
func TestSQLite(t *testing.T) {
	s := formattest.NewStore(t, format())
	s.Set.SQLite = true
	put(t, s, "thing.rpm", rich())
	put(t, s, "thing.src.rpm", rpm{name: "thing", version: "1", release: "1", arch: "x86_64", source: true, payload: "x", more: func(h *rpmHeader) {
		h.texts(1117, "thing.spec")
		h.texts(1118, "")
		h.int32s(1116, 0)
	}})
	docs := render(t, s, "repodata")
	entry := string(docs["repomd.xml"].Body)
	for kind, want := range map[string]string{
		"primary":   "SELECT group_concat(p.name || p.version || ' ' || r.name || ' ' || ifnull(r.flags, '-') || ' ' || r.pre, '|') FROM packages p JOIN requires r USING (pkgKey) WHERE r.name IN ('baz', '/bin/sh') ORDER BY r.name",
		"filelists": "SELECT group_concat(dirname || ':' || filenames || ':' || filetypes, '|') FROM filelist WHERE dirname IN ('/usr/share', '.')",
		"other":     "SELECT group_concat(author || date, '|') FROM changelog",
	} {
		if !strings.Contains(entry, `<data type="`+kind+`_db">`) || !strings.Contains(entry, "<database_version>10</database_version>") {
			t.Errorf("repomd.xml does not list the %s database", kind)
		}
		path := filepath.Join(t.TempDir(), "db")
		if err := os.WriteFile(path, []byte(unzipped(t, docs[kind+".sqlite.gz"].Body)), 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := sql.Open("sqlite", path)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		var got, checksum string
		if err := db.QueryRowContext(t.Context(), "SELECT checksum FROM db_info WHERE dbversion = 10").Scan(&checksum); err != nil || checksum != sha256Of(docs[kind+".xml.gz"].Body) {
			t.Errorf("%s: the database is of document %s, %v", kind, checksum, err)
		}
		if err := db.QueryRowContext(t.Context(), want).Scan(&got); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		want := map[string]string{
			"primary":   "thing2.0~rc1 /bin/sh - TRUE|thing2.0~rc1 baz GE FALSE",
			"filelists": ".:thing.spec:f|/usr/share:doc/odd\n<name>:df",
			"other":     "A <a@example.com> - 1.01764000000|B <b@example.com>1764100000|B <b@example.com> - 7:2.01764100001",
		}[kind]
		if got != want {
			t.Errorf("%s: %q, want %q", kind, got, want)
		}
	}
}

// Documents are compressed with zstd where the settings ask for it.
func TestZstd(t *testing.T) {
	s := formattest.NewStore(t, format())
	s.Set.Zstd = true
	put(t, s, "hello.rpm", hello(1, "x"))
	docs := render(t, s, "repodata")
	z, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	text, err := z.DecodeAll(docs["primary.xml.zst"].Body, nil)
	if err != nil || !strings.Contains(string(text), "<name>hello</name>") || docs["primary.xml.gz"] != nil {
		t.Errorf("%s %v", text, err)
	}
}
