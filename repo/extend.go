package repo

import (
	"context"
	"errors"
	"fmt"
	"io"

	"granary/blob"
	"granary/digest"
	"granary/formats"
	"granary/repo/refs"
	"granary/repo/sessions"
)

// extend takes a chunk as pieces of the blob that the upload becomes, together
// with what came before it and was too short for a piece. ok is false if the
// chunk is to be a part by itself: its length is unknown, there is not enough
// yet, or it may be all that comes.
func (s *session) extend(ctx context.Context, tx *tx, e blob.Extender, c formats.Chunk) (ok bool, err error) {
	whole := sessions.Whole{Store: s.repo.Store, Next: 1}
	if s.now.Whole != nil {
		whole = *s.now.Whole
	}
	short := s.now.Offset - whole.Offset
	if c.Size < 0 || short+c.Size < e.LeastPiece() || c.At < 0 && s.now.Parts == 0 || whole.Store != s.repo.Store {
		return false, nil
	}
	most := s.service.Registry.Settings().MaxArtifactBytes
	if s.now.Offset+c.Size > most {
		return true, fmt.Errorf("%w: at most %d bytes are possible", formats.ErrTooLarge, most)
	}
	parts, err := s.service.uploads.Parts(ctx, s.repo.space, s.id, &s.now)
	if err != nil {
		return true, err
	}
	number, err := s.reserve(ctx, e, whole, short+c.Size)
	if err != nil {
		return true, err
	}
	before := &joined{ctx: ctx, service: s.service, parts: parts[whole.Parts:]}
	defer before.Close() //nolint:errcheck // only read
	to := &pieces{Extender: e, whole: *s.now.Whole, number: number}
	o := s.service.receiveOptions(short + c.Size)
	o.After, o.Continued, o.Inline, o.Patient = whole.Hash, true, -1, true
	rc, err := blob.Receive(ctx, to, io.MultiReader(before, c.Body), o)
	if err != nil {
		return true, tx.explain(err)
	}
	s.service.Observer.Received(s.service.Now().Sub(tx.began))
	defer s.service.discard(ctx, rc)
	ctx, cancel := uninterrupted(ctx)
	defer cancel()
	if _, err := rc.Persist(ctx); err != nil {
		return true, tx.explain(err)
	}
	return true, s.extended(ctx, sessions.Part{Size: c.Size, Sums: rc.Sums(), Pieces: to.writer.Pieces()}, rc.State())
}

// reserve takes numbers for pieces of size bytes in all, and returns the first.
func (s *session) reserve(ctx context.Context, e blob.Extender, whole sessions.Whole, size int64) (int, error) {
	begun := whole.Upload == ""
	if begun {
		var err error
		if whole.Blob, err = s.service.ids.NewID(); err != nil {
			return 0, err
		}
		if whole.Upload, err = e.Begin(ctx, whole.Blob); err != nil {
			return 0, err
		}
	}
	number := whole.Next
	whole.Next += e.Pieces(number, size)
	now, version, err := s.service.uploads.Reserve(ctx, s.repo.space, s.id, s.now, s.version, whole)
	if err != nil {
		if begun && errors.Is(err, formats.ErrRaced) {
			err = errors.Join(err, e.Drop(ctx, whole.Blob, whole.Upload))
		}
		return 0, err
	}
	s.now, s.version = now, version
	return number, nil
}

// extended makes pieces that the store has the last part.
func (s *session) extended(ctx context.Context, p sessions.Part, state []byte) error {
	next := s.now
	whole := *next.Whole
	whole.Parts, whole.Offset, whole.Hash = next.Parts+1, next.Offset+p.Size, state
	next.Whole = &whole
	now, version, err := s.service.uploads.Append(ctx, s.repo.space, s.id, next, s.version, p, state)
	if err != nil {
		return err
	}
	s.now, s.version = now, version
	return nil
}

// assemble lets the store make one blob of the pieces, and publishes it. It may
// be done again after a crash at any place.
func (s *session) assemble(ctx context.Context, rec formats.Record, want digest.Sums, parts []sessions.Part) (formats.Record, error) {
	whole := s.now.Whole
	store, err := s.service.Store(ctx, whole.Store)
	if err != nil {
		return formats.Record{}, err
	}
	e, ok := blob.As[blob.Extender](store)
	if !ok || whole.Store != s.repo.Store {
		return formats.Record{}, fmt.Errorf("upload session %s: its store has changed: %w", s.id, formats.ErrRaced)
	}
	var all []blob.Piece
	for _, p := range parts[:whole.Parts] {
		all = append(all, p.Pieces...)
	}
	if rest := s.now.Offset - whole.Offset; rest > 0 {
		last, err := s.rest(ctx, e, parts[whole.Parts:], rest)
		if err != nil {
			return formats.Record{}, err
		}
		all = append(all, last...)
	}
	if err := e.Assemble(ctx, whole.Blob, whole.Upload, all); err != nil {
		return formats.Record{}, err
	}
	own := &assembled{id: whole.Blob, size: s.now.Offset, sums: parts[0].Sums}
	if len(parts) > 1 || !known(own.sums, want) {
		if own.sums, err = s.hash(ctx, e, own, want); err != nil {
			return formats.Record{}, err
		}
	}
	if err := own.sums.Check(want); err != nil {
		return formats.Record{}, fmt.Errorf("%w: %w", formats.ErrChecksum, err)
	}
	if _, err := s.service.Refs.Hold(ctx, whole.Store, store, own); err != nil {
		return formats.Record{}, fmt.Errorf("store upload session %s: %w", s.id, err)
	}
	out, err := s.keep(ctx, rec, sessions.Part{Size: own.size, Sums: own.sums, Store: whole.Store, Fresh: own.kept})
	if err == nil && !own.kept {
		// The store had that content. What can't be deleted is the collector's.
		if err := store.Delete(ctx, whole.Blob); err != nil {
			s.service.Log.WarnContext(ctx, "delete a second copy", "blob", whole.Blob, "error", err)
		}
	}
	return out, err
}

// rest sends the parts that were too short as the last pieces.
func (s *session) rest(ctx context.Context, e blob.Extender, parts []sessions.Part, size int64) ([]blob.Piece, error) {
	r := &joined{ctx: ctx, service: s.service, parts: parts}
	defer r.Close() //nolint:errcheck // only read
	// Numbers that nobody has: who finishes as well sends the same bytes.
	w, err := e.Extend(ctx, s.now.Whole.Blob, s.now.Whole.Upload, s.now.Whole.Next, size)
	if err != nil {
		return nil, err
	}
	if _, err = io.Copy(w, r); err == nil {
		err = w.Commit(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("end upload session %s: %w", s.id, err), w.Abort(ctx))
	}
	return w.Pieces(), nil
}

// hash reads what was assembled, for the digests that its pieces don't tell.
func (s *session) hash(ctx context.Context, store blob.Store, own *assembled, want digest.Sums) (digest.Sums, error) {
	r, err := store.Open(ctx, own.id, 0, -1)
	if err != nil {
		return digest.Sums{}, fmt.Errorf("read upload session %s: %w", s.id, err)
	}
	defer r.Close() //nolint:errcheck // only read
	h := digest.NewHasher(want.Algorithms()...)
	defer h.Release()
	if _, err := io.Copy(h, r); err != nil {
		return digest.Sums{}, fmt.Errorf("read upload session %s: %w", s.id, err)
	}
	if h.Len() != own.size {
		return digest.Sums{}, fmt.Errorf("%w: upload session %s has become %d bytes, not %d", formats.ErrCorrupt, s.id, h.Len(), own.size)
	}
	return h.Sums(), nil
}

// dropWhole gives up the blob that an upload did not become.
func (s *Service) dropWhole(ctx context.Context, w sessions.Whole) error {
	store, err := s.Store(ctx, w.Store)
	if err != nil {
		return err
	}
	e, ok := blob.As[blob.Extender](store)
	if !ok {
		return nil // the store has become another: its own rules clean up
	}
	return e.Drop(ctx, w.Blob, w.Upload)
}

// pieces is the store that a chunk is received into: what is created there
// becomes pieces of the whole. One body goes into one.
type pieces struct {
	blob.Extender
	whole  sessions.Whole
	number int
	writer blob.Extension
}

// Create implements [blob.Store].
func (p *pieces) Create(ctx context.Context, _ blob.ID, size int64) (blob.Writer, error) {
	var err error
	p.writer, err = p.Extend(ctx, p.whole.Blob, p.whole.Upload, p.number, size)
	return p.writer, err
}

// Delete implements [blob.Store]: pieces can't be deleted, and count for nothing
// unless the session names them.
func (p *pieces) Delete(context.Context, blob.ID) error { return nil }

// assembled is content that the store has as a blob already.
type assembled struct {
	id   blob.ID
	size int64
	sums digest.Sums
	kept bool // a reference names it
}

var _ refs.Received = (*assembled)(nil)

func (a *assembled) Size() int64       { return a.size }
func (a *assembled) Sums() digest.Sums { return a.sums }
func (a *assembled) Keep()             { a.kept = true }

func (a *assembled) Persist(context.Context) (blob.ID, error) { return a.id, nil }
