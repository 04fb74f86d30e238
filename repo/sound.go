package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/zeebo/blake3"
	"golang.org/x/sync/singleflight"

	"granary/blob"
	"granary/digest"
	"granary/formats"
	"granary/repo/config"
	"granary/repo/refs"
)

// What can be had again, from an upstream or by rendering, is held against its
// digest before it is sent, so that bytes which went bad on the disk are replaced
// and not sent. That is done once in a while for each blob, and whenever its file
// was written to, in one request for all that wait for it. Buckets do it themselves
// with what they keep.

const (
	// soundFor is how long bytes that were found right are taken to be.
	soundFor = time.Hour
	// longestSound is the longest content that is read before any of it is sent,
	// in bytes. What is longer is held against its digest while it is sent.
	longestSound = 64 << 20
	// maxSound is of how many blobs it is remembered that they are right.
	maxSound = 1 << 15
)

// soundness remembers which blobs were found right.
type soundness struct {
	seen    *otter.Cache[blob.ID, found]
	reading singleflight.Group
}

// found says when the reading of a blob began that found it right, and when it had
// been written then, if its store tells.
type found struct{ at, written time.Time }

func newSoundness() *soundness {
	return &soundness{seen: otter.Must(&otter.Options[blob.ID, found]{MaximumSize: maxSound})}
}

// stored is content as a record or a document names it.
type stored struct {
	store  string
	blob   blob.ID // "": inline
	inline []byte
	sums   digest.Sums
	size   int64
}

// known tells whether nothing need be read to know that the bytes are right, or
// whether nothing here looks at them.
func (s *Service) known(c stored) bool {
	if store, ok := s.Registry.StoreByID(c.store); !ok || store.Type != config.File {
		return true
	}
	f, ok := s.sound.seen.GetIfPresent(c.blob)
	return ok && s.Now().Sub(f.at) < soundFor
}

// changed tells whether somebody has written to a blob since it was found right.
func (s *Service) changed(c stored, r io.Reader) bool {
	f, ok := s.sound.seen.GetIfPresent(c.blob)
	if !ok {
		return false
	}
	info, ok := blob.StatReader(r)
	return ok && (info.Size != c.size || !info.Modified.Equal(f.written))
}

// whole is nil if content is what was stored, as far as that can be told before
// it is sent; formats.ErrCorrupt if it is lost, of which the reference is told.
func (s *Service) whole(ctx context.Context, c stored) error {
	if c.blob == "" {
		return intact(c.inline, c.sums)
	}
	if _, err := s.present(ctx, c.store, c.blob, c.sums); err != nil {
		return err
	}
	if s.known(c) {
		return nil
	}
	if c.size > longestSound {
		_, err := s.Refs.Resolve(ctx, c.store, c.sums.BLAKE3) // it may have been sent to somebody
		if errors.Is(err, refs.ErrNotFound) {
			return nil
		}
		return err
	}
	ch := s.sound.reading.DoChan(string(c.blob), func() (any, error) {
		done := make(chan error, 1)
		s.background(ctx, func(ctx context.Context) { done <- s.read(ctx, c) })
		return nil, <-done
	})
	select {
	case r := <-ch:
		return r.Err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// read reads all of a blob and remembers what came of it.
func (s *Service) read(ctx context.Context, c stored) error {
	began := s.Now()
	r, err := s.opener(c.store, c.blob, c.sums)(ctx, 0, -1)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, s.holding(ctx, r, c, began))
	if err = errors.Join(err, r.Close()); err != nil {
		return fmt.Errorf("hold blob %s against its digest: %w", c.blob, err)
	}
	return nil
}

// sounded is an opener of content that is held against its digest, whatever its
// length. A part of what is too long to be read beforehand is not.
func (s *Service) sounded(open opener, c stored) opener {
	if c.blob == "" {
		return open
	}
	return func(ctx context.Context, offset, n int64) (io.ReadCloser, error) {
		if err := s.whole(ctx, c); err != nil {
			return nil, err
		}
		began := s.Now()
		r, err := open(ctx, offset, n)
		if err == nil && s.changed(c, r) {
			s.sound.seen.Invalidate(c.blob)
			if err = errors.Join(r.Close(), s.whole(ctx, c)); err == nil {
				began = s.Now()
				r, err = open(ctx, offset, n)
			}
		}
		if err != nil || c.size <= longestSound || offset > 0 || n >= 0 && n < c.size || s.known(c) {
			return r, err
		}
		return readCloser{s.holding(ctx, r, c, began), r}, nil
	}
}

type readCloser struct {
	io.Reader
	io.Closer
}

// holding reads all of a content that was opened after began, and ends with formats.ErrCorrupt, without its
// last byte, if it is not what was stored.
func (s *Service) holding(ctx context.Context, r io.Reader, c stored, began time.Time) io.Reader {
	info, _ := blob.StatReader(r)
	return &held{service: s, ctx: ctx, r: r, content: c, hash: blake3.New(), left: c.size, found: found{began, info.Modified}}
}

type held struct {
	service *Service
	ctx     context.Context //nolint:containedctx // an io.Reader of one request
	r       io.Reader
	content stored
	hash    *blake3.Hasher
	left    int64
	found   found // what it will be, if it is
	err     error // why it ended
}

func (h *held) Read(p []byte) (int, error) {
	if h.err != nil || len(p) == 0 {
		return 0, h.err
	}
	n, err := h.r.Read(p)
	h.hash.Write(p[:n]) //nolint:errcheck // never fails
	h.left -= int64(n)
	switch {
	case h.left < 0:
		n, h.err = 0, h.lost("they are too many")
	case h.left > 0 && errors.Is(err, io.EOF):
		h.err = h.lost("they are cut off")
	case h.left > 0:
		h.err = err
	case !bytes.Equal(h.hash.Sum(nil), h.content.sums.BLAKE3):
		n, h.err = max(n-1, 0), h.lost("they are not what was stored")
	default:
		h.service.sound.seen.Set(h.content.blob, h.found)
		h.err = io.EOF
	}
	return n, h.err
}

// lost tells the reference that its content is, so that it is stored anew.
func (h *held) lost(how string) error {
	s, c := h.service, h.content
	s.sound.seen.Invalidate(c.blob)
	if err := s.Refs.MarkLost(h.ctx, c.store, c.sums.BLAKE3, c.blob); err != nil {
		s.Log.ErrorContext(h.ctx, "mark lost content", "blob", c.blob, "error", err)
	}
	s.suspect(h.ctx, c.store)
	return fmt.Errorf("%w: %s", formats.ErrCorrupt, how)
}
