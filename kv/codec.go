package kv

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/fxamacker/cbor/v2"
)

// Extra keeps the fields of a stored structure that this version of granary
// doesn't know, so that a node may rewrite what a newer node has written. Embed
// it in every stored structure, also in nested ones:
//
//	type Record struct {
//		kv.Extra `cbor:"-"`
//		Size     int64 `cbor:"1,keyasint,omitempty"`
//	}
//
// A copy of the structure carries them along; assigning a new literal loses them.
type Extra struct {
	unknown string // a CBOR map; "" if there are none
}

// Equal reports whether both keep the same unknown fields.
func (e Extra) Equal(other Extra) bool { return e.unknown == other.unknown }

// Bounds of what the decoder accepts, far above what is stored within MaxValue
// and low enough that a few bytes can't claim much memory.
const (
	maxNesting  = 16
	maxElements = 1 << 16
)

var (
	encoding = must(encodingOptions().EncMode())
	strict   = must(decodingOptions(cbor.ExtraDecErrorUnknownField).DecMode())
	lenient  = must(decodingOptions(cbor.ExtraDecErrorNone).DecMode())
)

func encodingOptions() cbor.EncOptions {
	o := cbor.CoreDetEncOptions()
	o.Time = cbor.TimeRFC3339NanoUTC
	return o
}

func decodingOptions(extra cbor.ExtraDecErrorCond) cbor.DecOptions {
	return cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:  maxNesting,
		MaxArrayElements: maxElements,
		MaxMapPairs:      maxElements,
		IndefLength:      cbor.IndefLengthForbidden,
		TagsMd:           cbor.TagsForbidden,
		// What strangers send may get into a record, as an upstream's ETag in
		// Latin-1 does. Marshal writes it, so it has to be readable.
		UTF8:              cbor.UTF8DecodeInvalid,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		ExtraReturnErrors: extra,
	}
}

// must is for the constant options above; a test would not even start.
func must[T any](v T, err error) T {
	if err != nil {
		panic("kv: codec options: " + err.Error())
	}
	return v
}

// Marshal encodes v as deterministic CBOR: the same value gives the same
// bytes. Unknown fields that v and what is nested in it keep in an [Extra] are
// written too.
func Marshal(v any) ([]byte, error) {
	data, err := encoding.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	rv := indirect(reflect.ValueOf(v))
	if !rv.IsValid() {
		return data, nil
	}
	p := planOf(rv.Type())
	if p == nil || !p.keeps(rv) {
		return data, nil
	}
	if data, err = p.merge(rv, data); err != nil {
		return nil, fmt.Errorf("encode %T with unknown fields: %w", v, err)
	}
	return data, nil
}

// Unmarshal decodes what [Marshal] wrote into v, a pointer to a zero value.
// Fields that v doesn't know go to its [Extra], or that of the nested
// structure they belong to; where there is none they are dropped. Malformed
// data, and nesting or counts beyond all reason, give an error.
func Unmarshal(data []byte, v any) error {
	err := strict.Unmarshal(data, v)
	if err == nil {
		return nil
	}
	var unknown *cbor.UnknownFieldError
	if !errors.As(err, &unknown) {
		return fmt.Errorf("decode %T: %w", v, err)
	}
	if err := lenient.Unmarshal(data, v); err != nil {
		return fmt.Errorf("decode %T: %w", v, err)
	}
	rv := indirect(reflect.ValueOf(v))
	if !rv.IsValid() {
		return nil
	}
	if p := planOf(rv.Type()); p != nil {
		if err := p.collect(rv, data); err != nil {
			return fmt.Errorf("decode %T with unknown fields: %w", v, err)
		}
	}
	return nil
}

// indirect follows pointers and interfaces; the result is invalid for nil.
func indirect(v reflect.Value) reflect.Value {
	for v.Kind() == reflect.Pointer || v.Kind() == reflect.Interface {
		v = v.Elem()
	}
	return v
}
