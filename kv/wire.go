package kv

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fxamacker/cbor/v2"
)

var errShape = errors.New("kv: encoding does not match its type")

const (
	majorArray  = 4
	majorMap    = 5
	majorSimple = 7
)

// pair is an entry of a map. key is its shortest encoding, by which entries
// are told apart and ordered.
type pair struct {
	key   string
	value cbor.RawMessage
}

func splitMap(data []byte) ([]pair, error) {
	n, rest, err := head(data, majorMap)
	if err != nil {
		return nil, err
	}
	pairs := make([]pair, n)
	for i := range pairs {
		var key any
		if rest, err = lenient.UnmarshalFirst(rest, &key); err != nil {
			return nil, err
		}
		if rest, err = lenient.UnmarshalFirst(rest, &pairs[i].value); err != nil {
			return nil, err
		}
		canonical, err := encoding.Marshal(key)
		if err != nil {
			return nil, err
		}
		pairs[i].key = string(canonical)
	}
	return pairs, nil
}

func joinMap(pairs []pair) []byte {
	slices.SortFunc(pairs, func(a, b pair) int { return strings.Compare(a.key, b.key) })
	out := appendHead(nil, majorMap, len(pairs))
	for _, p := range pairs {
		out = append(append(out, p.key...), p.value...)
	}
	return out
}

// head reads the definite length of an array or map.
func head(data []byte, major byte) (n int, rest []byte, err error) {
	if len(data) == 0 || data[0]>>5 != major {
		return 0, nil, errShape
	}
	info, rest := data[0]&0x1f, data[1:]
	if info < 24 {
		return int(info), rest, nil
	}
	width := 1 << (info - 24)
	if info > 27 || len(rest) < width {
		return 0, nil, errShape
	}
	var length uint64
	for _, b := range rest[:width] {
		length = length<<8 | uint64(b)
	}
	if length > maxElements {
		return 0, nil, fmt.Errorf("%w: %d elements", errShape, length)
	}
	return int(length), rest[width:], nil
}

func appendHead(out []byte, major byte, n int) []byte {
	switch {
	case n < 24:
		return append(out, major<<5|byte(n))
	case n < 1<<8:
		return append(out, major<<5|24, byte(n))
	case n < 1<<16:
		return append(out, major<<5|25, byte(n>>8), byte(n))
	}
	return append(out, major<<5|26, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}
