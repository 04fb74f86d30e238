package gc

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"granary/blob"
	"granary/kv"
)

// list names a list in pieces, at g/<round> list/<id>/<piece>. Its entries are
// (name, version), in order of names.
type list struct {
	ID     blob.ID `cbor:"1,keyasint,omitempty"`
	Pieces int     `cbor:"2,keyasint,omitempty"`
	Count  int64   `cbor:"3,keyasint,omitempty"`
}

// pieceSize is how many bytes of entries are stored together.
const pieceSize = 128 << 10

// piece is part of a list.
type piece struct {
	kv.Extra `cbor:"-"`

	Entries []byte `cbor:"1,keyasint"`
}

func pieceName(id blob.ID, n int) string { return fmt.Sprintf("list/%s/%08d", id, n) }

// lister writes a list under an id of its own, so that several workers at one
// part don't meet.
type lister struct {
	c     *Collector
	round blob.ID
	list  list
	buf   []byte
}

func (c *Collector) lister(round blob.ID) (*lister, error) {
	id, err := c.ids.NewID()
	if err != nil {
		return nil, err
	}
	return &lister{c: c, round: round, list: list{ID: id}}, nil
}

// add appends an entry; neither name nor version has more than 255 bytes.
func (l *lister) add(ctx context.Context, name []byte, version string) error {
	l.buf = append(l.buf, byte(len(name)))
	l.buf = append(l.buf, name...)
	l.buf = append(l.buf, byte(len(version)))
	l.buf = append(l.buf, version...)
	l.list.Count++
	if len(l.buf) < pieceSize {
		return nil
	}
	return l.flush(ctx)
}

func (l *lister) flush(ctx context.Context) error {
	if len(l.buf) == 0 {
		return nil
	}
	key := kv.RoundPart(string(l.round), pieceName(l.list.ID, l.list.Pieces))
	if _, err := table[piece](l.c).Create(ctx, key, piece{Entries: l.buf}); err != nil {
		return fmt.Errorf("write a list of round %s: %w", l.round, err)
	}
	l.list.Pieces++
	l.buf = nil
	return nil
}

// end writes what is left; an empty list is the zero one.
func (l *lister) end(ctx context.Context) (list, error) {
	if err := l.flush(ctx); err != nil || l.list.Count == 0 {
		return list{}, err
	}
	return l.list, nil
}

// errList is returned for a list that lacks a piece or does not decode.
var errList = errors.New("gc: a list is damaged")

// reader goes through a list in order, a piece in memory at a time.
type reader struct {
	c     *Collector
	round blob.ID
	list  list
	next  int // piece
	buf   []byte
	// The entry that is up.
	name, version []byte
	more          bool
}

func (c *Collector) reader(ctx context.Context, round blob.ID, l list) (*reader, error) {
	r := &reader{c: c, round: round, list: l, more: true}
	return r, r.advance(ctx)
}

func (r *reader) advance(ctx context.Context) error {
	if len(r.buf) == 0 {
		if r.next >= r.list.Pieces {
			r.more = false
			return nil
		}
		p, ok, err := outcome[piece](ctx, r.c, r.round, pieceName(r.list.ID, r.next))
		if err != nil {
			return err
		}
		if !ok || len(p.Entries) == 0 {
			return fmt.Errorf("%w: piece %d of %s of round %s", errList, r.next, r.list.ID, r.round)
		}
		r.next++
		r.buf = p.Entries
	}
	var ok1, ok2 bool
	r.name, r.buf, ok1 = cut(r.buf)
	r.version, r.buf, ok2 = cut(r.buf)
	if !ok1 || !ok2 {
		return fmt.Errorf("%w: an entry of %s of round %s", errList, r.list.ID, r.round)
	}
	return nil
}

func cut(b []byte) (field, rest []byte, ok bool) {
	if len(b) == 0 || len(b) < 1+int(b[0]) {
		return nil, nil, false
	}
	n := 1 + int(b[0])
	return b[1:n], b[n:], true
}

// version returns the version under which a name is listed. Names are asked
// for in order.
func (r *reader) find(ctx context.Context, name []byte) (version string, ok bool, err error) {
	for r.more && bytes.Compare(r.name, name) < 0 {
		if err := r.advance(ctx); err != nil {
			return "", false, err
		}
	}
	if r.more && bytes.Equal(r.name, name) {
		return string(r.version), true, nil
	}
	return "", false, nil
}
