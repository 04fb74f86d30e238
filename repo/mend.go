package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"granary/digest"
	"granary/formats"
	"granary/kv"
)

// What is made of something else can be made again when its bytes are lost:
// publications from records, documents of upstreams by asking. What is known to
// be lost is made before it is sent. What turns out to be when it is opened is
// sent if it has become the same; else this request fails, and the next one gets
// what is there now, under its own headers.

// mending opens a document of a publication, which is made anew where its bytes
// are lost. pick chooses the form of it that was asked for.
func (p *publications) mending(open opener, f *published, again func(context.Context) (*publication, error), pick func(*published) *published) opener {
	want := pick(f)
	if again == nil || want.Blob == "" {
		return open
	}
	return func(ctx context.Context, offset, n int64) (io.ReadCloser, error) {
		r, err := open(ctx, offset, n)
		if !errors.Is(err, formats.ErrCorrupt) {
			return r, err
		}
		pub, failed := again(ctx)
		if failed != nil {
			return nil, fmt.Errorf("%w, and could not be rendered again: %w", err, failed)
		}
		now := pub.file(f.Path)
		if now == nil || pick(now) == nil || !bytes.Equal(pick(now).Sums.BLAKE3, want.Sums.BLAKE3) {
			return nil, err
		}
		return p.bytesOf(pub, pick(now)).Open(ctx, offset, n)
	}
}

// whole returns a document of a publication, or of what is made in its place if
// its bytes are known to be wrong.
func (p *publications) whole(ctx context.Context, pub *publication, f *published, again func(context.Context) (*publication, error)) (*publication, *published, error) {
	if f == nil || again == nil {
		return pub, f, nil
	}
	for _, form := range []*published{f, f.Gzip} {
		if form == nil || form.Blob == "" {
			continue
		}
		_, err := p.service.present(ctx, pub.Store, form.Blob, form.Sums)
		if errors.Is(err, formats.ErrCorrupt) {
			if pub, err = again(ctx); err == nil {
				return pub, pub.file(f.Path), nil
			}
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return pub, f, nil
}

// drop removes a publication whose bytes are lost, unless another is there by
// now.
func (p *publications) drop(ctx context.Context, key kv.Key, pub *publication) error {
	defer p.hot.Invalidate(key)
	stored, version, err := kv.Table[publication]{Store: p.service.KV}.Get(ctx, key, kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) || err == nil && stored.Made != pub.Made {
		return nil
	}
	if err == nil {
		err = p.service.KV.DeleteIf(ctx, key, version)
	}
	if err != nil && !errors.Is(err, kv.ErrConflict) {
		return fmt.Errorf("drop publication %v: %w", key, err)
	}
	return nil
}

// opener opens the bytes of an upstream's document, which is fetched again where
// they are lost.
func (c *cache) opener(scope, path string, d *document) opener {
	open := c.service.opener(d.Store, d.Blob, d.Sums)
	if c.moment != nil {
		return open // what it was can't be asked for
	}
	return func(ctx context.Context, offset, n int64) (io.ReadCloser, error) {
		r, err := open(ctx, offset, n)
		if !errors.Is(err, formats.ErrCorrupt) {
			return r, err
		}
		now, failed := c.refetchDocument(ctx, scope, path, d)
		if failed != nil {
			return nil, fmt.Errorf("%w, and could not be fetched again: %w", err, failed)
		}
		if !bytes.Equal(now.Sums.BLAKE3, d.Sums.BLAKE3) {
			return nil, err
		}
		return c.service.opener(now.Store, now.Blob, now.Sums)(ctx, offset, n)
	}
}

// wholeDocument returns a document, or what is fetched in its place if its bytes are
// known to be wrong.
func (c *cache) wholeDocument(ctx context.Context, scope, path string, d *document) (*document, error) {
	if d.Blob == "" || c.moment != nil {
		return d, nil
	}
	_, err := c.service.present(ctx, d.Store, d.Blob, d.Sums)
	if !errors.Is(err, formats.ErrCorrupt) {
		return d, err
	}
	return c.refetchDocument(ctx, scope, path, d)
}

// refetchDocument asks for a document whatever its age, since its bytes are
// lost, unless another node has done so.
func (c *cache) refetchDocument(ctx context.Context, scope, path string, lost *document) (*document, error) {
	now, version, err := c.service.documentTable().Get(ctx, c.repo.space.Document(scope, path), kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) {
		return c.renewed(ctx, scope, path, nil, "", digest.Sums{})
	}
	if err != nil {
		return nil, fmt.Errorf("read document %s/%s: %w", c.repo.Name, path, err)
	}
	if now.Blob != lost.Blob {
		return now.result(path)
	}
	now.lost = true
	return c.renewed(ctx, scope, path, &now, version, digest.Sums{})
}
