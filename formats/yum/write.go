package yum

import (
	"strconv"
	"unicode/utf8"
)

// fragments are a package's parts of the metadata. The first two are its
// element in primary, without the <location> that stands between them: where
// the package is depends on who lists it.
type fragments struct {
	_     struct{} `cbor:",toarray"`
	Head  []byte
	Tail  []byte
	Files []byte // its element in filelists
	Other []byte // and in other
}

// size is that of all of it in bytes.
func (f *fragments) size() int { return len(f.Head) + len(f.Tail) + len(f.Files) + len(f.Other) }

// build is XML being written.
type build []byte

func (b *build) raw(s string) { *b = append(*b, s...) }

// text appends s with what means something in XML escaped. Characters that no
// document may have are left out.
func (b *build) text(s string) { b.escape(s, false) }

// attr appends ` name="s"`.
func (b *build) attr(name, s string) {
	b.raw(" ")
	b.raw(name)
	b.raw(`="`)
	b.escape(s, true)
	b.raw(`"`)
}

func (b *build) number(name string, n uint64) { b.attr(name, strconv.FormatUint(n, 10)) }

// element appends one that holds text.
func (b *build) element(name, s string) {
	b.raw("<")
	b.raw(name)
	if s == "" {
		b.raw("/>\n")
		return
	}
	b.raw(">")
	b.text(s)
	b.raw("</")
	b.raw(name)
	b.raw(">\n")
}

func (b *build) escape(s string, attribute bool) {
	from := 0
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		with, special := "", true
		switch {
		case r == '&':
			with = "&amp;"
		case r == '<':
			with = "&lt;"
		case r == '>':
			with = "&gt;"
		case r == '"' && attribute:
			with = "&quot;"
		case attribute && (r == '\n' || r == '\t') || r == '\r':
			with = "&#" + strconv.Itoa(int(r)) + ";"
		case r < ' ' && r != '\n' && r != '\t', r == 0xfffe, r == 0xffff, r == utf8.RuneError && n == 1:
		default:
			special = false
		}
		if special {
			b.raw(s[from:i])
			b.raw(with)
			from = i + n
		}
		i += n
	}
	b.raw(s[from:])
}

// sum is a package's digest in hex, which the metadata knows it by.
type sum struct{ kind, hex string }

// fragments writes what the metadata has of a package with that digest and
// size.
func (p *pkg) fragments(id sum, size int64) fragments {
	return fragments{Head: p.primaryHead(id, size), Tail: p.primaryTail(), Files: p.filelists(id.hex), Other: p.other(id.hex)}
}

func (b *build) version(v evr) {
	b.raw("<version")
	b.attr("epoch", v.epoch)
	b.attr("ver", v.version)
	b.attr("rel", v.release)
	b.raw("/>\n")
}

func (p *pkg) primaryHead(id sum, size int64) []byte {
	var b build
	b.raw("<package type=\"rpm\">\n")
	b.element("name", p.name)
	b.element("arch", p.arch)
	b.version(p.evr)
	b.raw("<checksum")
	b.attr("type", id.kind)
	b.raw(` pkgid="YES">`)
	b.text(id.hex)
	b.raw("</checksum>\n")
	b.element("summary", p.summary)
	b.element("description", p.description)
	b.element("packager", p.packager)
	b.element("url", p.url)
	b.raw("<time")
	b.number("file", p.changed)
	b.number("build", p.built)
	b.raw("/>\n<size")
	b.number("package", uint64(size)) //nolint:gosec // not negative
	b.number("installed", p.installed)
	b.number("archive", p.archive)
	b.raw("/>\n")
	return b
}

func (p *pkg) primaryTail() []byte {
	var b build
	b.raw("<format>\n")
	b.element("rpm:license", p.license)
	b.element("rpm:vendor", p.vendor)
	b.element("rpm:group", p.group)
	b.element("rpm:buildhost", p.buildHost)
	b.element("rpm:sourcerpm", p.sourceRPM)
	b.raw("<rpm:header-range")
	b.number("start", uint64(p.headerStart)) //nolint:gosec // not negative
	b.number("end", uint64(p.headerEnd))     //nolint:gosec // likewise
	b.raw("/>\n")
	for _, d := range p.dependencies() {
		b.deps(d.element, *d.deps)
	}
	for _, f := range p.files {
		if f.primary() {
			b.file(f)
		}
	}
	b.raw("</format>\n</package>\n")
	return b
}

// kindOfDep is one of the lists of dependencies with the element that holds it.
type kindOfDep struct {
	element string
	deps    *[]dep
}

// dependencies are all lists in the order of the metadata.
func (p *pkg) dependencies() []kindOfDep {
	return []kindOfDep{
		{"provides", &p.provides},
		{"requires", &p.requires},
		{"conflicts", &p.conflicts},
		{"obsoletes", &p.obsoletes},
		{"suggests", &p.suggests},
		{"enhances", &p.enhances},
		{"recommends", &p.recommends},
		{"supplements", &p.supplements},
	}
}

func (b *build) deps(element string, deps []dep) {
	if len(deps) == 0 {
		return
	}
	b.raw("<rpm:" + element + ">\n")
	for _, d := range deps {
		b.raw("<rpm:entry")
		b.attr("name", d.name)
		if d.flags != "" {
			b.attr("flags", d.flags)
			b.attr("epoch", d.evr.epoch)
			b.attr("ver", d.evr.version)
			if d.evr.release != "" {
				b.attr("rel", d.evr.release)
			}
		}
		if d.pre && element == "requires" {
			b.attr("pre", "1")
		}
		b.raw("/>\n")
	}
	b.raw("</rpm:" + element + ">\n")
}

func (b *build) file(f file) {
	b.raw("<file")
	if f.kind != "" {
		b.attr("type", f.kind)
	}
	b.raw(">")
	b.text(f.path)
	b.raw("</file>\n")
}

// begin opens a package's element in filelists and other.
func (b *build) begin(p *pkg, id string) {
	b.raw("<package")
	b.attr("pkgid", id)
	b.attr("name", p.name)
	b.attr("arch", p.arch)
	b.raw(">\n")
	b.version(p.evr)
}

func (p *pkg) filelists(id string) []byte {
	var b build
	b.begin(p, id)
	for _, f := range p.files {
		b.file(f)
	}
	b.raw("</package>\n")
	return b
}

func (p *pkg) other(id string) []byte {
	var b build
	b.begin(p, id)
	for _, c := range p.changes {
		b.raw("<changelog")
		b.attr("author", c.author)
		b.number("date", c.time)
		b.raw(">")
		b.text(c.text)
		b.raw("</changelog>\n")
	}
	b.raw("</package>\n")
	return b
}

// location is the element between head and tail; href is relative to the
// directory that has repodata/.
func location(href string) []byte {
	var b build
	b.raw("<location")
	b.attr("href", href)
	b.raw("/>\n")
	return b
}
