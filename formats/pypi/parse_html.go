package pypi

import (
	"errors"
	"io"
	"net/url"
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"

	"granary/formats"
)

// link is an anchor of a page.
type link struct {
	href, text string
	attributes map[string]string
}

// maxToken is the longest tag of a page in bytes.
const maxToken = 1 << 20

// eachLink calls f for the anchors of a page and returns the base URL that it
// names, "" if none.
func eachLink(path string, r io.Reader, f func(link) error) (base string, err error) {
	src := &failing{r: r}
	z := html.NewTokenizer(src)
	z.SetMaxBuf(maxToken)
	var open *link
	for {
		switch z.Next() {
		case html.ErrorToken:
			switch {
			case src.err != nil:
				return base, src.err
			case !errors.Is(z.Err(), io.EOF):
				return base, formats.Unusable(path, "%v", z.Err())
			case open != nil:
				return base, formats.Unusable(path, "the page ends within a link")
			}
			return base, nil
		case html.StartTagToken, html.SelfClosingTagToken:
			name, more := z.TagName()
			switch atom.Lookup(name) {
			case atom.Base:
				if a := attributesOf(z, more); base == "" {
					base = a["href"]
				}
			case atom.A:
				a := attributesOf(z, more)
				open = &link{href: a["href"], attributes: a}
			}
		case html.TextToken:
			if open != nil && len(open.text) < formats.MaxSegment {
				open.text += string(z.Text())
			}
		case html.EndTagToken:
			if name, _ := z.TagName(); atom.Lookup(name) == atom.A && open != nil {
				open.text = strings.TrimSpace(html.UnescapeString(open.text))
				if err := f(*open); err != nil {
					return base, err
				}
				open = nil
			}
		}
	}
}

func attributesOf(z *html.Tokenizer, more bool) map[string]string {
	a := map[string]string{}
	for more {
		var key, value []byte
		key, value, more = z.TagAttr()
		if _, ok := a[string(key)]; !ok { // the first of a name counts
			a[string(key)] = string(value)
		}
	}
	return a
}

// parseHTML reads the page of PEP 503.
func parseHTML(scope string, r io.Reader) ([]formats.Record, error) {
	var links []link
	base, err := eachLink(scope, r, func(l link) error {
		if links = append(links, l); len(links) > maxFiles {
			return formats.Unusable(scope, "more than %d files", maxFiles)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var recs []formats.Record
	for _, l := range links {
		more, err := l.records(scope, base)
		if err != nil {
			return nil, err
		}
		recs = append(recs, more...)
	}
	return recs, nil
}

// records makes what the JSON page would have said.
func (l link) records(scope, base string) ([]formats.Record, error) {
	href := l.href
	u, err := url.Parse(href)
	if err != nil {
		return nil, nil //nolint:nilerr // a link that leads nowhere is no file
	}
	if b, err := url.Parse(base); base != "" && err == nil {
		u = b.ResolveReference(u)
		href = u.String()
	}
	file := u.Path[strings.LastIndexByte(u.Path, '/')+1:]
	m := fileMeta{}
	if p := l.attributes["data-requires-python"]; len(p) <= maxSpecifier {
		m.RequiresPython = p
	}
	if reason, ok := l.attributes["data-yanked"]; ok {
		m.Yanked = &reason
	}
	if v, ok := l.attributes["data-gpg-sig"]; ok {
		signed := v == "true"
		m.Signed = &signed
	}
	metadata, ok := l.attributes["data-core-metadata"]
	if !ok {
		metadata, ok = l.attributes["data-dist-info-metadata"]
	}
	algorithm, sum, _ := strings.Cut(metadata, "=")
	known, sums := metadataOf(algorithm, sum)
	if ok && metadata != "false" {
		m.Metadata = known
	}
	name, value, _ := strings.Cut(u.Fragment, "=")
	return fileRecords(scope, file, href, sumsOf(map[string]string{name: value}), m, sums, l.attributes["data-provenance"])
}
