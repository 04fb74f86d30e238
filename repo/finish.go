package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"granary/digest"
	"granary/formats"
	"granary/repo/record"
	"granary/repo/sessions"
)

// Finish publishes what a session has. One part becomes the record's bytes as
// it lies in the store. Several are put together by the store, if it took them as
// pieces, and read once for the BLAKE3 of the whole; else they are read back and
// written as one. The session takes no bytes meanwhile.
func (s *session) Finish(ctx context.Context, rec formats.Record, want digest.Sums, last *formats.Chunk) (formats.Record, error) {
	if s.now.State != sessions.Open {
		if s.now.Name != rec.Name {
			return formats.Record{}, fmt.Errorf("upload session %s has become %s: %w", s.id, s.now.Name, formats.ErrRaced)
		}
		old, _, err := s.service.Records.Get(ctx, s.repo.space, rec.Scope, rec.Name, record.Latest)
		if err == nil {
			return old.Public(rec.Scope, rec.Name), nil
		}
		if !errors.Is(err, formats.ErrNotFound) || s.now.State == sessions.Done {
			return formats.Record{}, err
		}
		// Who was finishing may have died: the work is done again, and ends in
		// the same record if not.
	}
	if last != nil && s.now.Parts > 0 {
		if err := s.Append(ctx, *last); err != nil {
			return formats.Record{}, err
		}
		last = nil
	}
	out, err := s.finish(ctx, rec, want, last)
	if errors.Is(err, formats.ErrChecksum) {
		err = errors.Join(err, s.remove(context.WithoutCancel(ctx)))
	}
	if err != nil {
		return formats.Record{}, err
	}
	if err := s.service.uploads.Done(context.WithoutCancel(ctx), s.repo.space, s.id, s.now, s.version, rec.Name); err != nil {
		// What was asked is done; the session is left to the collector.
		s.service.Log.WarnContext(ctx, "end an upload session", "repository", s.repo.Name, "session", s.id, "error", err)
	}
	return out, nil
}

func (s *session) finish(ctx context.Context, rec formats.Record, want digest.Sums, whole *formats.Chunk) (formats.Record, error) {
	switch {
	case whole != nil && whole.At > 0:
		return formats.Record{}, fmt.Errorf("%w: bytes from %d on, but there are none", formats.ErrOffset, whole.At)
	case whole != nil:
		return s.whole(ctx, rec, want, whole)
	case s.now.Parts == 0:
		return s.publishBody(ctx, rec, bytes.NewReader(nil), 0, want)
	}
	ctx, cancel := uninterrupted(ctx)
	defer cancel()
	parts, err := s.service.uploads.Parts(ctx, s.repo.space, s.id, &s.now)
	if err != nil {
		return formats.Record{}, err
	}
	// The SHA-256 up to the end of the last part is that of all.
	sums := digest.Sums{SHA256: parts[len(parts)-1].Sums.SHA256}
	if err := sums.Check(want); err != nil {
		return formats.Record{}, fmt.Errorf("%w: %w", formats.ErrChecksum, err)
	}
	if s.now.Whole == nil && len(parts) == 1 && known(parts[0].Sums, want) {
		return s.keep(ctx, rec, parts[0])
	}
	if s.now.State == sessions.Open {
		s.now, s.version, err = s.service.uploads.Finishing(ctx, s.repo.space, s.id, s.now, s.version, rec.Name)
		if err != nil {
			return formats.Record{}, err
		}
	}
	if s.now.Whole != nil {
		return s.assemble(ctx, rec, want, parts)
	}
	r := &joined{ctx: ctx, service: s.service, parts: parts}
	defer r.Close() //nolint:errcheck // only read
	return s.publishBody(ctx, rec, r, s.now.Offset, want)
}

// whole publishes what came in one piece.
func (s *session) whole(ctx context.Context, rec formats.Record, want digest.Sums, c *formats.Chunk) (formats.Record, error) {
	defer s.service.uploading()()
	taken := int64(0)
	s.service.Observer.ChunkBegan()
	defer func() { s.service.Observer.ChunkEnded(taken) }()
	out, err := s.publishBody(ctx, rec, c.Body, c.Size, want)
	taken = out.Size
	return out, err
}

// known tells whether all wanted digests are among the sums.
func known(sums, want digest.Sums) bool {
	for _, a := range want.Algorithms() {
		if sums.Get(a) == nil {
			return false
		}
	}
	return true
}

// keep makes a record of the bytes of a part.
func (s *session) keep(ctx context.Context, rec formats.Record, p sessions.Part) (formats.Record, error) {
	tx, err := newTx(ctx, s.hosted, nil, Precondition{})
	if err != nil {
		return formats.Record{}, err
	}
	tx.puts = append(tx.puts, put{rec: rec, kept: &content{size: p.Size, sums: p.Sums, inline: p.Inline, store: p.Store, fresh: p.Fresh}})
	return tx.one(ctx)
}

// joined reads parts one after another.
type joined struct {
	ctx     context.Context //nolint:containedctx // an io.Reader of one request
	service *Service
	parts   []sessions.Part // those not read to their end
	open    io.ReadCloser   // of the first of them
}

func (j *joined) Read(p []byte) (int, error) {
	for {
		if len(j.parts) == 0 {
			return 0, io.EOF
		}
		if j.open == nil {
			r, err := j.next(j.parts[0])
			if err != nil {
				return 0, err
			}
			j.open = r
		}
		n, err := j.open.Read(p)
		if !errors.Is(err, io.EOF) {
			return n, err
		}
		if err := j.Close(); err != nil {
			return n, err
		}
		j.parts = j.parts[1:]
		if n > 0 {
			return n, nil
		}
	}
}

func (j *joined) next(p sessions.Part) (io.ReadCloser, error) {
	if p.Blob == "" {
		return io.NopCloser(bytes.NewReader(p.Inline)), nil
	}
	return j.service.opener(p.Store, p.Blob, p.Sums)(j.ctx, 0, -1)
}

// Close closes what is open.
func (j *joined) Close() error {
	if j.open == nil {
		return nil
	}
	err := j.open.Close()
	j.open = nil
	return err
}
