package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"time"

	"granary/blob"
	"granary/digest"
	"granary/formats"
	"granary/kv"
	"granary/repo/record"
	"granary/repo/upstream"
)

// locate says where the upstream has a file and what digest it promises: what
// the request's path names, what the format's documents say, or the path
// below the upstream's base and nothing.
func (c *cache) locate(ctx context.Context, op formats.Op) (upstream.Request, digest.Sums, error) {
	req, sums, _, err := c.promised(ctx, op)
	return req, sums, err
}

// promised is locate with the stamp of the index that promises the digest, "" if
// none does.
func (c *cache) promised(ctx context.Context, op formats.Op) (req upstream.Request, sums digest.Sums, index string, err error) {
	if req, err = c.request(op.Upstream()); err != nil {
		return req, op.Sum, "", err
	}
	if l, ok := c.repo.format.(formats.Ledger); ok && l.Entered(op) {
		sums, err = c.entered(ctx, l, op)
		return req, sums, "", err
	}
	p, ok := c.repo.format.(formats.Promiser)
	if !ok || c.repo.parser == nil || !p.Promised(op) {
		return req, op.Sum, "", nil
	}
	entry := c.repo.parser.Entry(op.Scope)
	d, err := c.document(ctx, op.Scope, entry, digest.Sums{})
	if err != nil {
		return req, op.Sum, "", err
	}
	for rec, err := range c.Records(ctx, op.Scope) {
		if err != nil {
			return req, op.Sum, "", err
		}
		if rec.Name != op.Name {
			continue
		}
		if rec.URL != "" {
			if req.Ref, err = resolve(d.URL, rec.URL); err != nil {
				return req, op.Sum, "", err
			}
		}
		sums = rec.Sums
		for _, a := range op.Sum.Algorithms() {
			sums.Set(a, op.Sum.Get(a))
		}
		return req, sums, d.stamp(), nil
	}
	return req, op.Sum, "", fmt.Errorf("%s/%s is not in the upstream's index: %w", c.repo.Name, op.Key(), formats.ErrNotFound)
}

// resolve is what a link in a document means.
func resolve(document, link string) (string, error) {
	base, err := url.Parse(document)
	if err != nil {
		return "", fmt.Errorf("%w: location %q of a document: %w", formats.ErrUpstream, document, err)
	}
	ref, err := base.Parse(link)
	if err != nil {
		return "", fmt.Errorf("%w: link %q in %s: %w", formats.ErrUpstream, link, document, err)
	}
	return ref.String(), nil
}

// take stores an answer's body. Readers may follow it while it arrives; it
// becomes visible only when its length and what was promised agree.
func (c *cache) take(ctx context.Context, f *fill, op formats.Op, promised digest.Sums, resp *upstream.Response) (*formats.Content, error) {
	f.fetched = true
	store, err := c.service.Store(ctx, c.repo.Store)
	if err != nil {
		return nil, err
	}
	verifier, verify := c.repo.format.(formats.Verifier)
	verify = verify && verifier.Verifies(op)
	body := io.Reader(resp.Body)
	var follow *tailWriter
	if !verify && (resp.Size < 0 || resp.Size >= followFrom) {
		follow = &tailWriter{ctx: ctx, tail: f.tail, now: c.service.Now, began: c.service.Now(), announce: func() {
			f.head = &formats.Content{
				Record: formats.Record{Scope: op.Scope, Name: op.Name, Type: mediaType(op, resp), Size: resp.Size, Time: c.service.Now()},
				Fixed:  c.repo.fixed(op),
			}
			close(f.started)
		}}
		body = io.TeeReader(resp.Body, follow)
	}
	o := c.service.receiveOptions(resp.Size, promised.Algorithms()...)
	o.Max, o.Patient = c.service.Registry.Settings().MaxArtifactBytes, true
	rc, err := blob.Receive(ctx, store, body, o)
	if err != nil {
		return nil, upstreamBody(op.Upstream(), err)
	}
	defer c.service.discard(ctx, rc)
	if err := rc.Sums().Check(promised); err != nil {
		return nil, fmt.Errorf("%w: %s of the upstream of %s: %w", formats.ErrUpstream, op.Upstream(), c.repo.Name, err)
	}
	if verify {
		if err := verifier.Verify(ctx, op, blobOf(rc), source{c, op.Scope, ""}); err != nil {
			return nil, fmt.Errorf("%w: %s of the upstream of %s: %w", formats.ErrUpstream, op.Upstream(), c.repo.Name, err)
		}
	}
	meta, err := c.describe(op, blobOf(rc))
	if err != nil {
		return nil, err
	}
	content, err := c.publishCopy(ctx, op, rc, meta, resp)
	if err == nil && follow != nil {
		err = follow.release()
	}
	return content, err
}

// describe returns the Meta of a copy, nil where its name tells what it is. What
// can't be read is kept from clients where a policy has to know what it is.
func (c *cache) describe(op formats.Op, b formats.Blob) ([]byte, error) {
	d, ok := c.repo.format.(formats.Describer)
	if !ok {
		return nil, nil
	}
	meta, err := d.Describe(op, b)
	if err != nil && !c.judges() {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s of the upstream of %s: %w", formats.ErrUpstream, op.Upstream(), c.repo.Name, err)
	}
	return meta, nil
}

func mediaType(op formats.Op, resp *upstream.Response) string {
	if op.Type != "" {
		return op.Type
	}
	return resp.Header.Get("Content-Type")
}

// What has to have come before readers may follow: an upstream that sends a
// header and no more, or a broken short body, is then answered by an error or
// by the old copy, not by an answer that breaks off. A slow one is not waited
// for longer than announceAfter.
const (
	announceFrom  = 64 << 10 // bytes
	announceAfter = 2 * time.Second
)

// tailWriter lets readers follow what is written, all but the last byte: that
// is held back until the whole has turned out to be what it should be, so that
// nobody takes wrong bytes for a complete answer.
type tailWriter struct {
	ctx      context.Context //nolint:containedctx // an io.Writer of one fill
	tail     *tail
	held     []byte // the last byte so far
	now      func() time.Time
	began    time.Time
	written  int64
	announce func() // tells readers that they may follow; nil once called
}

func (w *tailWriter) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	if err := w.release(); err != nil {
		return 0, err
	}
	w.written += int64(len(p))
	if w.announce != nil && (w.written >= announceFrom || w.now().Sub(w.began) >= announceAfter) {
		w.announce()
		w.announce = nil
	}
	last := len(p) - 1
	if err := w.tail.write(w.ctx, p[:last]); err != nil {
		return 0, err
	}
	w.held = append(w.held[:0], p[last])
	return len(p), nil
}

// release passes on what is held back.
func (w *tailWriter) release() error {
	held := w.held
	w.held = w.held[:0]
	return w.tail.write(w.ctx, held)
}

// publishCopy writes the record of a filled file and what belongs to it, if the
// quota has room for it.
func (c *cache) publishCopy(ctx context.Context, op formats.Op, rc *blob.Received, meta []byte, resp *upstream.Response) (*formats.Content, error) {
	if fits, err := c.fitsCopy(ctx, op, rc.Size()); err != nil || !fits {
		return c.passing(op, rc, meta, resp), err
	}
	now := c.service.Now().UnixNano()
	rec := record.Record{
		Type: mediaType(op, resp), Size: rc.Size(), Sums: rc.Sums(), Created: now, Updated: now, Meta: meta,
		Origin: &record.Origin{ETag: resp.ETag, LastModified: resp.LastModified, Checked: now, URL: resp.URL},
	}
	dedup := false
	confirm := func() error { return nil }
	if b, ok := rc.Inline(); ok {
		rec.Inline = slices.Clone(b)
	} else {
		held, err := c.service.hold(ctx, c.repo.Store, rc)
		if err != nil {
			return nil, fmt.Errorf("store %s/%s: %w", c.repo.Name, op.Key(), err)
		}
		rec.Store, rec.Blob, dedup = c.repo.Store, held.Blob, held.Dedup
		confirm = func() error { return c.service.Refs.Confirm(ctx, held) }
	}
	content, err := c.storeCopy(ctx, op, rec, confirm)
	if err == nil {
		c.service.Observer.Ingested(c.repo.Format, string(c.repo.Type), dedup, rec.Size)
	}
	return content, err
}

// storeCopy writes the record of a copy, then confirms the use of its content.
func (c *cache) storeCopy(ctx context.Context, op formats.Op, rec record.Record, confirm func() error) (*formats.Content, error) {
	out, err := c.service.Records.Put(ctx, c.repo.space, op.Scope, op.Name, rec, func(old *record.Record) (record.Verdict, error) {
		if old != nil && bytes.Equal(old.Sums.BLAKE3, rec.Sums.BLAKE3) {
			return record.Same, nil
		}
		return record.Replace, nil
	})
	if err != nil {
		return nil, fmt.Errorf("store %s/%s: %w", c.repo.Name, op.Key(), err)
	}
	if out.Same {
		// The bytes are known; only what the upstream says of them is new.
		_, err := c.service.Records.Update(ctx, c.repo.space, op.Scope, op.Name, out.Version, withOrigin(out.Record, rec))
		if err != nil && !errors.Is(err, kv.ErrConflict) {
			return nil, fmt.Errorf("store %s/%s: %w", c.repo.Name, op.Key(), err)
		}
	}
	if err := confirm(); err != nil {
		err = c.service.undo(ctx, c.repo, op.Scope, op.Name, out, err)
		return nil, fmt.Errorf("keep %s/%s: %w", c.repo.Name, op.Key(), err)
	}
	if err := c.service.Records.EnsureMarkers(ctx, c.repo.space, op.Scope); err != nil {
		return nil, fmt.Errorf("mark the directories of %s/%s: %w", c.repo.Name, op.Key(), err)
	}
	return c.content(op, out.Record), nil
}

func withOrigin(old, fresh record.Record) record.Record {
	old.Origin = fresh.Origin
	if fresh.Meta != nil {
		old.Meta = fresh.Meta
	}
	if old.Blob != "" && fresh.Blob != "" {
		old.Store, old.Blob = fresh.Store, fresh.Blob
	}
	return old
}
