package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"

	"granary/blob"
	"granary/digest"
	"granary/formats"
	"granary/kv"
	"granary/repo/refs"
	"granary/repo/sessions"
)

// uploads is formats.Uploads: what a Call of the format may publish.
type uploads struct{ handle *Handle }

var _ formats.Uploads = uploads{}

// target is the repository that takes the bytes; through a group it is the
// same as if it were addressed itself.
func (u uploads) target(ctx context.Context) (*hosted, error) {
	if err := u.handle.changeable(); err != nil {
		return nil, err
	}
	return u.handle.writeTarget(ctx)
}

func (u uploads) Begin(ctx context.Context, scope string) (formats.Session, error) {
	h, err := u.target(ctx)
	if err != nil {
		return nil, err
	}
	// A store that can't be opened is told before a client sends its bytes.
	if _, err := h.service.Store(ctx, h.repo.Store); err != nil {
		return nil, err
	}
	s := &session{uploads: u, hosted: h, id: uuid.NewString()}
	s.now, s.version, err = h.service.uploads.Create(ctx, h.repo.space, s.id, scope)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (u uploads) Find(ctx context.Context, scope, id string) (formats.Session, error) {
	h, err := u.target(ctx)
	if err != nil {
		return nil, err
	}
	missing := fmt.Errorf("upload session: %w", formats.ErrNotFound)
	if parsed, err := uuid.Parse(id); err != nil || parsed.String() != id {
		return nil, missing
	}
	s := &session{uploads: u, hosted: h, id: id}
	if err := s.load(ctx); err != nil {
		return nil, err
	}
	ttl := time.Duration(h.service.Registry.Settings().UploadSessionTTL) * time.Second
	if s.now.Scope != scope || s.now.Expired(h.service.Now(), ttl) {
		return nil, missing
	}
	return s, nil
}

func (u uploads) Publish(ctx context.Context, rec formats.Record, body io.Reader, size int64, want digest.Sums) (formats.Record, error) {
	h, err := u.target(ctx)
	if err != nil {
		return formats.Record{}, err
	}
	defer h.service.uploading()()
	return h.publishBody(ctx, rec, body, size, want)
}

// publishBody stores a body as one record, as Accept of most formats would.
func (h *hosted) publishBody(ctx context.Context, rec formats.Record, body io.Reader, size int64, want digest.Sums) (formats.Record, error) {
	tx, err := newTx(ctx, h, &formats.Upload{Body: body, Size: size}, Precondition{})
	if err != nil {
		return formats.Record{}, err
	}
	defer tx.close(ctx)
	if err := tx.announced(); err != nil {
		return formats.Record{}, err
	}
	b, err := tx.Blob(ctx, body, want.Algorithms()...)
	if err != nil {
		return formats.Record{}, tx.explain(err)
	}
	if err := formats.CheckSums(b, want); err != nil {
		return formats.Record{}, err
	}
	tx.Put(rec, b)
	return tx.one(ctx)
}

// one commits a transaction of one record.
func (t *tx) one(ctx context.Context) (formats.Record, error) {
	recs, err := t.commit(ctx)
	if err != nil {
		return formats.Record{}, err
	}
	return recs[0], nil
}

// Mount uses the content that another repository has, where the target's store
// has it too.
func (u uploads) Mount(ctx context.Context, from string, at func(string) formats.Op, rec formats.Record) (formats.Record, error) {
	h, err := u.target(ctx)
	if err != nil {
		return formats.Record{}, err
	}
	missing := fmt.Errorf("%s: %w", from, formats.ErrNotFound)
	if u.handle.Source == nil {
		return formats.Record{}, missing
	}
	repository, within, ok := u.handle.Source(from)
	if !ok || !u.handle.access(formats.VerbRead, repository) {
		return formats.Record{}, missing
	}
	src, err := h.service.Open(ctx, repository, u.handle.access)
	if err != nil {
		return formats.Record{}, err
	}
	if src.Config.Format != h.repo.Format {
		return formats.Record{}, missing
	}
	c, err := src.view.find(ctx, at(within), false)
	if err != nil {
		return formats.Record{}, err
	}
	if len(c.Sums.BLAKE3) == 0 {
		return formats.Record{}, missing // it is only just arriving
	}
	kept := &content{size: c.Size, sums: c.Sums, inline: c.Inline}
	if c.BlobID != "" {
		kept.store = h.repo.Store
	}
	tx, err := newTx(ctx, h, nil, Precondition{})
	if err != nil {
		return formats.Record{}, err
	}
	tx.puts = append(tx.puts, put{rec: rec, kept: kept})
	out, err := tx.one(ctx)
	if errors.Is(err, refs.ErrNotFound) || errors.Is(err, refs.ErrLost) {
		return out, missing
	}
	return out, err
}

// session is formats.Session as this request last saw it.
type session struct {
	uploads
	*hosted
	id      string
	now     sessions.Session
	version kv.Version
}

func (s *session) ID() string { return s.id }

func (s *session) Offset() int64 {
	if s.now.State == sessions.Done {
		return -1
	}
	return s.now.Offset
}

func (s *session) load(ctx context.Context) (err error) {
	s.now, s.version, err = s.service.uploads.Get(ctx, s.repo.space, s.id)
	return err
}

// Append receives the bytes into the store, then moves the offset from where
// it was when the session was looked up.
func (s *session) Append(ctx context.Context, c formats.Chunk) error {
	settings := s.service.Registry.Settings()
	switch {
	case s.now.State != sessions.Open:
		return fmt.Errorf("upload session %s takes no more bytes: %w", s.id, formats.ErrRaced)
	case c.At >= 0 && c.At != s.now.Offset:
		return fmt.Errorf("%w: bytes from %d on, but there are %d", formats.ErrOffset, c.At, s.now.Offset)
	case int64(s.now.Parts) >= settings.DockerChunks:
		return formats.BadRequest("an upload may have %d chunks at most", settings.DockerChunks)
	case s.now.Offset >= settings.MaxArtifactBytes:
		return fmt.Errorf("%w: at most %d bytes are possible", formats.ErrTooLarge, settings.MaxArtifactBytes)
	}
	if err := s.fits(s.now.Offset + max(c.Size, 0)); err != nil {
		return err
	}
	tx, err := newTx(ctx, s.hosted, nil, Precondition{})
	if err != nil {
		return err
	}
	defer s.service.uploading()()
	taken := int64(0)
	s.service.Observer.ChunkBegan()
	defer func() { s.service.Observer.ChunkEnded(taken) }()
	if e, ok := blob.As[blob.Extender](tx.store); ok {
		if done, err := s.extend(ctx, tx, e, c); done || err != nil {
			if err == nil {
				taken = c.Size
			}
			return err
		}
	}
	o := s.service.receiveOptions(c.Size)
	o.Max, o.After, o.Continued, o.Patient = settings.MaxArtifactBytes-s.now.Offset, s.now.Hash, true, true
	rc, err := blob.Receive(ctx, tx.store, c.Body, o)
	if err != nil {
		return tx.explain(err)
	}
	s.service.Observer.Received(s.service.Now().Sub(tx.began))
	defer s.service.discard(ctx, rc)
	if rc.Size() == 0 {
		return nil
	}
	ctx, cancel := uninterrupted(ctx)
	defer cancel()
	if err := s.fits(s.now.Offset + rc.Size()); err != nil {
		return err
	}
	if err := s.take(ctx, rc); err != nil {
		return tx.explain(err)
	}
	taken = rc.Size()
	return nil
}

// take makes received bytes the last part.
func (s *session) take(ctx context.Context, rc *blob.Received) error {
	p := sessions.Part{Size: rc.Size(), Sums: rc.Sums()}
	var held *refs.Held
	if b, ok := rc.Inline(); ok {
		p.Inline, p.Fresh = b, true
	} else {
		h, err := s.service.hold(ctx, s.repo.Store, rc)
		if err != nil {
			return fmt.Errorf("store a part of upload session %s: %w", s.id, err)
		}
		held = &h
		p.Store, p.Blob, p.Fresh = s.repo.Store, h.Blob, !h.Dedup
	}
	var err error
	s.now, s.version, err = s.service.uploads.Append(ctx, s.repo.space, s.id, s.now, s.version, p, rc.State())
	if err != nil || held == nil {
		return err
	}
	if err := s.service.Refs.Confirm(ctx, *held); err != nil {
		// The session names bytes that are gone: it can't be finished.
		return errors.Join(fmt.Errorf("keep a part of upload session %s: %w", s.id, err), s.remove(ctx))
	}
	return nil
}

func (s *session) remove(ctx context.Context) error {
	err := s.service.uploads.Remove(ctx, s.repo.space, s.id, s.version)
	if err == nil && s.now.Whole != nil {
		err = s.service.dropWhole(ctx, *s.now.Whole)
	}
	return err
}

// Cancel is refused while another request changes the session.
func (s *session) Cancel(ctx context.Context) error {
	if s.now.State == sessions.Done {
		return fmt.Errorf("upload session %s has ended: %w", s.id, formats.ErrNotFound)
	}
	ctx, cancel := uninterrupted(ctx)
	defer cancel()
	return s.remove(ctx)
}
