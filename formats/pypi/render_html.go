package pypi

import (
	"bufio"
	"html"
	"strings"

	"granary/formats"
)

const htmlHead = "<!DOCTYPE html>\n<html>\n<head>\n<meta name=\"pypi:repository-version\" content=\"" + apiVersion + "\">\n"

// renderHTML writes the page of PEP 503 with the attributes of its successors.
func (p *page) renderHTML(pub formats.Pub) error {
	w, err := pub.Create(docHTML, typeText)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	b.WriteString(htmlHead)
	if p.meta.Status != "" {
		b.WriteString(`<meta name="pypi:project-status"` + attribute("content", p.meta.Status) + ">\n")
		if p.meta.Reason != "" {
			b.WriteString(`<meta name="pypi:project-status-reason"` + attribute("content", p.meta.Reason) + ">\n")
		}
	}
	for _, u := range p.meta.Tracks {
		b.WriteString(`<meta name="pypi:tracks"` + attribute("content", u) + ">\n")
	}
	for _, u := range p.meta.Alternates {
		b.WriteString(`<meta name="pypi:alternate-locations"` + attribute("content", u) + ">\n")
	}
	b.WriteString("<title>Links for " + p.project + "</title>\n</head>\n<body>\n<h1>Links for " + p.project + "</h1>\n")
	for _, f := range p.files {
		f.anchor(b, pub)
	}
	b.WriteString("</body>\n</html>\n")
	return b.Flush()
}

func (l listed) anchor(b *bufio.Writer, pub formats.Pub) {
	link := l.link()
	for _, name := range [...]string{"sha256", "sha512", "sha1", "md5"} {
		if sum := l.hashes()[name]; sum != "" {
			link += "#" + name + "=" + sum
			break
		}
	}
	b.WriteString("<a" + attribute("href", link))
	if l.RequiresPython != "" {
		b.WriteString(attribute("data-requires-python", l.RequiresPython))
	}
	if l.Metadata != "" {
		v := l.Metadata
		if v != unknownDigest {
			v = "sha256=" + v
		}
		b.WriteString(attribute("data-dist-info-metadata", v) + attribute("data-core-metadata", v))
	}
	if l.Signed != nil && *l.Signed {
		b.WriteString(attribute("data-gpg-sig", "true"))
	}
	if l.Yanked != nil {
		b.WriteString(attribute("data-yanked", *l.Yanked))
	}
	if l.Provenance {
		b.WriteString(attribute("data-provenance", l.provenanceURL(pub)))
	}
	b.WriteString(">" + html.EscapeString(l.file) + "</a><br>\n")
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
