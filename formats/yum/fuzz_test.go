package yum_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"granary/formats"
	"granary/formats/formattest"
)

// Whatever an upstream's documents are, they are records in order, or the
// upstream's fault.
func FuzzParse(f *testing.F) {
	sum := strings.Repeat("ab", 32)
	primary := `<metadata packages="1"><package type="rpm"><name>a</name><arch>noarch</arch><version epoch="0" ver="1" rel="1"/><checksum type="sha256" pkgid="YES">` + sum +
		`</checksum><location href="a.rpm"/><format><rpm:provides xmlns:rpm="x"><rpm:entry name="a" flags="EQ" epoch="0" ver="1"/></rpm:provides><file>/etc/a</file></format></package></metadata>`
	f.Add(primary, `<filelists><package pkgid="`+sum+`"><file type="dir">/etc</file></package></filelists>`,
		`<otherdata><package pkgid="`+sum+`"><changelog author="a" date="1">x</changelog></package></otherdata>`, publishedExtra("updates"), uint8(2))
	f.Add(primary, "", "<otherdata/>", publishedExtra("comps"), uint8(0))
	f.Add(primary, "<filelists", "", "document: modulemd\ndata:\n  name: a\n  stream: 1\n", uint8(1))
	f.Add("<metadata><package/></metadata>", "", "", "---\n...\n&a [*a]\n", uint8(1))
	f.Fuzz(func(t *testing.T, primary, filelists, other, extra string, kind uint8) {
		files := map[string]string{}
		var entry strings.Builder
		add := func(kind, text string) {
			name := "repodata/" + kind
			files[name] = text
			fmt.Fprintf(&entry, `<data type=%q><checksum type="sha256">%s</checksum><location href=%q/></data>`, kind, sha256Of([]byte(text)), name)
		}
		add("primary", primary)
		add("filelists", filelists)
		add("other", other)
		add([]string{"group", "modules", "updateinfo"}[kind%3], extra)
		files["repodata/repomd.xml"] = "<repomd>" + entry.String() + "</repomd>"
		last := ""
		for rec, err := range format().Parse(t.Context(), "repodata", &formattest.Source{Files: files}) {
			if err != nil {
				if !errors.Is(err, formats.ErrUpstream) {
					t.Errorf("%v", err)
				}
				return
			}
			if rec.Name <= last || rec.Scope != "repodata" || formats.CheckPath(rec.Key()) != nil {
				t.Errorf("%q behind %q", rec.Key(), last)
			}
			last = rec.Name
		}
	})
}

func publishedExtra(root string) string {
	return "<" + root + `><group><id>g</id></group><update type="security"><id>EX-1</id></update></` + root + ">"
}

func FuzzMirrors(f *testing.F) {
	f.Add([]byte("# x\nhttps://mirror.example.com/a\nrsync://x\n"))
	f.Add([]byte(`<metalink><files><file name="repomd.xml"><verification><hash type="sha256">00</hash></verification><resources><url>http://example.com/repodata/repomd.xml</url></resources></file></files></metalink>`))
	f.Add([]byte("<"))
	f.Fuzz(func(t *testing.T, b []byte) {
		bases, _, err := format().Mirrors(b)
		if err != nil && !errors.Is(err, formats.ErrUpstream) {
			t.Errorf("%v", err)
		}
		for _, base := range bases {
			if !strings.HasPrefix(strings.ToLower(base), "http") {
				t.Errorf("a mirror %q", base)
			}
		}
	})
}
