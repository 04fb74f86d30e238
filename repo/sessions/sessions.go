// Package sessions keeps upload sessions: everything under u/ of a repository.
// Any node continues what another began, since all there is to know lies in the
// key-value store and the bytes in the blob store.
//
// # Parts
//
// The bytes of a request become one part: content of the blob store with a
// reference of its own, or bytes in the item if they are few. A part counts when
// the session says so, which is one compare-and-swap of its offset: of two
// requests that append at one offset one wins, on whatever nodes they ran. The
// first part lies in the session itself, as most uploads have no other. Later
// ones have items of their own, written before the session names the last of
// them by its nonce; each names its predecessor.
//
// In a store that takes a blob in pieces the parts are pieces of what the upload
// becomes, see [Whole]: nothing is moved again at the end. Their numbers are taken
// by a compare-and-swap before they are sent, and never given to another request.
//
// # End
//
// A session ends as Done, which names the record that it became, so that a
// client whose answer was lost may finish again. Putting several parts together
// takes a while: the session is Finishing meanwhile and takes no more bytes, and
// any node may do the work over. What is abandoned is removed by a task of the
// collector, see [Session.Expired]; no item expires by itself.
package sessions

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"time"

	"granary/blob"
	"granary/digest"
	"granary/formats"
	"granary/kv"
)

// State is where a session is in its life.
type State uint8

// The states; Open is the first.
const (
	Open      State = iota
	Finishing       // its parts are being put together
	Done            // Name is the record that it became
)

// Session is an upload session as stored.
type Session struct {
	kv.Extra `cbor:"-"`

	Scope   string `cbor:"1,keyasint"`            // that the record will have
	Created int64  `cbor:"2,keyasint"`            // Unix ns
	Updated int64  `cbor:"3,keyasint"`            // Unix ns of the last part
	Offset  int64  `cbor:"4,keyasint,omitempty"`  // bytes so far
	Parts   int    `cbor:"5,keyasint,omitempty"`  // so far
	Hash    []byte `cbor:"6,keyasint,omitempty"`  // state of SHA-256 at Offset
	First   *Part  `cbor:"7,keyasint,omitempty"`  // the first part
	Last    uint64 `cbor:"8,keyasint,omitempty"`  // nonce of the last, if there are more than one
	State   State  `cbor:"9,keyasint,omitempty"`  //
	Name    string `cbor:"10,keyasint,omitempty"` // of the record, while Finishing and when Done
	Whole   *Whole `cbor:"11,keyasint,omitempty"` // where the parts become one blob as they come
}

// Whole is the blob that an upload becomes in a store that takes it in pieces
// ([blob.Extender]). It has the first Parts parts; those behind it are too short
// for a piece of their own, and go into the next one.
type Whole struct {
	kv.Extra `cbor:"-"`

	Store  string  `cbor:"1,keyasint"`
	Blob   blob.ID `cbor:"2,keyasint"`
	Upload string  `cbor:"3,keyasint"`           // the store's name for it
	Next   int     `cbor:"4,keyasint"`           // number of a piece that nobody was given
	Parts  int     `cbor:"5,keyasint,omitempty"` // that are in it
	Offset int64   `cbor:"6,keyasint,omitempty"` // of its end
	Hash   []byte  `cbor:"7,keyasint,omitempty"` // state of SHA-256 there
}

// Expired tells whether a session was abandoned: ttl has passed since its last
// part.
func (s *Session) Expired(now time.Time, ttl time.Duration) bool {
	return now.Sub(time.Unix(0, s.Updated)) > ttl
}

// Part is what one request brought.
type Part struct {
	kv.Extra `cbor:"-"`

	Size     int64       `cbor:"1,keyasint"`
	Sums     digest.Sums `cbor:"2,keyasint"` // BLAKE3 of the part, SHA-256 of all up to its end
	Inline   []byte      `cbor:"3,keyasint,omitempty"`
	Store    string      `cbor:"4,keyasint,omitempty"` // "" if inline
	Blob     blob.ID     `cbor:"5,keyasint,omitempty"`
	Nonce    uint64      `cbor:"6,keyasint,omitempty"`
	Previous uint64      `cbor:"7,keyasint,omitempty"` // nonce of the part before, 0 for the first
	Fresh    bool        `cbor:"8,keyasint,omitempty"` // the content was not known before
	// Pieces of the whole are the bytes of this part, and of those before it that
	// were none.
	Pieces []blob.Piece `cbor:"9,keyasint,omitempty"`
}

// Store keeps the sessions of all repositories. It is used concurrently.
type Store struct {
	KV  kv.Store
	Now func() time.Time
}

func (s *Store) sessions() kv.Table[Session] { return kv.Table[Session]{Store: s.KV} }

// Create makes a session. It is durable with the first part: what is lost
// before has no bytes.
func (s *Store) Create(ctx context.Context, sp kv.Space, id, scope string) (Session, kv.Version, error) {
	now := s.Now().UnixNano()
	v := Session{Scope: scope, Created: now, Updated: now}
	version, err := s.lazily(ctx, sp.Upload(id), v, "")
	return v, version, err
}

func (s *Store) lazily(ctx context.Context, key kv.Key, v Session, old kv.Version) (kv.Version, error) {
	data, err := kv.Marshal(v)
	if err != nil {
		return "", err
	}
	item := kv.Item{Key: key, Value: data, Version: kv.NewVersion()}
	if err := kv.PutIfLazy(ctx, s.KV, item, old); err != nil {
		return "", fmt.Errorf("write upload session %v: %w", key, err)
	}
	return item.Version, nil
}

// Get returns a session as it is now, or formats.ErrNotFound.
func (s *Store) Get(ctx context.Context, sp kv.Space, id string) (Session, kv.Version, error) {
	v, version, err := s.sessions().Get(ctx, sp.Upload(id), kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) {
		return v, "", fmt.Errorf("upload session %s: %w", id, formats.ErrNotFound)
	}
	if err != nil {
		return v, "", fmt.Errorf("read upload session %s: %w", id, err)
	}
	return v, version, nil
}

// Append makes a part the last of a session that was read at a version; state
// is that of SHA-256 after it. formats.ErrRaced: another request was faster.
func (s *Store) Append(ctx context.Context, sp kv.Space, id string, v Session, version kv.Version, p Part, state []byte) (Session, kv.Version, error) {
	p.Nonce = max(1, rand.Uint64()) //nolint:gosec // only to be unlikely the same twice
	next := v
	next.Offset, next.Parts, next.Hash, next.Updated = v.Offset+p.Size, v.Parts+1, state, s.Now().UnixNano()
	var own kv.Key
	var wrote kv.Version
	if v.Parts == 0 {
		next.First, next.Last = &p, p.Nonce
	} else {
		p.Previous = v.Last
		next.Last = p.Nonce
		own = sp.UploadPart(id, next.Parts, p.Nonce)
		var err error
		if wrote, err = (kv.Table[Part]{Store: s.KV}).Create(ctx, own, p); err != nil {
			return v, version, fmt.Errorf("write part %d of upload session %s: %w", next.Parts, id, err)
		}
	}
	now, err := s.sessions().Replace(ctx, sp.Upload(id), next, version)
	if err == nil {
		return next, now, nil
	}
	if !errors.Is(err, kv.ErrConflict) {
		return v, version, fmt.Errorf("write upload session %s: %w", id, err)
	}
	if wrote != "" {
		// It counts for nothing; what is left of it goes with the session.
		_ = s.KV.DeleteIf(ctx, own, wrote)
	}
	return v, version, fmt.Errorf("upload session %s: %w", id, formats.ErrRaced)
}

// Reserve writes what a session says of its whole, before the bytes are sent:
// of two requests that extend it one goes on.
func (s *Store) Reserve(ctx context.Context, sp kv.Space, id string, v Session, version kv.Version, w Whole) (Session, kv.Version, error) {
	v.Whole = &w
	return s.replace(ctx, sp, id, v, version)
}

// Finishing says that a session takes no more bytes and becomes the record
// called name.
func (s *Store) Finishing(ctx context.Context, sp kv.Space, id string, v Session, version kv.Version, name string) (Session, kv.Version, error) {
	v.State, v.Name = Finishing, name
	return s.replace(ctx, sp, id, v, version)
}

// replace writes a session that was read at a version, or is ErrRaced.
func (s *Store) replace(ctx context.Context, sp kv.Space, id string, v Session, version kv.Version) (Session, kv.Version, error) {
	now, err := s.sessions().Replace(ctx, sp.Upload(id), v, version)
	if errors.Is(err, kv.ErrConflict) {
		return v, version, fmt.Errorf("upload session %s: %w", id, formats.ErrRaced)
	}
	if err != nil {
		return v, version, fmt.Errorf("write upload session %s: %w", id, err)
	}
	return v, now, nil
}

// Done says that a session has become the record called name. Its parts go;
// what can't be removed now is left to the collector. It changes nothing if
// another request was faster: the record is there whatever the session says.
func (s *Store) Done(ctx context.Context, sp kv.Space, id string, v Session, version kv.Version, name string) error {
	parts := v.Parts
	v.State, v.Name, v.First, v.Hash, v.Whole = Done, name, nil, nil, nil
	_, err := s.lazily(ctx, sp.Upload(id), v, version)
	if errors.Is(err, kv.ErrConflict) {
		return nil
	}
	if err != nil || parts < 2 {
		return err
	}
	return s.dropParts(ctx, sp, id)
}

// Remove drops a session and its parts. formats.ErrRaced: it is not what was
// read at the version any more.
func (s *Store) Remove(ctx context.Context, sp kv.Space, id string, version kv.Version) error {
	err := s.sessions().Delete(ctx, sp.Upload(id), version)
	if errors.Is(err, kv.ErrConflict) {
		return fmt.Errorf("upload session %s: %w", id, formats.ErrRaced)
	}
	if err != nil {
		return fmt.Errorf("drop upload session %s: %w", id, err)
	}
	return s.dropParts(ctx, sp, id)
}

func (s *Store) dropParts(ctx context.Context, sp kv.Space, id string) error {
	from, to := kv.UploadPartsRange(id)
	for item, err := range s.KV.Query(ctx, sp.Upload(id).Partition, from, to, kv.Consistent, kv.KeysOnly) {
		if err == nil {
			err = s.KV.DeleteIf(ctx, item.Key, item.Version)
		}
		if err != nil && !errors.Is(err, kv.ErrConflict) {
			return fmt.Errorf("drop the parts of upload session %s: %w", id, err)
		}
	}
	return nil
}

// Parts returns the parts of a session that count, in order.
func (s *Store) Parts(ctx context.Context, sp kv.Space, id string, v *Session) ([]Part, error) {
	if v.First == nil {
		return nil, nil
	}
	out := make([]Part, v.Parts)
	out[0] = *v.First
	if v.Parts == 1 {
		return out, nil
	}
	found := map[uint64]Part{}
	from, to := kv.UploadPartsRange(id)
	for row, err := range (kv.Table[Part]{Store: s.KV}).Query(ctx, sp.Upload(id).Partition, from, to, kv.Consistent) {
		if err != nil {
			return nil, fmt.Errorf("read the parts of upload session %s: %w", id, err)
		}
		found[row.Value.Nonce] = row.Value
	}
	nonce := v.Last
	for i := v.Parts - 1; i > 0; i-- {
		p, ok := found[nonce]
		if !ok {
			return nil, fmt.Errorf("%w: part %d of upload session %s", formats.ErrCorrupt, i+1, id)
		}
		out[i], nonce = p, p.Previous
	}
	return out, nil
}

// Stored is an item under u/: a session, or a part of one.
type Stored struct {
	Key     kv.Key
	Version kv.Version
	ID      string   // of the session
	Session *Session // nil for a part
	Part    *Part    // nil for a session; its first part is in Session.First
}

// Scan yields all sessions whose UUID begins with prefix, two hex digits, each
// followed by its parts, read consistently, and one error, last. Parts may
// have no session: a crash left them.
func (s *Store) Scan(ctx context.Context, sp kv.Space, prefix string) iter.Seq2[Stored, error] {
	return func(yield func(Stored, error) bool) {
		for item, err := range s.KV.Query(ctx, sp.Uploads(prefix), "", "", kv.Consistent) {
			var v Stored
			if err == nil {
				v, err = Decode(item)
			}
			if !yield(v, err) || err != nil {
				return
			}
		}
	}
}
