package formats

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"strings"
	"unicode/utf8"
)

// Form reads a multipart/form-data upload part by part, in bounded memory.
// What is wrong with the form is an ErrBadRequest, ErrTruncated if its end is
// missing; what was wrong with reading the body is passed on.
type Form struct {
	parts *multipart.Reader
	body  *watched
	n     int // parts so far
}

// maxParts bounds a form: a part takes a hundred times as long as its bytes. Those
// of Python packages have one for each classifier and dependency.
const maxParts = 10_000

// NewForm expects a form as the body of up.
func NewForm(up *Upload) (*Form, error) {
	kind, params, err := mime.ParseMediaType(up.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return nil, BadRequest("Content-Type must be multipart/form-data with a boundary")
	}
	body := &watched{r: up.Body, end: []byte("\n--" + params["boundary"] + "--"), tail: []byte("\n")}
	return &Form{parts: multipart.NewReader(body, params["boundary"]), body: body}, nil
}

// IsForm tells whether the upload says that its body is a form.
func IsForm(up *Upload) bool {
	kind, _, _ := strings.Cut(up.Header.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(kind), "multipart/form-data")
}

// Next returns the next part, whose predecessor can't be read any more, and
// io.EOF after the last.
func (f *Form) Next() (*Part, error) {
	p, err := f.parts.NextRawPart()
	if err == io.EOF && f.body.ended { //nolint:errorlint // a wrapped one means that the form is cut
		return nil, io.EOF
	}
	if err != nil {
		return nil, f.explain(err)
	}
	if f.n++; f.n > maxParts {
		return nil, BadRequest("the form has more than %d parts", maxParts)
	}
	return &Part{Part: p, form: f}, nil
}

// explain tells an error of the body from one of the form. What package
// multipart says of a form that is cut depends on where: within the headers of
// a part it is even a plain io.EOF, as after the last.
func (f *Form) explain(err error) error {
	switch {
	case f.body.err != nil:
		return fmt.Errorf("read form: %w", f.body.err)
	case f.body.eof && !f.body.ended:
		return fmt.Errorf("read form: %w", ErrTruncated)
	}
	return BadRequest("read form: %v", err)
}

// Part is one field or file of a form.
type Part struct {
	*multipart.Part
	form *Form
}

// Read reads the part's content.
func (p *Part) Read(b []byte) (int, error) {
	n, err := p.Part.Read(b)
	if err != nil && err != io.EOF { //nolint:errorlint // as above
		err = p.form.explain(err)
	}
	return n, err
}

// Text returns a field of at most limit bytes as UTF-8.
func (p *Part) Text(limit int64) (string, error) {
	b, err := io.ReadAll(io.LimitReader(p, limit+1))
	switch {
	case err != nil:
		return "", err
	case int64(len(b)) > limit:
		return "", BadRequest("form field %q is longer than %d bytes", p.FormName(), limit)
	case !utf8.Valid(b):
		return "", BadRequest("form field %q is not UTF-8", p.FormName())
	}
	return string(b), nil
}

// watched remembers how its reader ended, and whether the line that ends a form
// came before.
type watched struct {
	r          io.Reader
	err        error // other than io.EOF
	eof, ended bool
	end, tail  []byte // what to look for, and the last bytes that may be its beginning
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	if !w.ended {
		w.look(b[:n])
	}
	switch {
	case errors.Is(err, io.EOF):
		w.eof = true
	case err != nil:
		w.err = err
	}
	return n, err
}

func (w *watched) look(b []byte) {
	keep := len(w.end) - 1
	// What straddles the border of two reads, then what lies in this one.
	w.tail = append(w.tail, b[:min(len(b), keep)]...)
	w.ended = bytes.Contains(w.tail, w.end) || bytes.Contains(b, w.end)
	if len(b) > keep {
		w.tail = append(w.tail[:0], b[len(b)-keep:]...)
	} else if over := len(w.tail) - keep; over > 0 {
		w.tail = append(w.tail[:0], w.tail[over:]...)
	}
}
