package record

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"granary/blob"
	"granary/digest"
	"granary/formats"
	"granary/kv"
)

// Record is one file, version, tag or pointer as stored. Times are Unix
// nanoseconds.
type Record struct {
	kv.Extra `cbor:"-"`

	// Since is the time from which on this record holds: that of the write, but
	// always later than its predecessor's. [Store.Put] sets it.
	Since   int64 `cbor:"1,keyasint,omitempty"`
	Deleted bool  `cbor:"2,keyasint,omitempty"` // a tombstone: there has been nothing since Since

	Size   int64       `cbor:"3,keyasint,omitempty"`
	Type   string      `cbor:"4,keyasint,omitempty"` // media type
	Sums   digest.Sums `cbor:"5,keyasint,omitzero"`  // zero for a record without bytes of its own
	Inline []byte      `cbor:"6,keyasint,omitempty"` // the bytes, if they are short
	Store  string      `cbor:"7,keyasint,omitempty"` // id of the blob store, "" if inline or without bytes
	Blob   blob.ID     `cbor:"8,keyasint,omitempty"`

	Created int64 `cbor:"9,keyasint,omitempty"`  // first time at this path; survives being replaced
	Updated int64 `cbor:"10,keyasint,omitempty"` // when this content was published

	Meta []byte `cbor:"11,keyasint,omitempty"`
	Path string `cbor:"12,keyasint,omitempty"`
	URL  string `cbor:"13,keyasint,omitempty"`
	Move bool   `cbor:"14,keyasint,omitempty"`

	Origin *Origin `cbor:"15,keyasint,omitempty"` // caches: where it came from

	// Nonce tells writes apart that are equal in all else. Put sets it.
	Nonce uint64 `cbor:"16,keyasint,omitempty"`

	// Commit, if set, keeps the record from being seen before the commit of
	// that id exists ([Store.Commit]); till then what it replaced is.
	Commit string `cbor:"17,keyasint,omitempty"`

	// Leaving is not zero while a removal is under way that takes along what
	// points at the record: a mark by which that knows whether the record was
	// written since. See [Store.Retire].
	Leaving uint64 `cbor:"18,keyasint,omitempty"`
}

// Origin is what a cache remembers of the upstream's answer.
type Origin struct {
	kv.Extra `cbor:"-"`

	ETag         string `cbor:"1,keyasint,omitempty"`
	LastModified string `cbor:"2,keyasint,omitempty"`
	Checked      int64  `cbor:"3,keyasint,omitempty"` // Unix ns of the last successful revalidation
	URL          string `cbor:"4,keyasint,omitempty"`
}

// Public is the record as formats see it.
func (r Record) Public(scope, name string) formats.Record {
	return formats.Record{
		Scope: scope, Name: name, Path: r.Path, URL: r.URL, Type: r.Type,
		Sums: r.Sums, Size: r.Size, Time: time.Unix(0, r.Updated).UTC(), Move: r.Move, Meta: r.Meta,
		Created: time.Unix(0, r.Created).UTC(), Blob: string(r.Blob),
	}
}

// Hidden tells whether the record, called name, is left out of listings and
// counters: a tag, pointer or index entry, whose last segment begins with ":"
// and which has no bytes of its own.
func (r Record) Hidden(name string) bool {
	return strings.HasPrefix(name[strings.LastIndexByte(name, '/')+1:], ":") && r.Sums.IsZero()
}

// same tells whether r and o are the same state: equal but for what [Store.Update]
// may change.
func (r Record) same(o Record) bool {
	return r.Since == o.Since && r.Deleted == o.Deleted && r.Commit == o.Commit && r.sameContent(o)
}

func (r Record) sameContent(o Record) bool {
	return r.Size == o.Size && r.Type == o.Type && bytes.Equal(r.Sums.BLAKE3, o.Sums.BLAKE3) && bytes.Equal(r.Inline, o.Inline) &&
		(r.Blob == "") == (o.Blob == "") && bytes.Equal(r.Meta, o.Meta) && r.Path == o.Path && r.URL == o.URL && r.Move == o.Move
}

// Decode reads the value of an item at a record's key, or at one of history.
func Decode(item kv.Item) (Record, error) {
	var r Record
	if err := kv.Unmarshal(item.Value, &r); err != nil {
		return Record{}, fmt.Errorf("%w: record %v: %w", formats.ErrCorrupt, item.Key, err)
	}
	return r, nil
}

// checkName refuses what would not come back from the key as it went in.
func checkName(scope, name string) error {
	if name == "" || !wellFormed(name) || scope != "" && !wellFormed(scope) {
		return formats.BadRequest("%q is no name of a record", formats.Join(scope, name))
	}
	return nil
}

func wellFormed(s string) bool {
	if strings.HasPrefix(s, "/") || strings.HasSuffix(s, "/") || strings.Contains(s, "//") {
		return false
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] == 0x7f {
			return false
		}
	}
	return true
}
