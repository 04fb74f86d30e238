package record

import (
	"fmt"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"granary/blob"
	"granary/digest"
	"granary/formats"
	"granary/kv"
)

// Content is what the collector looks at in a record, or in one of history:
// which content it needs. The rest is skipped.
type Content struct {
	Deleted bool        `cbor:"2,keyasint,omitempty"`
	Size    int64       `cbor:"3,keyasint,omitempty"`
	Sums    ContentSums `cbor:"5,keyasint"`
	Store   string      `cbor:"7,keyasint,omitempty"`
	Blob    blob.ID     `cbor:"8,keyasint,omitempty"`
}

// ContentSums is the part of the digests that names content.
type ContentSums struct {
	BLAKE3 []byte `cbor:"1,keyasint,omitempty"`
}

// ContentOf reads an item of records or history. A record without a blob has an
// empty Blob; formats.ErrCorrupt if a blob is named without the rest.
func ContentOf(item kv.Item) (Content, error) {
	var c Content
	if err := cbor.Unmarshal(item.Value, &c); err != nil {
		return c, fmt.Errorf("%w: record %v: %w", formats.ErrCorrupt, item.Key, err)
	}
	if c.Blob != "" && (c.Store == "" || len(c.Sums.BLAKE3) != digest.BLAKE3.Size()) {
		return c, fmt.Errorf("%w: record %v names blob %s without its content", formats.ErrCorrupt, item.Key, c.Blob)
	}
	return c, nil
}

// Hidden is [Record.Hidden].
func (c Content) Hidden(name string) bool {
	return len(c.Sums.BLAKE3) == 0 && strings.HasPrefix(name[strings.LastIndexByte(name, '/')+1:], ":")
}
