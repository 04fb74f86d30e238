package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"granary/blob"
	"granary/digest"
	"granary/formats"
	"granary/repo/upstream"
)

// derive makes a file that the upstream did not give from one that it is a part
// of; why is what came of asking.
func (c *cache) derive(ctx context.Context, op formats.Op, why error) (*formats.Content, error) {
	d, ok := c.repo.format.(formats.Deriver)
	if !ok || ctx.Err() != nil {
		return nil, why
	}
	wholeOp, ok := d.Derived(op)
	if !ok || c.repo.refuses(wholeOp.Upstream()) {
		return nil, why
	}
	whole, from, err := c.whole(ctx, wholeOp, why)
	if err != nil {
		return nil, err
	}
	data, err := d.Derive(ctx, op, whole)
	if errors.Is(err, errNoParts) {
		if whole, err = c.fetched(ctx, wholeOp); err == nil {
			data, err = d.Derive(ctx, op, whole)
		}
	}
	if errors.Is(err, formats.ErrBadPackage) {
		return nil, fmt.Errorf("%w: %s of the upstream of %s: %w", formats.ErrUpstream, wholeOp.Key(), c.repo.Name, err)
	}
	if err != nil {
		return nil, fmt.Errorf("make %s/%s: %w", c.repo.Name, op.Key(), err)
	}
	// If a digest is promised, what was made must have it as well.
	_, promised, index, err := c.promised(ctx, op)
	if err != nil {
		promised = op.Sum
	}
	store, err := c.service.Store(ctx, c.repo.Store)
	if err != nil {
		return nil, err
	}
	rc, err := blob.Receive(ctx, store, bytes.NewReader(data), c.service.receiveOptions(int64(len(data)), promised.Algorithms()...))
	if err != nil {
		return nil, fmt.Errorf("store %s/%s: %w", c.repo.Name, op.Key(), err)
	}
	defer c.service.discard(ctx, rc)
	if err := rc.Sums().Check(promised); err != nil {
		return nil, fmt.Errorf("%w: %s in %s of the upstream of %s: %w", formats.ErrUpstream, op.Name, wholeOp.Name, c.repo.Name, err)
	}
	content, err := c.publishCopy(ctx, op, rc, nil, &upstream.Response{Header: http.Header{}, URL: from})
	if err != nil {
		return nil, err
	}
	return content, c.overtaken(ctx, op, index, content.Sums)
}

// whole is the other file: the copy that is here, parts of it from an upstream
// that has ranges, or a copy that is fetched now.
func (c *cache) whole(ctx context.Context, op formats.Op, why error) (formats.Blob, string, error) {
	if content := c.stored(ctx, op, nil); content != nil {
		return &parts{ctx, content.Size, content.Open}, "", nil
	}
	if !errors.Is(why, formats.ErrNotFound) {
		return nil, "", why // the upstream would not answer this either
	}
	req, _, err := c.locate(ctx, op)
	if err != nil {
		return nil, "", err
	}
	if b, from := c.remote(ctx, req); b != nil {
		return b, from, nil
	}
	b, err := c.fetched(ctx, op)
	return b, "", err
}

// fetched is the other file as a copy, fetched if it is not here.
func (c *cache) fetched(ctx context.Context, op formats.Op) (formats.Blob, error) {
	f := c.begin(ctx, op, nil, true)
	select {
	case <-f.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if f.err != nil {
		return nil, f.err
	}
	return &parts{ctx, f.content.Size, f.content.Open}, nil
}

// errNoParts is returned by an upstream that says it has ranges, and has not.
var errNoParts = fmt.Errorf("%w: it sends no parts", formats.ErrUpstream)

// remote reads a file of the upstream in parts; nil if that can't be.
func (c *cache) remote(ctx context.Context, req upstream.Request) (formats.Blob, string) {
	head, err := c.service.Upstream.Head(ctx, req)
	if err != nil || head.Size <= 0 || head.Header.Get("Accept-Ranges") != "bytes" {
		return nil, ""
	}
	req.Ref = head.URL
	return &parts{ctx, head.Size, func(ctx context.Context, offset, n int64) (io.ReadCloser, error) {
		r := req
		r.Offset, r.Length = offset, n
		resp, err := c.service.Upstream.Get(ctx, r)
		if err != nil {
			return nil, err
		}
		if resp.Offset != offset {
			resp.Body.Close() //nolint:errcheck // not wanted
			return nil, errNoParts
		}
		return resp.Body, nil
	}}, head.URL
}

// parts is formats.Blob over something that opens ranges. Its digests are not
// known.
type parts struct {
	ctx  context.Context //nolint:containedctx // an io.ReaderAt of one rendering
	size int64
	open func(ctx context.Context, offset, n int64) (io.ReadCloser, error)
}

var _ formats.Blob = (*parts)(nil)

func (p *parts) Size() int64       { return p.size }
func (p *parts) Sums() digest.Sums { return digest.Sums{} }

func (p *parts) ReadAt(b []byte, off int64) (int, error) {
	want := min(int64(len(b)), p.size-off)
	if want <= 0 {
		return 0, io.EOF
	}
	r, err := p.open(p.ctx, off, want)
	if err != nil {
		return 0, err
	}
	defer r.Close() //nolint:errcheck // only read
	n, err := io.ReadFull(r, b[:want])
	if err == nil && want < int64(len(b)) {
		err = io.EOF
	}
	return n, err
}
