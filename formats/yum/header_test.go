package yum_test

import (
	"bytes"
	"encoding/binary"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"

	"granary/formats"
	"granary/formats/yum"
)

// rich is a package with everything that metadata tells of.
func rich() rpm {
	return rpm{
		name: "thing", version: "2.0~rc1", release: "3.el9", arch: "x86_64", epoch: 7, payload: "payload",
		more: func(h *rpmHeader) {
			h.text(1011, "Vendor & Sons")
			h.text(1015, "A <a@example.com>")
			h.text(1020, "https://example.com/?a=1&b=2")
			h.texts(1047, "thing", "thing(x86-64)", "config(thing)")
			h.int32s(1112, 8, 8, 1<<28|8)
			h.texts(1113, "7:2.0~rc1-3.el9", "7:2.0~rc1-3.el9", "7:2.0~rc1-3.el9")
			h.texts(1049, "libc.so.6(GLIBC_2.34)(64bit)", "rpmlib(CompressedFileNames)", "/bin/sh", "(foo >= 1 if bar)", "baz", "baz", "/etc/thing.conf", "config(thing)")
			h.int32s(1048, 1<<14, 1<<24|10, 1<<10|256, 1<<25, 12, 12, 0, 1<<28|8)
			h.texts(1050, "", "3.0.4-1", "", "", "1:4.5-6", "1:4.5-6", "", "7:2.0~rc1-3.el9")
			h.texts(1054, "old")
			h.int32s(1053, 2)
			h.texts(1055, "3")
			h.texts(1090, "older", "oldest")
			h.int32s(1114, 4, 10)
			h.texts(1115, "0:2", "1-1")
			for i, kind := range []string{"recommended", "suggested", "supplemented", "enhanced"} {
				base := uint32(5046 + 3*i)
				h.texts(base, kind)
				h.texts(base+1, "1")
				h.int32s(base+2, 8)
			}
			h.texts(1117, "thing.conf", "tool", "doc", "state", "odd\n<name>")
			h.texts(1118, "/etc/", "/usr/bin/", "/usr/share/", "/var/lib/")
			h.int32s(1116, 0, 1, 2, 3, 2)
			h.int16s(1030, 0o100644, 0o100755, 0o040755, 0o100644, 0o100644)
			h.int32s(1037, 1, 0, 0, 1<<6, 0)
			h.int32s(1080, 1764100000, 1764100000, 1764000000)
			h.texts(1081, "B <b@example.com> - 7:2.0", "B <b@example.com> ", "A <a@example.com> - 1.0")
			h.texts(1082, "- new & better", "- the same day", "- old")
		},
	}
}

func TestRead(t *testing.T) {
	name, primary, files, other, err := yum.Read(bytes.NewReader(rich().build()))
	if err != nil || name != "thing-2.0~rc1-3.el9.x86_64" {
		t.Fatalf("%s: %v", name, err)
	}
	for _, want := range []string{
		`<version epoch="7" ver="2.0~rc1" rel="3.el9"/>`, "<url>https://example.com/?a=1&amp;b=2</url>", "<rpm:vendor>Vendor &amp; Sons</rpm:vendor>",
		`<rpm:sourcerpm>thing-2.0~rc1-3.el9.src.rpm</rpm:sourcerpm>`, `archive="21"`, `installed="1234"`,
		`<rpm:entry name="thing(x86-64)" flags="EQ" epoch="7" ver="2.0~rc1" rel="3.el9"/>`,
		`<rpm:entry name="libc.so.6(GLIBC_2.34)(64bit)"/>`, `<rpm:entry name="/bin/sh" pre="1"/>`, `<rpm:entry name="(foo &gt;= 1 if bar)"/>`,
		`<rpm:entry name="baz" flags="GE" epoch="1" ver="4.5" rel="6"/>`,
		"<rpm:conflicts>\n<rpm:entry name=\"old\" flags=\"LT\" epoch=\"0\" ver=\"3\"/>", `<rpm:entry name="older" flags="GT" epoch="0" ver="2"/>`,
		`<rpm:entry name="oldest" flags="LE" epoch="0" ver="1" rel="1"/>`,
		"<rpm:recommends>\n<rpm:entry name=\"recommended\" flags=\"EQ\"", "<rpm:suggests>\n<rpm:entry name=\"suggested\"",
		"<rpm:supplements>\n<rpm:entry name=\"supplemented\"", "<rpm:enhances>\n<rpm:entry name=\"enhanced\"",
		"<file>/etc/thing.conf</file>", "<file>/usr/bin/tool</file>",
	} {
		if !strings.Contains(primary, want) {
			t.Errorf("primary lacks %s:\n%s", want, primary)
		}
	}
	for _, not := range []string{"rpmlib(", "/usr/share/doc", `name="/etc/thing.conf"`} {
		if strings.Contains(primary, not) {
			t.Errorf("primary has %s", not)
		}
	}
	if n, own := strings.Count(primary, `name="baz"`), strings.Count(primary, `name="config(thing)"`); n != 1 || own != 1 {
		t.Errorf("a requirement stands there %d times, what the package provides itself %d times", n, own)
	}
	for _, want := range []string{
		`<package pkgid="00" name="thing" arch="x86_64">`, `<file type="dir">/usr/share/doc</file>`, `<file type="ghost">/var/lib/state</file>`,
		"<file>/usr/share/odd\n&lt;name&gt;</file>",
	} {
		if !strings.Contains(files, want) {
			t.Errorf("filelists lack %s:\n%s", want, files)
		}
	}
	old, then, young := strings.Index(other, "- old"), strings.Index(other, `author="B &lt;b@example.com&gt;" date="1764100000">`), strings.Index(other, `date="1764100001">- new &amp; better`)
	if old < 0 || then < old || young < then || !strings.Contains(other, `author="A &lt;a@example.com&gt; - 1.0" date="1764000000"`) {
		t.Errorf("other: %s", other)
	}
}

// Packages of format 6 carry no MD5, and their digest of the payload and its
// size elsewhere.
func TestFormat6(t *testing.T) {
	r := rich()
	r.v6 = true
	name, primary, _, _, err := yum.Read(bytes.NewReader(r.build()))
	if err != nil || name != "thing-2.0~rc1-3.el9.x86_64" || !strings.Contains(primary, `archive="21"`) {
		t.Errorf("%s: %v\n%s", name, err, primary)
	}
}

func TestSourcePackage(t *testing.T) {
	r := rpm{name: "thing", version: "1", release: "1", arch: "x86_64", source: true, payload: "x", more: func(h *rpmHeader) {
		h.texts(1117, "thing.spec")
		h.texts(1118, "")
		h.int32s(1116, 0)
	}}
	name, _, files, _, err := yum.Read(bytes.NewReader(r.build()))
	if err != nil || name != "thing-1-1.src" || !strings.Contains(files, "<file>thing.spec</file>") {
		t.Errorf("%s %s %v", name, files, err)
	}
}

// Latin-1 becomes UTF-8, and what no XML can have is left out.
func TestOldText(t *testing.T) {
	r := rpm{name: "thing", version: "1", release: "1", arch: "noarch", more: func(h *rpmHeader) {
		h.text(1015, "J\xf6rg\x01 \x0b")
	}}
	_, primary, _, _, err := yum.Read(bytes.NewReader(r.build()))
	if err != nil || !strings.Contains(primary, "<packager>Jörg </packager>") {
		t.Errorf("%s %v", primary, err)
	}
}

func TestBadPackages(t *testing.T) {
	good := rich().build()
	at := func(offset int, b ...byte) []byte {
		out := bytes.Clone(good)
		copy(out[offset:], b)
		return out
	}
	mainAt := bytes.LastIndex(good, []byte{0x8e, 0xad, 0xe8, 0x01})
	with := func(change func(*rpm)) []byte {
		r := rich()
		change(&r)
		return r.build()
	}
	more := func(add func(h *rpmHeader)) []byte { return with(func(r *rpm) { r.more = add }) }
	huge := binary.BigEndian.AppendUint32(nil, 100<<20)
	for name, data := range map[string][]byte{
		"empty":                 nil,
		"no rpm":                []byte(strings.Repeat("x", 4096)),
		"lead only":             good[:96],
		"cut in the header":     good[:mainAt+200],
		"cut in the payload":    good[:len(good)-1],
		"other payload":         at(len(good)-1, 'X'),
		"cut in format 6":       with(func(r *rpm) { r.v6 = true })[:len(with(func(r *rpm) { r.v6 = true }))-1],
		"longer payload":        append(bytes.Clone(good), 'x'),
		"changed header":        at(mainAt+1200, 'X'),
		"100 MB header":         at(mainAt+12, huge...),
		"100 MB of entries":     at(mainAt+8, huge...),
		"100 MB signature":      at(96+12, huge...),
		"offset behind the end": at(96+16+8, 0x7f, 0xff, 0xff, 0xff),
		"too many values":       at(96+16+16+12, 0xff, 0xff, 0xff, 0xff),
		"newline in the name":   with(func(r *rpm) { r.name = "a\nb" }),
		"slash in the name":     with(func(r *rpm) { r.name = "a/b" }),
		"comma in the arch":     with(func(r *rpm) { r.arch = "x,y" }),
		"dash in the version":   with(func(r *rpm) { r.version = "1-2" }),
		"no release":            with(func(r *rpm) { r.release = "" }),
		"dependencies uneven":   more(func(h *rpmHeader) { h.texts(1049, "a", "b"); h.int32s(1048, 0); h.texts(1050, "", "") }),
		"no such directory":     more(func(h *rpmHeader) { h.texts(1117, "a"); h.texts(1118, "/"); h.int32s(1116, 5) }),
		"directories uneven":    more(func(h *rpmHeader) { h.texts(1117, "a", "b"); h.texts(1118, "/"); h.int32s(1116, 0) }),
		"numbers for text":      more(func(h *rpmHeader) { h.int32s(1015, 1) }),
		"text for numbers":      more(func(h *rpmHeader) { h.text(1030, "x") }),
		"paths beyond measure": more(func(h *rpmHeader) {
			names, dirs := make([]string, 100_000), make([]uint32, 100_000)
			h.texts(1117, names...)
			h.texts(1118, strings.Repeat("/d", 1000))
			h.int32s(1116, dirs...)
		}),
		"values beyond measure": more(func(h *rpmHeader) { h.texts(1117, make([]string, 3_000_000)...) }),
	} {
		if _, _, _, _, err := yum.Read(bytes.NewReader(data)); !errors.Is(err, formats.ErrBadPackage) {
			t.Errorf("%s: %v, want ErrBadPackage", name, err)
		}
	}
	boom := errors.New("boom")
	if _, _, _, _, err := yum.Read(io.MultiReader(bytes.NewReader(good[:300]), &broken{boom})); !errors.Is(err, boom) {
		t.Errorf("a body that broke: %v", err)
	}
}

type broken struct{ err error }

func (b *broken) Read([]byte) (int, error) { return 0, b.err }

func FuzzPackage(f *testing.F) {
	f.Add(rich().build())
	f.Add(hello(1, "x").build())
	f.Add(rpm{name: "s", version: "1", release: "1", arch: "i686", source: true, noSums: true}.build())
	f.Fuzz(func(t *testing.T, data []byte) {
		name, primary, files, other, err := yum.Read(bytes.NewReader(data))
		if err != nil {
			if !errors.Is(err, formats.ErrBadRequest) {
				t.Errorf("%v", err)
			}
			return
		}
		if strings.ContainsAny(name, "\n/ ") {
			t.Errorf("name %q", name)
		}
		for _, text := range []string{`<x xmlns:rpm="r">` + primary + "</x>", files, other} {
			d := xml.NewDecoder(strings.NewReader(text))
			for {
				if _, err := d.Token(); err == io.EOF {
					break
				} else if err != nil {
					t.Fatalf("%v in\n%q", err, text)
				}
			}
		}
	})
}

func FuzzRepomd(f *testing.F) {
	f.Add([]byte(`<repomd><data type="primary"><checksum type="sha256">ab</checksum><location href="x"/></data></repomd>`))
	f.Add([]byte(`<!DOCTYPE x [<!ENTITY a "b">]><repomd>&a;</repomd>`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := yum.ParseRepomd(text); err != nil && !errors.Is(err, formats.ErrUpstream) {
			t.Errorf("%v", err)
		}
	})
}
