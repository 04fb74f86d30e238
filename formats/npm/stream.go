package npm

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"strconv"

	"granary/formats"
)

// document reads a JSON object member by member. A value is read into memory,
// within a limit for all of them, or, for a string in base64, as it arrives.
type document struct {
	r    *bufio.Reader
	left int // bytes that values may still have
}

// maxDocument is what a publish document may have without its attachments, in
// bytes. That of a deprecation has all versions of the package.
const maxDocument = 64 << 20

func newDocument(r io.Reader, limit int) *document {
	return &document{r: bufio.NewReaderSize(r, 32<<10), left: limit}
}

var errNoJSON = formats.BadRequest("the body is no JSON as npm sends it")

// read tells a body that ended or is none from one that could not be read.
func (d *document) read(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return formats.ErrTruncated
	}
	return err
}

// next returns the next byte that is no white space.
func (d *document) next() (byte, error) {
	for {
		c, err := d.r.ReadByte()
		if err != nil {
			return 0, d.read(err)
		}
		if c != ' ' && c != '\t' && c != '\r' && c != '\n' {
			return c, nil
		}
	}
}

func (d *document) expect(want byte) error {
	c, err := d.next()
	if err == nil && c != want {
		err = errNoJSON
	}
	return err
}

// object calls member with each key of an object, the value of which member
// reads.
func (d *document) object(member func(key string) error) error {
	if err := d.expect('{'); err != nil {
		return err
	}
	for first := true; ; first = false {
		c, err := d.next()
		switch {
		case err != nil:
			return err
		case c == '}':
			return nil
		case c == ',' && !first:
			if err := d.expect('"'); err != nil {
				return err
			}
		case c != '"' || !first:
			return errNoJSON
		}
		raw, err := d.quoted([]byte{'"'})
		if err != nil {
			return err
		}
		var key string
		if json.Unmarshal(raw, &key) != nil {
			return errNoJSON
		}
		if err := d.expect(':'); err != nil {
			return err
		}
		if err := member(key); err != nil {
			return err
		}
	}
}

// quoted appends the rest of a string, its closing quote included.
func (d *document) quoted(b []byte) ([]byte, error) {
	for {
		c, err := d.take()
		if err != nil {
			return nil, err
		}
		b = append(b, c)
		switch c {
		case '"':
			return b, nil
		case '\\':
			if c, err = d.take(); err != nil {
				return nil, err
			}
			b = append(b, c)
		}
	}
}

func (d *document) take() (byte, error) {
	if d.left--; d.left < 0 {
		return 0, formats.BadRequest("the document is too long without its attachments")
	}
	c, err := d.r.ReadByte()
	return c, d.read(err)
}

// value reads any value.
func (d *document) value() (json.RawMessage, error) {
	c, err := d.next()
	if err != nil {
		return nil, err
	}
	b := []byte{c}
	switch c {
	case '"':
		return d.quoted(b)
	case '{', '[':
		for depth := 1; depth > 0; {
			if c, err = d.take(); err != nil {
				return nil, err
			}
			b = append(b, c)
			switch c {
			case '{', '[':
				depth++
			case '}', ']':
				depth--
			case '"':
				if b, err = d.quoted(b); err != nil {
					return nil, err
				}
			}
		}
	default:
		for {
			p, err := d.r.Peek(1)
			if err != nil {
				return nil, d.read(err)
			}
			if p[0] == ',' || p[0] == '}' || p[0] == ']' || p[0] <= ' ' {
				break
			}
			if c, err = d.take(); err != nil {
				return nil, err
			}
			b = append(b, c)
		}
	}
	if !json.Valid(b) {
		return nil, errNoJSON
	}
	return b, nil
}

// base64 returns a reader of what a string has in base64. It must be read to
// its end before the document is read on.
func (d *document) base64() (io.Reader, error) {
	if err := d.expect('"'); err != nil {
		return nil, err
	}
	s := &quotedString{d: d}
	return &decoded{r: base64.NewDecoder(base64.StdEncoding, s), s: s}, nil
}

// quotedString reads the characters of a string to its closing quote.
type quotedString struct {
	d    *document
	done bool
	err  error
}

func (s *quotedString) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) && !s.done && s.err == nil {
		// The longest run without a quote or escape that is at hand.
		if _, err := s.d.r.Peek(1); err != nil {
			s.err = s.d.read(err)
			break
		}
		window, _ := s.d.r.Peek(min(s.d.r.Buffered(), len(p)-n)) //nolint:errcheck // it is buffered
		i := 0
		for i < len(window) && window[i] != '"' && window[i] != '\\' {
			i++
		}
		copy(p[n:], window[:i])
		n += i
		s.d.r.Discard(i) //nolint:errcheck // it is buffered
		if i < len(window) {
			n += s.special(p[n:])
		}
	}
	switch {
	case n > 0:
		return n, nil
	case s.err != nil:
		return 0, s.err
	}
	return 0, io.EOF
}

// special reads a quote, which ends the string, or an escape.
func (s *quotedString) special(p []byte) int {
	c, err := s.d.r.ReadByte()
	if err != nil {
		s.err = s.d.read(err)
		return 0
	}
	if c == '"' {
		s.done = true
		return 0
	}
	if c, err = s.d.r.ReadByte(); err != nil {
		s.err = s.d.read(err)
		return 0
	}
	switch c {
	case 'n', 'r':
		c = '\n' // which base64 passes over
	case 'u':
		var hex [4]byte
		if _, err := io.ReadFull(s.d.r, hex[:]); err != nil {
			s.err = s.d.read(err)
			return 0
		}
		v, err := strconv.ParseUint(string(hex[:]), 16, 8)
		if err != nil {
			s.err = errNoJSON
			return 0
		}
		c = byte(v)
	}
	p[0] = c
	return 1
}

// decoded tells what is no base64 as the client's fault.
type decoded struct {
	r io.Reader
	s *quotedString
}

func (d *decoded) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	switch {
	case d.s.err != nil && err != nil:
		err = d.s.err
	case err == io.EOF: //nolint:errorlint // plain by contract
		// The decoder may stop at the padding, before the quote.
		if more, rest := io.Copy(io.Discard, d.s); rest != nil {
			err = rest
		} else if more > 0 {
			err = formats.BadRequest("an attachment goes on behind its padding")
		}
	case err != nil:
		err = formats.BadRequest("an attachment is no base64")
	}
	return n, err
}
