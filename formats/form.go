package formats

import (
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
}

// NewForm expects a form as the body of up.
func NewForm(up *Upload) (*Form, error) {
	kind, params, err := mime.ParseMediaType(up.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" || params["boundary"] == "" {
		return nil, BadRequest("Content-Type must be multipart/form-data with a boundary")
	}
	body := &watched{r: up.Body}
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
	if err == io.EOF { //nolint:errorlint // a wrapped one means that the form is cut
		return nil, io.EOF
	}
	if err != nil {
		return nil, f.explain(err)
	}
	return &Part{Part: p, form: f}, nil
}

// explain tells an error of the body from one of the form.
func (f *Form) explain(err error) error {
	switch {
	case f.body.err != nil:
		return fmt.Errorf("read form: %w", f.body.err)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
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

// watched remembers how its reader failed.
type watched struct {
	r   io.Reader
	err error
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		w.err = err
	}
	return n, err
}
