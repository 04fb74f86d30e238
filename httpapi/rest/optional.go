package rest

import (
	"encoding/json"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
)

// optional is a field of a body that may be absent (in an update: keep), null
// (back to the default or none) or a value.
type optional[T any] struct {
	set, null bool
	value     T
}

// UnmarshalJSON notes that the field was there.
func (o *optional[T]) UnmarshalJSON(data []byte) error {
	o.set = true
	if string(data) == "null" {
		o.null = true
		return nil
	}
	return json.Unmarshal(data, &o.value)
}

// Schema is that of the value, or null.
func (optional[T]) Schema(r huma.Registry) *huma.Schema {
	s := *huma.SchemaFromType(r, reflect.TypeFor[T]())
	s.Nullable = true
	s.PrecomputeMessages()
	return &s
}

// some tells whether there is a value.
func (o optional[T]) some() bool { return o.set && !o.null }

// pointer changes a field that is nil where it has no value.
func (o optional[T]) pointer(dst **T) {
	switch {
	case o.some():
		v := o.value
		*dst = &v
	case o.set:
		*dst = nil
	}
}

// plain changes a field whose default is def.
func plain[T any](o optional[T], dst *T, def T) {
	switch {
	case o.some():
		*dst = o.value
	case o.set:
		*dst = def
	}
}

// Timestamp is a time as every answer carries it: RFC 3339 in UTC with
// milliseconds. The zero time is null.
type Timestamp time.Time

// MarshalJSON writes milliseconds even where they are zero.
func (t Timestamp) MarshalJSON() ([]byte, error) {
	if time.Time(t).IsZero() {
		return []byte("null"), nil
	}
	return time.Time(t).UTC().AppendFormat(nil, `"2006-01-02T15:04:05.000Z"`), nil
}

// Schema is that of a time.
func (Timestamp) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time", Nullable: true}
}
