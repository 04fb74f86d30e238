package retry

import (
	"iter"

	"granary/kv"
)

// rest is the part of a query that is still to be yielded. It begins with the
// last item that was, if there is one, since a bound behind it might be too
// long to be a bound.
type rest struct {
	from, to string
	left     int // items wanted, 0: all
	reverse  bool

	last    string
	yielded int
}

// limit asks for what is left and the item that is skipped.
func (r *rest) limit(read *kv.Read) {
	read.Limit = r.left
	if r.left > 0 && r.yielded > 0 && !r.reverse {
		read.Limit++
	}
}

// pass yields items until they, the limit or the consumer's wish end; then
// stopped is set or err nil.
func (r *rest) pass(items iter.Seq2[kv.Item, error], yield func(kv.Item, error) bool) (err error, stopped bool) {
	for item, err := range items {
		if err != nil {
			return err, false
		}
		if r.yielded > 0 && item.Sort == r.last {
			continue
		}
		if !yield(item, nil) {
			return nil, true
		}
		r.yielded++
		if r.last = item.Sort; r.reverse {
			r.to = r.last
		} else {
			r.from = r.last
		}
		if r.left--; r.left == 0 {
			return nil, true
		}
	}
	return nil, false
}
