package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"

	"granary/digest"
	"granary/formats"
	"granary/repo/record"
	"granary/repo/upstream"
)

// cache is the view of an upstream: its records are parsed from the upstream's
// documents, its files are filled on demand and stored like a hosted
// repository's.
type cache struct {
	hosted
	claims *claims // of the group that is asked; nil: none
}

var _ target = (*cache)(nil)

func (c *cache) base() *hosted     { return &c.hosted }
func (c *cache) targets() []target { return []target{c} }

// stale is the Warning of RFC 9111 §5.5 for a copy that could not be confirmed.
const stale = `110 - "response is stale"`

// request is one to the repository's upstream with its credentials.
func (c *cache) request(path string) (upstream.Request, error) {
	r := upstream.Request{Base: c.repo.UpstreamURL, Ref: path, Realms: c.repo.UpstreamRealms}
	if a, ok := c.repo.format.(formats.Asker); ok {
		r.Ref, r.Header = a.Ask(r.Base, path)
	}
	if a := c.repo.UpstreamAuth; a != nil {
		password, err := a.Password.Reveal()
		if err != nil {
			return r, fmt.Errorf("upstream password of %s: %w", c.repo.Name, err)
		}
		r.Auth = &upstream.Credentials{Username: a.Username, Password: password}
	}
	if f, ok := c.repo.format.(formats.Accepter); ok {
		if accept := f.Accepts(path); accept != "" {
			r.Header = http.Header{"Accept": {accept}}
		}
	}
	return r, nil
}

// Stamp is the digest of the scope's entry document, asked for again when due.
func (c *cache) Stamp(ctx context.Context, scope string) (string, error) {
	entry := c.repo.parser.Entry(scope)
	if entry == "" {
		return "", nil
	}
	if claimed, err := c.claimed(ctx, scope, ""); claimed || err != nil {
		return "", err
	}
	read := c.document
	if c.moment != nil {
		read = c.pastDocument
	}
	d, err := read(ctx, scope, entry, digest.Sums{})
	if errors.Is(err, formats.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return d.stamp() + c.policyStamp(), nil
}

// Records parses the upstream's documents. Where no document tells of a scope
// it has what was copied.
func (c *cache) Records(ctx context.Context, scope string) iter.Seq2[formats.Record, error] {
	if c.repo.parser == nil {
		return func(func(formats.Record, error) bool) {}
	}
	if claimed, err := c.claimed(ctx, scope, ""); claimed || err != nil {
		return func(yield func(formats.Record, error) bool) {
			if err != nil {
				yield(formats.Record{}, err)
			}
		}
	}
	recs := c.parsed(ctx, scope)
	if c.claims == nil && !c.judges() {
		return recs
	}
	return c.permitted(ctx, recs)
}

// parsed are the records before any policy.
func (c *cache) parsed(ctx context.Context, scope string) iter.Seq2[formats.Record, error] {
	entry := c.repo.parser.Entry(scope)
	if c.repo.index != nil {
		return c.repo.parser.Parse(ctx, scope, source{c, scope, entry})
	}
	if entry == "" {
		return c.hosted.Records(ctx, scope)
	}
	return func(yield func(formats.Record, error) bool) {
		// No stamp was read before, which would have asked.
		if _, err := c.Stamp(ctx, scope); err != nil {
			yield(formats.Record{}, err)
			return
		}
		c.repo.parser.Parse(ctx, scope, source{c, scope, entry})(yield)
	}
}

var _ formats.Ranger = (*cache)(nil)

// RecordsFrom is not that of the copies.
func (c *cache) RecordsFrom(ctx context.Context, scope, from string) iter.Seq2[formats.Record, error] {
	return func(yield func(formats.Record, error) bool) {
		for rec, err := range c.Records(ctx, scope) {
			if err == nil && rec.Name < from {
				continue
			}
			if !yield(rec, err) || err != nil {
				return
			}
		}
	}
}

func (c *cache) Open(ctx context.Context, op formats.Op) (*formats.Content, error) {
	return c.find(ctx, op, false)
}

// find serves what policies permit, by the name that is asked for and by what
// the bytes turn out to be.
func (c *cache) find(ctx context.Context, op formats.Op, _ bool) (*formats.Content, error) {
	if err := c.judge(ctx, op); err != nil {
		return nil, err
	}
	content, err := c.copyOf(ctx, op)
	if err != nil {
		return nil, err
	}
	if err := c.judgeFound(ctx, op, content.Record); err != nil {
		return nil, err
	}
	return content, nil
}

// copyOf serves the stored copy while it is current; past that it asks the
// upstream, beforehand at a TTL of 0, else while the old copy is served.
func (c *cache) copyOf(ctx context.Context, op formats.Op) (*formats.Content, error) {
	if c.moment != nil {
		return c.hosted.find(ctx, op, false)
	}
	fixed := c.repo.fixed(op)
	mode := record.Latest
	if fixed {
		mode = record.Hit
	}
	rec, version, err := c.service.Records.Get(ctx, c.repo.space, op.Scope, op.Name, mode)
	if errors.Is(err, formats.ErrNotFound) {
		return c.fill(ctx, op, nil, true)
	}
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", c.repo.Name, op.Key(), err)
	}
	switch err := c.judgeTarget(ctx, op, rec.Sums); {
	case errors.Is(err, formats.ErrBlocked):
		// The name may have moved on to what may be had.
		return c.fill(ctx, op, nil, false)
	case err != nil:
		return nil, err
	}
	switch err := c.service.whole(ctx, storedOf(rec)); {
	case errors.Is(err, formats.ErrCorrupt):
		return c.replaced(ctx, op, &copied{rec, version, true}, err)
	case err != nil:
		return nil, fmt.Errorf("%s/%s: %w", c.repo.Name, op.Key(), err)
	}
	content := c.content(op, rec)
	content.Fixed = fixed
	superseded := fixed && c.superseded(ctx, op, rec.Sums)
	if !superseded && (fixed || rec.Origin == nil || c.repo.fresh(rec.Origin.Checked, c.service.Now())) {
		c.cached(Hit)
		return content, nil
	}
	old := &copied{record: rec, version: version}
	if c.repo.ttl() > 0 && !superseded {
		c.cached(StaleServe)
		c.begin(ctx, op, old, false)
		return content, nil
	}
	return c.fill(ctx, op, old, false)
}

func storedOf(rec record.Record) stored {
	return stored{store: rec.Store, blob: rec.Blob, inline: rec.Inline, sums: rec.Sums, size: rec.Size}
}

// replaced is what the upstream has instead of a copy whose bytes are lost.
func (c *cache) replaced(ctx context.Context, op formats.Op, lost *copied, why error) (*formats.Content, error) {
	content, err := c.fill(ctx, op, lost, false)
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w, and could not be fetched again: %w", c.repo.Name, op.Key(), why, err)
	}
	return content, nil
}

// content is the hosted one, but for bytes that turn out to be lost: the
// upstream has them.
func (c *cache) content(op formats.Op, rec record.Record) *formats.Content {
	content := c.hosted.content(op, rec)
	open := c.service.sounded(content.Open, storedOf(rec))
	content.Open = func(ctx context.Context, offset, n int64) (io.ReadCloser, error) {
		r, err := open(ctx, offset, n)
		if !errors.Is(err, formats.ErrCorrupt) {
			return r, err
		}
		return c.refill(ctx, op, rec, offset, n, err)
	}
	return content
}

// refill fetches again what was lost, once, and opens it. Other bytes can't be
// sent under the headers of the record that was asked for.
func (c *cache) refill(ctx context.Context, op formats.Op, lost record.Record, offset, n int64, why error) (io.ReadCloser, error) {
	rec, version, err := c.service.Records.Get(ctx, c.repo.space, op.Scope, op.Name, record.Latest)
	if err != nil {
		return nil, why
	}
	f := c.begin(ctx, op, &copied{rec, version, true}, false)
	select {
	case <-f.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if f.err != nil {
		return nil, fmt.Errorf("%w, and could not be fetched again: %w", why, f.err)
	}
	rec, _, err = c.service.Records.Get(ctx, c.repo.space, op.Scope, op.Name, record.Latest)
	if err != nil || !bytes.Equal(rec.Sums.BLAKE3, lost.Sums.BLAKE3) {
		return nil, why
	}
	return c.hosted.content(op, rec).Open(ctx, offset, n)
}
