package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"granary/formats"
	"granary/httpapi/exchange"
	"granary/httpapi/fault"
)

// Limits of JSON bodies in bytes.
const (
	maxBody  = 2 << 20
	maxLogin = 64 << 10
)

// A body of JSON is waited for in memory. It may take bodyTime, and what its
// limit takes at bodyRate; the connection's own bound is one of silence only.
const (
	bodyTime = time.Minute
	bodyRate = 64 << 10 // bytes a second
)

var errSlow = errors.New("arrives too slowly")

// timely is a body that has to arrive before an end.
type timely struct {
	r   io.ReadCloser
	end time.Time
}

func (t *timely) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if err == nil && time.Now().After(t.end) {
		err = errSlow
	}
	return n, err
}

func (t *timely) Close() error { return t.r.Close() }

// payload is a JSON object that was read and not judged yet, so that the name
// in it can be looked up before anything else is.
type payload struct {
	api    *api
	data   []byte
	parsed map[string]any
}

// read takes the body of a request: 415 for another type than JSON, 413 beyond
// limit, 400 for what does not parse, 422 for what is no object.
func (a *api) read(x *exchange.Exchange, limit int64) (*payload, error) {
	r := x.Request()
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, &fault.Fault{Status: http.StatusUnsupportedMediaType, Code: fault.BadRequest, Message: "Content-Type: must be application/json"}
	}
	data, err := io.ReadAll(http.MaxBytesReader(x, &timely{r: r.Body, end: time.Now().Add(bodyTime + time.Duration(limit/bodyRate)*time.Second)}, limit))
	if err != nil {
		return nil, bodyError(x, err)
	}
	p := &payload{api: a, data: data}
	if !utf8.Valid(data) {
		return nil, formats.BadRequest("body: not UTF-8")
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return nil, formats.BadRequest("body: %v", err)
	}
	object, ok := v.(map[string]any)
	if !ok {
		return nil, misshapen("body", "expected object")
	}
	p.parsed = object
	return p, nil
}

func bodyError(x *exchange.Exchange, err error) error {
	var long *http.MaxBytesError
	if errors.As(err, &long) {
		return err
	}
	if b := x.BodyError(); b != nil {
		err = b
	}
	switch {
	case errors.Is(err, formats.ErrTruncated):
		return err
	case errors.Is(err, errSlow), errors.Is(err, os.ErrDeadlineExceeded):
		return &fault.Fault{Status: http.StatusRequestTimeout, Code: fault.BadRequest, Message: "body: " + errSlow.Error()}
	}
	return &fault.Fault{Status: http.StatusBadRequest, Code: fault.BadRequest, Message: "body: can't be read"}
}

// misshapen is JSON of the wrong shape.
func misshapen(field, problem string) error {
	return &fault.Fault{Status: http.StatusUnprocessableEntity, Code: fault.BadRequest, Message: field + ": " + problem}
}

// text returns a string field, "" if it is absent or none.
func (p *payload) text(field string) string {
	s, _ := p.parsed[field].(string)
	return s
}

// decode judges the shape and fills v, a pointer to the type that the
// operation was registered with. Unknown fields are ignored.
func (p *payload) decode(v any) error {
	t := reflect.TypeOf(v).Elem()
	res := &huma.ValidateResult{}
	huma.Validate(p.api.registry, p.api.registry.Schema(t, true, ""), huma.NewPathBuffer([]byte{}, 0), huma.ModeWriteToServer, p.parsed, res)
	if len(res.Errors) > 0 {
		return shapeError(res.Errors)
	}
	dec := json.NewDecoder(bytes.NewReader(p.data))
	if err := dec.Decode(v); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) {
			return misshapen(fieldOf(kind), "expected "+kindOf(kind.Type))
		}
		return misshapen("body", err.Error())
	}
	return nil
}

// fieldOf is the path of a field as clients spell it, without the names of
// embedded structs.
func fieldOf(e *json.UnmarshalTypeError) string {
	path := strings.Split(e.Field, ".")
	return strings.Join(slices.DeleteFunc(path, func(s string) bool { return s != strings.ToLower(s) }), ".")
}

// kindOf is a type in the words of JSON; of numbers, only whole ones come here.
func kindOf(t reflect.Type) string {
	if t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64 {
		return "integer, in digits alone and not too large"
	}
	return t.String()
}

// maxTold is how many wrong fields one answer names.
const maxTold = 5

// shapeError names the fields and never repeats a value, which may be a
// password.
func shapeError(errs []error) error {
	var told []string
	for _, err := range errs {
		var d *huma.ErrorDetail
		if errors.As(err, &d) {
			told = append(told, tell(d))
		}
	}
	if len(told) == 0 {
		return misshapen("body", "of the wrong shape")
	}
	slices.Sort(told)
	return &fault.Fault{
		Status: http.StatusUnprocessableEntity, Code: fault.BadRequest, Message: strings.Join(told[:min(len(told), maxTold)], "; "),
	}
}

func tell(d *huma.ErrorDetail) string {
	field, message := d.Location, d.Message
	if name, ok := strings.CutPrefix(message, "expected required property "); ok {
		name = strings.TrimSuffix(name, " to be present")
		field, message = strings.TrimPrefix(field+"."+name, "."), "is missing"
	}
	if field == "" {
		field = "body"
	}
	return field + ": " + message
}

// invalid says which field breaks which rule; 400.
func invalid(field, format string, args ...any) error {
	return formats.BadRequest("%s: %s", field, fmt.Sprintf(format, args...))
}
