package pypi

import (
	"bufio"
	"html"
	"strings"

	"granary/formats"
)

const htmlHead = "<!DOCTYPE html>\n<html>\n<head>\n<meta name=\"pypi:repository-version\" content=\"" + apiVersion + "\">\n"

// markup is a page on its way. How writing failed is told by Flush.
type markup struct{ *bufio.Writer }

func (m markup) add(s string) { m.WriteString(s) } //nolint:errcheck // see above

// renderHTML writes the page of PEP 503 with the attributes of its successors.
func (p *page) renderHTML(pub formats.Pub) error {
	w, err := pub.Create(docHTML, typeText)
	if err != nil {
		return err
	}
	b := markup{bufio.NewWriter(w)}
	b.add(htmlHead)
	if p.meta.Status != "" {
		b.add(`<meta name="pypi:project-status"` + attribute("content", p.meta.Status) + ">\n")
		if p.meta.Reason != "" {
			b.add(`<meta name="pypi:project-status-reason"` + attribute("content", p.meta.Reason) + ">\n")
		}
	}
	for _, u := range p.meta.Tracks {
		b.add(`<meta name="pypi:tracks"` + attribute("content", u) + ">\n")
	}
	for _, u := range p.meta.Alternates {
		b.add(`<meta name="pypi:alternate-locations"` + attribute("content", u) + ">\n")
	}
	b.add("<title>Links for " + p.project + "</title>\n</head>\n<body>\n<h1>Links for " + p.project + "</h1>\n")
	for _, f := range p.files {
		f.anchor(b, pub)
	}
	b.add("</body>\n</html>\n")
	return b.Flush()
}

func (l listed) anchor(b markup, pub formats.Pub) {
	link := l.link()
	for _, name := range [...]string{"sha256", "sha512", "sha1", "md5"} {
		if sum := l.hashes()[name]; sum != "" {
			link += "#" + name + "=" + sum
			break
		}
	}
	b.add("<a" + attribute("href", link))
	if l.RequiresPython != "" {
		b.add(attribute("data-requires-python", l.RequiresPython))
	}
	if l.Metadata != "" {
		v := l.Metadata
		if v != unknownDigest {
			v = "sha256=" + v
		}
		b.add(attribute("data-dist-info-metadata", v) + attribute("data-core-metadata", v))
	}
	if l.Signed != nil && *l.Signed {
		b.add(attribute("data-gpg-sig", "true"))
	}
	if l.Yanked != nil {
		b.add(attribute("data-yanked", *l.Yanked))
	}
	if l.Provenance {
		b.add(attribute("data-provenance", l.provenanceURL(pub)))
	}
	b.add(">" + html.EscapeString(l.file) + "</a><br>\n")
}

// attribute writes one with what could end it or begin another escaped.
func attribute(name, value string) string {
	value = strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, value)
	return " " + name + `="` + html.EscapeString(value) + `"`
}
