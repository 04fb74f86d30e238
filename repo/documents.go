package repo

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"

	"granary/blob"
	"granary/digest"
	"granary/formats"
	"granary/kv"
	"granary/repo/upstream"
)

// maxDocument bounds an upstream document in bytes.
const maxDocument = 1 << 30

// document is an upstream's document, or that there is none, as stored at
// [kv.Space.Document].
type document struct {
	kv.Extra     `cbor:"-"`
	Status       int         `cbor:"1,keyasint,omitempty"` // 200 or 404
	Checked      int64       `cbor:"2,keyasint,omitempty"` // Unix ns of the last answer of the upstream
	ETag         string      `cbor:"3,keyasint,omitempty"`
	LastModified string      `cbor:"4,keyasint,omitempty"`
	URL          string      `cbor:"5,keyasint,omitempty"` // where it was found after redirects
	Size         int64       `cbor:"6,keyasint,omitempty"`
	Sums         digest.Sums `cbor:"7,keyasint"`
	Inline       []byte      `cbor:"8,keyasint,omitempty"`
	Store        string      `cbor:"9,keyasint,omitempty"`
	Blob         blob.ID     `cbor:"10,keyasint,omitempty"`
	// Since is the time from which on the upstream has been known to have this,
	// later than its predecessor's.
	Since int64 `cbor:"11,keyasint,omitempty"` // Unix ns
	// Replaced: there is no document, but there was one before.
	Replaced bool   `cbor:"12,keyasint,omitempty"`
	Next     string `cbor:"13,keyasint,omitempty"` // URL of what the upstream says follows
	// Unsettled: it took the place of another, and copies that it promises other
	// bytes of may still be there.
	Unsettled bool `cbor:"14,keyasint,omitempty"`

	lost bool // its bytes are, so that it is asked for as if it were not here
}

func (d *document) stamp() string { return cacheStamp + hex.EncodeToString(d.Sums.BLAKE3[:16]) }

func (d *document) missing() bool { return d.Status == http.StatusNotFound }

// documents keeps the documents of upstreams and asks again when they are due.
type documents struct{ asking singleflight.Group }

// document returns an upstream's document, asked for again where it is due.
// formats.ErrNotFound: the upstream has none. An old copy serves where the
// upstream can't be asked.
func (c *cache) document(ctx context.Context, scope, path string, sum digest.Sums) (*document, error) {
	if c.repo.refuses(path) {
		return nil, fmt.Errorf("%s/%s: %w", c.repo.Name, path, formats.ErrBlocked)
	}
	key := c.repo.space.Document(scope, path)
	d, version, err := c.service.documentTable().Get(ctx, key)
	if err == nil && d.Unsettled {
		if err := c.settle(ctx, scope, path); err != nil {
			return nil, err
		}
		d, version, err = c.service.documentTable().Get(ctx, key, kv.Consistent)
		d.Unsettled = false
	}
	switch {
	case errors.Is(err, kv.ErrNotFound):
		return c.renewed(ctx, scope, path, nil, "", sum)
	case err != nil:
		return nil, fmt.Errorf("read document %s/%s: %w", c.repo.Name, path, err)
	case c.current(&d, sum):
		c.cached(Hit)
		return d.result(path)
	case c.repo.ttl() > 0 && !d.missing() && sum.IsZero():
		c.service.background(ctx, func(ctx context.Context) {
			if _, err := c.askDocument(ctx, scope, path, &d, version, sum); err != nil && !errors.Is(err, formats.ErrNotFound) {
				c.service.Log.WarnContext(ctx, "refresh a document", "repository", c.repo.Name, "path", path, "error", err)
			}
		})
		c.cached(StaleServe)
		return d.result(path)
	}
	return c.renewed(ctx, scope, path, &d, version, sum)
}

// renewed is askDocument for what a client asked for: it counts what came of it,
// and what the upstream does not have is formats.ErrNotFound.
func (c *cache) renewed(ctx context.Context, scope, path string, old *document, version kv.Version, sum digest.Sums) (*document, error) {
	now, err := c.askDocument(ctx, scope, path, old, version, sum)
	if err != nil {
		c.came(err, false, false)
		return nil, err
	}
	changed := old == nil || old.Status != now.Status || !bytes.Equal(old.Sums.BLAKE3, now.Sums.BLAKE3)
	c.came(nil, changed, now == old)
	return now.result(path)
}

// current tells whether the upstream need not be asked.
func (c *cache) current(d *document, sum digest.Sums) bool {
	if d.missing() {
		return c.service.Now().Sub(time.Unix(0, d.Checked)) < c.repo.negativeTTL()
	}
	if !sum.IsZero() {
		return d.Sums.Check(sum) == nil
	}
	return c.repo.fresh(d.Checked, c.service.Now())
}

func (d *document) result(path string) (*document, error) {
	if d.missing() {
		return nil, fmt.Errorf("upstream %s: %w", path, formats.ErrNotFound)
	}
	return d, nil
}

// askDocument asks the upstream once for all who wait for the same document. It
// returns old itself where the upstream can't be asked.
func (c *cache) askDocument(ctx context.Context, scope, path string, old *document, version kv.Version, sum digest.Sums) (*document, error) {
	type result struct {
		d   *document
		err error
	}
	ch := c.service.docs.asking.DoChan(c.repo.space.Document(scope, path).String(), func() (any, error) {
		done := make(chan result, 1)
		c.service.background(ctx, func(ctx context.Context) {
			d, err := c.fetchDocument(ctx, scope, path, old, version, sum)
			done <- result{d, err}
		})
		r := <-done
		return r.d, r.err
	})
	select {
	case r := <-ch:
		if r.Err == nil {
			return r.Val.(*document), nil
		}
		if old != nil && !old.lost && sum.IsZero() && !errors.Is(r.Err, formats.ErrBadRequest) {
			return old, nil
		}
		return nil, r.Err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (c *cache) fetchDocument(ctx context.Context, scope, path string, old *document, version kv.Version, sum digest.Sums) (*document, error) {
	req, err := c.request(path)
	if err != nil {
		return nil, err
	}
	if old != nil && !old.missing() && !old.lost && sum.IsZero() {
		req.ETag, req.LastModified = old.ETag, old.LastModified
	}
	var d *document
	err = c.each(ctx, req, func(req upstream.Request, told digest.Sums) (err error) {
		if sum.IsZero() {
			d, err = c.fetchFrom(ctx, req, scope, path, old, version, told)
			return err
		}
		d, err = c.fetchFrom(ctx, req, scope, path, old, version, sum)
		return err
	})
	if errors.Is(err, formats.ErrNotFound) {
		return c.storeDocument(ctx, scope, path, old, version, &document{Status: http.StatusNotFound, Checked: c.service.Now().UnixNano()})
	}
	return d, err
}

// fetchFrom asks one upstream.
func (c *cache) fetchFrom(ctx context.Context, req upstream.Request, scope, path string, old *document, version kv.Version, sum digest.Sums) (*document, error) {
	resp, err := c.service.Upstream.Get(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("document %s of the upstream of %s: %w", path, c.repo.Name, err)
	}
	defer resp.Body.Close() //nolint:errcheck // read to its end or given up
	now := c.service.Now().UnixNano()
	if resp.NotModified {
		d := *old
		d.Checked = now
		if c.repo.ttl() == 0 {
			return &d, nil // asked every time: the answer need not be remembered
		}
		return c.storeDocument(ctx, scope, path, old, version, &d)
	}
	return c.takeDocument(ctx, scope, path, old, version, sum, req, resp)
}

func (c *cache) takeDocument(ctx context.Context, scope, path string, old *document, version kv.Version, sum digest.Sums, req upstream.Request, resp *upstream.Response) (*document, error) {
	store, err := c.service.Store(ctx, c.repo.Store)
	if err != nil {
		return nil, err
	}
	o := c.service.receiveOptions(resp.Size, sum.Algorithms()...)
	o.Max = maxDocument
	rc, err := blob.Receive(ctx, store, resp.Body, o)
	if err != nil {
		return nil, upstreamBody(path, err)
	}
	defer c.service.discard(ctx, rc)
	if err := rc.Sums().Check(sum); err != nil {
		return nil, fmt.Errorf("%w: document %s of the upstream of %s: %w", formats.ErrUpstream, path, c.repo.Name, err)
	}
	if err := c.attest(ctx, scope, path, req, rc); err != nil {
		return nil, err
	}
	d := &document{
		Status: http.StatusOK, Checked: c.service.Now().UnixNano(), ETag: resp.ETag, LastModified: resp.LastModified, URL: resp.URL,
		Size: rc.Size(), Sums: rc.Sums(), Next: nextPage(resp),
	}
	if old != nil && !old.lost && bytes.Equal(old.Sums.BLAKE3, d.Sums.BLAKE3) {
		d.Inline, d.Store, d.Blob = old.Inline, old.Store, old.Blob
		return c.storeDocument(ctx, scope, path, old, version, d)
	}
	if d.Unsettled, err = c.unsettled(ctx, scope, path, old); err != nil {
		return nil, err
	}
	if b, ok := rc.Inline(); ok {
		d.Inline = bytes.Clone(b)
		if d, err = c.storeDocument(ctx, scope, path, old, version, d); err != nil {
			return nil, err
		}
		return d, c.entries(ctx, scope, path, d)
	}
	held, err := c.service.hold(ctx, c.repo.Store, rc)
	if err != nil {
		return nil, fmt.Errorf("store document %s/%s: %w", c.repo.Name, path, err)
	}
	d.Store, d.Blob = c.repo.Store, held.Blob
	if d, err = c.storeDocument(ctx, scope, path, old, version, d); err != nil {
		return nil, err
	}
	if err := c.entries(ctx, scope, path, d); err != nil {
		return nil, err
	}
	if err := c.service.Refs.Confirm(ctx, held); err != nil {
		err = c.service.undoItem(ctx, c.repo.space.Document(scope, path), err, func(item kv.Item) bool {
			x, err := ReadIndexed(item)
			return err == nil && len(x.Names) == 1 && x.Names[0].Blob == held.Blob
		})
		return nil, fmt.Errorf("keep document %s/%s: %w", c.repo.Name, path, err)
	}
	return d, nil
}

// entries is what a new index means for the files that it lists.
func (c *cache) entries(ctx context.Context, scope, path string, d *document) error {
	if err := c.enter(ctx, scope, path); err != nil || !d.Unsettled {
		return err
	}
	return c.settle(ctx, scope, path)
}

// storeDocument writes on the version that was seen before the fetch, so that
// a document never goes backwards: who comes late uses what is there. What it
// replaces goes to history first.
func (c *cache) storeDocument(ctx context.Context, scope, path string, old *document, version kv.Version, d *document) (*document, error) {
	key, table := c.repo.space.Document(scope, path), c.service.documentTable()
	if err := c.keepDocument(ctx, scope, path, old, d); err != nil {
		return nil, fmt.Errorf("keep the history of document %s/%s: %w", c.repo.Name, path, err)
	}
	_, err := table.Replace(ctx, key, *d, version)
	if errors.Is(err, kv.ErrConflict) {
		now, _, err := table.Found(ctx, key, err)
		if errors.Is(err, kv.ErrNotFound) {
			return d, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read document %v: %w", key, err)
		}
		return &now, nil
	}
	if err != nil {
		return nil, fmt.Errorf("store document %v: %w", key, err)
	}
	return d, nil
}

// documentTable lets what upstreams do not have be forgotten by itself.
func (s *Service) documentTable() kv.Table[document] {
	return kv.Table[document]{Store: s.KV, Expires: func(d document) time.Time {
		if d.missing() && !d.Replaced {
			return time.Unix(0, d.Checked).Add(missingFor)
		}
		return time.Time{}
	}}
}

// missingFor is how long a "not found" is remembered for the time when the
// upstream can't be asked; how long it is believed is the negative TTL.
const missingFor = 24 * time.Hour

// source is formats.Source: the upstream's documents, by way of the cache.
type source struct {
	cache *cache
	scope string
	entry string
}

// Settings returns those of the cache.
func (s source) Settings() formats.Settings { return s.cache.repo.settings() }

// Open takes the entry document as it is stored: the stamp has asked for it.
func (s source) Open(ctx context.Context, path string, sum digest.Sums) (io.ReadCloser, error) {
	var d *document
	var err error
	if s.cache.moment != nil {
		d, err = s.cache.pastDocument(ctx, s.scope, path, sum)
	} else if path == s.entry {
		d, err = s.cache.storedDocument(ctx, s.scope, path)
	} else {
		d, err = s.cache.document(ctx, s.scope, path, sum)
	}
	if err != nil {
		return nil, err
	}
	return s.cache.opener(s.scope, path, d, sum)(ctx, 0, -1)
}

var _ formats.Paged = source{}

// Next asks for the document again only if it is not stored.
func (s source) Next(ctx context.Context, path string) (string, error) {
	d, err := s.cache.storedDocument(ctx, s.scope, path)
	if err != nil {
		return "", err
	}
	return d.Next, nil
}

// nextPage reads the Link header of an answer, RFC 8288; "" without a link to
// a next page that can be followed.
func nextPage(resp *upstream.Response) string {
	for _, v := range resp.Header.Values("Link") {
		for link := range strings.SplitSeq(v, ",") {
			target, params, ok := strings.Cut(strings.TrimSpace(link), ";")
			target, open := strings.CutPrefix(strings.TrimSpace(target), "<")
			target, closed := strings.CutSuffix(target, ">")
			if !ok || !open || !closed || !strings.Contains(strings.ReplaceAll(params, `"`, ""), "rel=next") {
				continue
			}
			if next, err := resolve(resp.URL, target); err == nil {
				return next
			}
		}
	}
	return ""
}

func (c *cache) storedDocument(ctx context.Context, scope, path string) (*document, error) {
	d, _, err := c.service.documentTable().Get(ctx, c.repo.space.Document(scope, path), kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) {
		return c.document(ctx, scope, path, digest.Sums{})
	}
	if err != nil {
		return nil, fmt.Errorf("read document %s/%s: %w", c.repo.Name, path, err)
	}
	return d.result(path)
}

// upstreamBody says of a body that could not be taken whose fault it is.
func upstreamBody(path string, err error) error {
	switch {
	case errors.Is(err, blob.ErrNoSpace), errors.Is(err, blob.ErrUnavailable), errors.Is(err, formats.ErrUpstream):
		return fmt.Errorf("take %s: %w", path, err)
	case errors.Is(err, blob.ErrTooLarge):
		// Without the cause in the chain: it is no body of the client's.
		return fmt.Errorf("%w: %s: %s", formats.ErrUpstream, path, err.Error())
	}
	return fmt.Errorf("%w: %s broke off: %w", formats.ErrUpstream, path, err)
}
