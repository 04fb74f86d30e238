package apt

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"granary/formats"
)

// Limits of control data, in bytes and fields.
const (
	maxParagraph = 1 << 20
	maxFields    = 500
)

// field is one line of a paragraph, with the lines that continue it.
type field struct{ name, value string }

// paragraph is a stanza of control data in the order of its fields
// (deb822(5)). Names are compared without regard to case.
type paragraph []field

func (p paragraph) get(name string) string {
	for _, f := range p {
		if strings.EqualFold(f.name, name) {
			return f.value
		}
	}
	return ""
}

// without returns the fields but for some.
func (p paragraph) without(names ...string) paragraph {
	out := make(paragraph, 0, len(p))
	for _, f := range p {
		if !isOneOf(f.name, names) {
			out = append(out, f)
		}
	}
	return out
}

func isOneOf(name string, names []string) bool {
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// append writes the paragraph, without the empty line that ends it.
func (p paragraph) append(b []byte) []byte {
	for _, f := range p {
		b = append(b, f.name...)
		b = append(b, ':')
		if f.value != "" && f.value[0] != '\n' {
			b = append(b, ' ')
		}
		b = append(b, f.value...)
		b = append(b, '\n')
	}
	return b
}

// paragraphs reads control data stanza by stanza, in memory bounded by
// maxParagraph.
type paragraphs struct {
	lines *bufio.Reader
	size  int    // bytes of the paragraph so far
	more  []byte // lines that continue its last field
}

func newParagraphs(r io.Reader) *paragraphs {
	return &paragraphs{lines: bufio.NewReaderSize(r, 64<<10)}
}

// next returns the next paragraph, io.EOF after the last. What can't be read
// is an ErrBadRequest, or an error of the reader.
func (p *paragraphs) next() (paragraph, error) {
	var out paragraph
	p.size, p.more = 0, p.more[:0]
	for {
		line, err := p.line()
		if errors.Is(err, io.EOF) && len(line) == 0 {
			if len(out) == 0 {
				return nil, io.EOF
			}
			return p.whole(out), nil
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		switch {
		case len(bytes.TrimSpace(line)) == 0:
			if len(out) > 0 {
				return p.whole(out), nil
			}
		case line[0] == '#':
		case bytes.IndexByte(line, 0) >= 0:
			return nil, formats.BadRequest("control data has a NUL byte")
		case line[0] == ' ' || line[0] == '\t':
			if len(out) == 0 {
				return nil, formats.BadRequest("control data begins with a continued line")
			}
			p.more = append(append(p.more, '\n'), line...)
		default:
			if out, err = p.whole(out).add(line); err != nil {
				return nil, err
			}
		}
	}
}

// whole gives the last field the lines that continue it, all at once: there may
// be very many.
func (p *paragraphs) whole(out paragraph) paragraph {
	if len(p.more) > 0 {
		out[len(out)-1].value += string(p.more)
		p.more = p.more[:0]
	}
	return out
}

// add takes a line that is a field.
func (p paragraph) add(line []byte) (paragraph, error) {
	name, value, ok := strings.Cut(string(line), ":")
	if !ok || name == "" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return nil, formats.BadRequest("control data has the line %.80q, which is no field", line)
	}
	if p.has(name) {
		return nil, formats.BadRequest("control data has the field %.80s twice", name)
	}
	if len(p) == maxFields {
		return nil, formats.BadRequest("a paragraph of control data has more than %d fields", maxFields)
	}
	return append(p, field{name, strings.TrimSpace(value)}), nil
}

func (p paragraph) has(name string) bool {
	for _, f := range p {
		if strings.EqualFold(f.name, name) {
			return true
		}
	}
	return false
}

// line returns one line without its end.
func (p *paragraphs) line() ([]byte, error) {
	var out []byte
	for {
		part, err := p.lines.ReadSlice('\n')
		if p.size += len(part); p.size > maxParagraph {
			return nil, fmt.Errorf("%w: a paragraph of control data, at most %d bytes are possible", formats.ErrTooLarge, maxParagraph)
		}
		out = append(out, part...)
		if !errors.Is(err, bufio.ErrBufferFull) {
			return bytes.TrimRight(out, "\r\n"), err
		}
	}
}
