package repo

import (
	"errors"
	"fmt"
	"strings"

	"granary/blob"
	"granary/digest"
	"granary/formats"
	"granary/kv"
	"granary/repo/record"
)

// Named is a blob that something stored needs.
type Named struct {
	Store string // id
	Hash  []byte // BLAKE3 of its content
	Blob  blob.ID
}

// The kinds of items at a repository's index partitions.
const (
	stampSuffix = "stamp"
	dateSuffix  = "date"
	pubPrefix   = "pub/"
	docPrefix   = "doc/"
)

// Indexed is what the collector needs to know of an item of a repository's
// index: a stamp, a date, a publication or an upstream document.
type Indexed struct {
	Scope string
	// Publication is its key, "" for other items; Made is when it was
	// rendered, in Unix nanoseconds by the clock of the node that did.
	Publication string
	Made        int64
	Stamp       bool
	Dated       bool   // it is the latest date of a publication
	Document    string // path of an upstream's document, "" for other items
	Names       []Named
}

// ReadIndexed reads such an item. formats.ErrCorrupt if it can't be told which
// blobs it needs.
func ReadIndexed(item kv.Item) (Indexed, error) {
	scope, name, _ := strings.Cut(item.Sort, "//")
	x := Indexed{Scope: scope}
	var err error
	switch {
	case name == stampSuffix:
		x.Stamp = true
	case name == dateSuffix:
		x.Dated = true
	case strings.HasPrefix(name, pubPrefix):
		x.Publication = name[len(pubPrefix):]
		err = x.publication(item)
	case strings.HasPrefix(name, docPrefix):
		x.Document = name[len(docPrefix):]
		var d document
		if err = kv.Unmarshal(item.Value, &d); err == nil {
			err = x.add(d.Store, d.Sums, d.Blob)
		}
	default:
		err = errors.New("unknown kind")
	}
	if err != nil {
		return x, fmt.Errorf("%w: index item %v: %w", formats.ErrCorrupt, item.Key, err)
	}
	return x, nil
}

func (x *Indexed) publication(item kv.Item) error {
	var p publication
	if err := kv.Unmarshal(item.Value, &p); err != nil {
		return err
	}
	x.Made = p.Made
	for _, f := range p.Files {
		if err := x.add(p.Store, f.Sums, f.Blob); err != nil {
			return err
		}
		if f.Gzip != nil {
			if err := x.add(p.Store, f.Gzip.Sums, f.Gzip.Blob); err != nil {
				return err
			}
		}
	}
	return nil
}

func (x *Indexed) add(store string, sums digest.Sums, id blob.ID) error {
	if id == "" {
		return nil
	}
	if store == "" || len(sums.BLAKE3) != digest.BLAKE3.Size() {
		return fmt.Errorf("blob %s without its content", id)
	}
	x.Names = append(x.Names, Named{store, sums.BLAKE3, id})
	return nil
}

// ReadHistory reads an item of history: ok is false if what it kept needs no
// blob. What an upstream document was has the form of a record there.
// formats.ErrCorrupt if it can't be told.
func ReadHistory(item kv.Item) (n Named, ok bool, err error) {
	c, err := record.ContentOf(item)
	if err != nil || c.Blob == "" {
		return n, false, err
	}
	return Named{c.Store, c.Sums.BLAKE3, c.Blob}, true, nil
}
