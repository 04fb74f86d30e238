package pebble

import (
	"encoding/binary"
	"errors"
	"time"

	"granary/kv"
)

// A stored value is
//
//	flags (1 byte) | length of version (uvarint) | version | expiry (8 bytes, if flagged) | value
const hasExpiry = 1

// errCorrupt is for a stored value that can't be what appendRecord wrote.
var errCorrupt = errors.New("pebble: corrupt record")

// record is a stored value taken apart; it refers to the bytes it was read from.
type record struct {
	version []byte
	expires int64 // Unix seconds; only with expiring
	value   []byte

	expiring bool
}

func encodeRecord(item kv.Item) []byte {
	b := make([]byte, 0, 1+binary.MaxVarintLen64+len(item.Version)+8+len(item.Value))
	flags := byte(0)
	if !item.Expires.IsZero() {
		flags |= hasExpiry
	}
	b = append(b, flags)
	b = binary.AppendUvarint(b, uint64(len(item.Version)))
	b = append(b, item.Version...)
	if flags&hasExpiry != 0 {
		b = binary.BigEndian.AppendUint64(b, uint64(item.Expires.Unix()))
	}
	return append(b, item.Value...)
}

func decodeRecord(b []byte) (r record, err error) {
	if len(b) == 0 || b[0]&^hasExpiry != 0 {
		return record{}, errCorrupt
	}
	r.expiring = b[0]&hasExpiry != 0
	n, width := binary.Uvarint(b[1:])
	if width <= 0 || n > uint64(len(b)-1-width) {
		return record{}, errCorrupt
	}
	b = b[1+width:]
	r.version, b = b[:n], b[n:]
	if r.expiring {
		if len(b) < 8 {
			return record{}, errCorrupt
		}
		r.expires, b = int64(binary.BigEndian.Uint64(b)), b[8:]
	}
	r.value = b
	return r, nil
}

// live reports whether the record is there for callers; see [kv.Item.Expired].
func (r record) live(now time.Time) bool {
	return !r.expiring || now.Unix() < r.expires
}

// item copies the record out of the memory of the engine.
func (r record) item(key kv.Key, withValue bool) kv.Item {
	i := kv.Item{Key: key, Version: kv.Version(r.version)}
	if r.expiring {
		i.Expires = time.Unix(r.expires, 0)
	}
	if withValue {
		i.Value = append(make([]byte, 0, len(r.value)), r.value...)
	}
	return i
}
