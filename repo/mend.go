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
		err := p.present(ctx, pub, form)
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

// present is nil if a document of a publication is there. What is short is held
// against its digest when it is read into memory.
func (p *publications) present(ctx context.Context, pub *publication, f *published) error {
	if f.Size > longestInMemory {
		return p.service.whole(ctx, stored{store: pub.Store, blob: f.Blob, sums: f.Sums, size: f.Size})
	}
	_, err := p.service.present(ctx, pub.Store, f.Blob, f.Sums)
	return err
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

func (d *document) stored() stored {
	return stored{store: d.Store, blob: d.Blob, inline: d.Inline, sums: d.Sums, size: d.Size}
}

// opener opens the bytes of an upstream's document, which is fetched again where
// they are lost. sum is the digest that another document names it by, if any.
func (c *cache) opener(scope, path string, d *document, sum digest.Sums) opener {
	open := inlineOpener(d.Inline)
	if d.Blob != "" {
		open = c.service.sounded(c.service.opener(d.Store, d.Blob, d.Sums), d.stored())
	} else if err := intact(d.Inline, d.Sums); err != nil {
		open = func(context.Context, int64, int64) (io.ReadCloser, error) {
			return nil, fmt.Errorf("%s/%s: %w", c.repo.Name, path, err)
		}
	}
	if c.moment != nil {
		return open // what it was can't be asked for
	}
	return func(ctx context.Context, offset, n int64) (io.ReadCloser, error) {
		r, err := open(ctx, offset, n)
		if !errors.Is(err, formats.ErrCorrupt) {
			return r, err
		}
		now, failed := c.refetchDocument(ctx, scope, path, d, sum)
		if failed != nil {
			return nil, fmt.Errorf("%w, and could not be fetched again: %w", err, failed)
		}
		if !bytes.Equal(now.Sums.BLAKE3, d.Sums.BLAKE3) {
			return nil, err
		}
		if now.Blob == "" {
			return inlineOpener(now.Inline)(ctx, offset, n)
		}
		return c.service.opener(now.Store, now.Blob, now.Sums)(ctx, offset, n)
	}
}

// wholeDocument returns a document, or what is fetched in its place if its bytes
// are lost. sum is the digest that another document names it by, if any: other
// bytes are not taken.
func (c *cache) wholeDocument(ctx context.Context, scope, path string, d *document, sum digest.Sums) (*document, error) {
	if c.moment != nil {
		return d, nil
	}
	err := c.service.whole(ctx, d.stored())
	if !errors.Is(err, formats.ErrCorrupt) {
		return d, err
	}
	return c.refetchDocument(ctx, scope, path, d, sum)
}

// refetchDocument asks for a document whatever its age, since its bytes are
// lost, unless another node has done so.
func (c *cache) refetchDocument(ctx context.Context, scope, path string, lost *document, sum digest.Sums) (*document, error) {
	now, version, err := c.service.documentTable().Get(ctx, c.repo.space.Document(scope, path), kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) {
		return c.renewed(ctx, scope, path, nil, "", sum)
	}
	if err != nil {
		return nil, fmt.Errorf("read document %s/%s: %w", c.repo.Name, path, err)
	}
	if now.Blob != lost.Blob || !bytes.Equal(now.Inline, lost.Inline) {
		return now.result(path)
	}
	now.lost = true
	return c.renewed(ctx, scope, path, &now, version, sum)
}
