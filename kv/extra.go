package kv

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/fxamacker/cbor/v2"
)

// A plan says where a type, or what is nested in it, has an [Extra]. Types
// without any have no plan and cost nothing.
type plan struct {
	kind reflect.Kind // Struct, Slice, Array or Map
	elem *plan        // of a slice, an array or the values of a map

	own    []int               // index of the structure's Extra, nil: none
	known  map[string]struct{} // encoded keys of the structure's fields
	nested []nestedField
}

type nestedField struct {
	key   string // encoded
	index []int
	plan  *plan
}

var (
	extraType     = reflect.TypeFor[Extra]()
	marshalerType = reflect.TypeFor[cbor.Marshaler]()

	plans sync.Map // reflect.Type → *plan; what it says never changes
)

func planOf(t reflect.Type) *plan {
	if p, ok := plans.Load(t); ok {
		return p.(*plan)
	}
	var p *plan
	if hasExtra(t, map[reflect.Type]bool{}) {
		p = buildPlan(t, map[reflect.Type]*plan{})
	}
	plans.Store(t, p)
	return p
}

// hasExtra reports whether an Extra can be reached from t.
func hasExtra(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] || opaque(t) {
		return false
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return hasExtra(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			f := t.Field(i)
			if f.Type == extraType || (f.IsExported() || f.Anonymous) && hasExtra(f.Type, seen) {
				return true
			}
		}
	}
	return false
}

// opaque types write and read themselves.
func opaque(t reflect.Type) bool {
	return t.Implements(marshalerType) || reflect.PointerTo(t).Implements(marshalerType)
}

// buildPlan makes the plan of a type from which an Extra can be reached, nil
// for any other. A type that contains itself finds its own plan in done.
func buildPlan(t reflect.Type, done map[reflect.Type]*plan) *plan {
	if t.Kind() == reflect.Pointer {
		return buildPlan(t.Elem(), done)
	}
	if p, ok := done[t]; ok {
		return p
	}
	if !hasExtra(t, map[reflect.Type]bool{}) {
		return nil
	}
	p := &plan{kind: t.Kind()}
	done[t] = p
	if p.kind != reflect.Struct {
		p.elem = buildPlan(t.Elem(), done)
		return p
	}
	p.known = map[string]struct{}{}
	for _, f := range reflect.VisibleFields(t) {
		if f.Type == extraType && f.Anonymous && (p.own == nil || len(f.Index) < len(p.own)) {
			p.own = f.Index
			continue
		}
		key, ok := fieldKey(f)
		if !ok {
			continue
		}
		p.known[key] = struct{}{}
		if n := buildPlan(f.Type, done); n != nil {
			p.nested = append(p.nested, nestedField{key, f.Index, n})
		}
	}
	return p
}

// fieldKey is the encoded key of a field, as the CBOR library names it.
func fieldKey(f reflect.StructField) (string, bool) {
	tag, ok := f.Tag.Lookup("cbor")
	if !ok {
		tag = f.Tag.Get("json")
	}
	name, options, _ := strings.Cut(tag, ",")
	if !f.IsExported() || tag == "-" || f.Anonymous && name == "" {
		return "", false
	}
	if name == "" {
		name = f.Name
	}
	var key any = name
	if slices.Contains(strings.Split(options, ","), "keyasint") {
		n, err := strconv.ParseInt(name, 10, 64)
		if err != nil {
			return "", false // the encoder refuses the type
		}
		key = n
	}
	data, err := encoding.Marshal(key)
	return string(data), err == nil
}

// keeps reports whether there is anything to merge, without allocating.
func (p *plan) keeps(v reflect.Value) bool {
	v = indirect(v)
	if !v.IsValid() {
		return false
	}
	switch p.kind {
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			if p.elem.keeps(v.Index(i)) {
				return true
			}
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			if p.elem.keeps(it.Value()) {
				return true
			}
		}
	default:
		if p.own != nil {
			if e, err := v.FieldByIndexErr(p.own); err == nil && e.Field(0).Len() > 0 {
				return true
			}
		}
		for _, n := range p.nested {
			if f, err := v.FieldByIndexErr(n.index); err == nil && n.plan.keeps(f) {
				return true
			}
		}
	}
	return false
}

// A walker visits the structures of a value beside their encoding, deepest
// first; the encoding that it returns has what visit made of each one's entries.
type walker struct {
	visit func(*plan, reflect.Value, []pair) ([]pair, error)
	store bool // the value is changed: put values of maps back
}

func (w walker) walk(p *plan, v reflect.Value, data []byte) ([]byte, error) {
	v = indirect(v)
	if !v.IsValid() || len(data) == 1 && data[0]>>5 == majorSimple { // null
		return data, nil
	}
	if p.kind == reflect.Slice || p.kind == reflect.Array {
		return w.array(p, v, data)
	}
	pairs, err := splitMap(data)
	if err != nil {
		return nil, err
	}
	if p.kind == reflect.Map {
		err = w.values(p, v, pairs)
	} else if err = w.fields(p, v, pairs); err == nil {
		pairs, err = w.visit(p, v, pairs)
	}
	if err != nil {
		return nil, err
	}
	return joinMap(pairs), nil
}

func (w walker) fields(p *plan, v reflect.Value, pairs []pair) error {
	for _, n := range p.nested {
		i := slices.IndexFunc(pairs, func(x pair) bool { return x.key == n.key })
		if i < 0 {
			continue
		}
		f, err := v.FieldByIndexErr(n.index)
		if err != nil {
			continue // below an embedded nil pointer: nothing was decoded there
		}
		if pairs[i].value, err = w.walk(n.plan, f, pairs[i].value); err != nil {
			return err
		}
	}
	return nil
}

func (w walker) values(p *plan, v reflect.Value, pairs []pair) error {
	for i := range pairs {
		key := reflect.New(v.Type().Key())
		if err := lenient.Unmarshal([]byte(pairs[i].key), key.Interface()); err != nil {
			return err
		}
		found := v.MapIndex(key.Elem())
		if !found.IsValid() {
			continue
		}
		value := reflect.New(v.Type().Elem()).Elem() // a map's values can't be set in place
		value.Set(found)
		changed, err := w.walk(p.elem, value, pairs[i].value)
		if err != nil {
			return err
		}
		pairs[i].value = changed
		if w.store {
			v.SetMapIndex(key.Elem(), value)
		}
	}
	return nil
}

func (w walker) array(p *plan, v reflect.Value, data []byte) ([]byte, error) {
	n, rest, err := head(data, majorArray)
	if err != nil {
		return nil, err
	}
	out := appendHead(nil, majorArray, n)
	for i := range n {
		var item cbor.RawMessage
		if rest, err = lenient.UnmarshalFirst(rest, &item); err != nil {
			return nil, err
		}
		if i < v.Len() {
			if item, err = w.walk(p.elem, v.Index(i), item); err != nil {
				return nil, err
			}
		}
		out = append(out, item...)
	}
	return out, nil
}

// collect puts the fields of data that the structures of v don't know into
// their Extra. v must be addressable.
func (p *plan) collect(v reflect.Value, data []byte) error {
	_, err := walker{visit: keepUnknown, store: true}.walk(p, v, data)
	return err
}

func keepUnknown(p *plan, v reflect.Value, pairs []pair) ([]pair, error) {
	if p.own == nil {
		return pairs, nil
	}
	unknown := slices.DeleteFunc(slices.Clone(pairs), func(x pair) bool {
		_, ok := p.known[x.key]
		return ok
	})
	if e, err := v.FieldByIndexErr(p.own); err == nil && len(unknown) > 0 {
		e.Set(reflect.ValueOf(Extra{string(joinMap(unknown))}))
	}
	return pairs, nil
}

// merge returns data, the encoding of v, with the unknown fields that v keeps.
func (p *plan) merge(v reflect.Value, data []byte) ([]byte, error) {
	return walker{visit: addUnknown}.walk(p, v, data)
}

func addUnknown(p *plan, v reflect.Value, pairs []pair) ([]pair, error) {
	if p.own == nil {
		return pairs, nil
	}
	e, err := v.FieldByIndexErr(p.own)
	if err != nil || e.Field(0).Len() == 0 {
		return pairs, nil // nothing was decoded there
	}
	kept, err := splitMap([]byte(e.Field(0).String()))
	if err != nil {
		return nil, err
	}
	for _, k := range kept {
		if !slices.ContainsFunc(pairs, func(x pair) bool { return x.key == k.key }) {
			pairs = append(pairs, k)
		}
	}
	return pairs, nil
}
