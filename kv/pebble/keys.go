package pebble

import "granary/kv"

// An item is stored under
//
//	partition 0xff sort
//
// UTF-8 has no byte 0xff, so nothing is escaped, no partition's range reaches
// into another's, and sort keys are in the order of their bytes. What is not
// an item begins with 0xff.
const separator = 0xff

var schemaKey = []byte("\xffschema")

// appendKey appends the stored form of a key.
func appendKey(b []byte, partition, sort string) []byte {
	b = append(b, partition...)
	b = append(b, separator)
	return append(b, sort...)
}

func encodeKey(k kv.Key) []byte {
	return appendKey(make([]byte, 0, len(k.Partition)+1+len(k.Sort)), k.Partition, k.Sort)
}

// bounds are those of a range of sort keys; to "" is the end.
func bounds(partition, from, to string) (lower, upper []byte) {
	lower = appendKey(nil, partition, from)
	if to == "" {
		return lower, append(appendKey(nil, partition, ""), separator)
	}
	return lower, appendKey(nil, partition, to)
}
