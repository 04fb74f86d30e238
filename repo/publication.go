package repo

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/maypok86/otter/v2"
	"github.com/zeebo/blake3"
	"golang.org/x/sync/singleflight"

	"granary/blob"
	"granary/digest"
	"granary/formats"
	"granary/kv"
	"granary/repo/compress"
)

// publication is what was rendered together from the records of a scope, as
// stored at [kv.Space.Publication].
type publication struct {
	kv.Extra `cbor:"-"`
	Made     int64       `cbor:"1,keyasint,omitempty"` // Unix ns
	Store    string      `cbor:"2,keyasint,omitempty"` // id of the store that blobs of it are in
	Records  int64       `cbor:"3,keyasint,omitempty"` // how many went in
	Files    []published `cbor:"4,keyasint,omitempty"`
	Inputs   []byte      `cbor:"5,keyasint,omitempty"` // fingerprint of those records
	// Dated is the date that its documents carry, in Unix seconds, 0 for none.
	// Crowded: an earlier publication carries it too, so that times of whole
	// seconds don't tell the two apart.
	Dated   int64 `cbor:"6,keyasint,omitempty"`
	Crowded bool  `cbor:"7,keyasint,omitempty"`

	read   time.Time // when this node read or wrote it
	partly bool      // lacks a member of its group; never stored
}

// published is one document of a publication.
type published struct {
	Path   string      `cbor:"1,keyasint,omitempty"`
	Type   string      `cbor:"2,keyasint,omitempty"`
	Size   int64       `cbor:"3,keyasint,omitempty"`
	Sums   digest.Sums `cbor:"4,keyasint"`
	Inline []byte      `cbor:"5,keyasint,omitempty"`
	Blob   blob.ID     `cbor:"6,keyasint,omitempty"`
	Expand bool        `cbor:"7,keyasint,omitempty"` // holds stand-ins for URLs
	Gzip   *published  `cbor:"8,keyasint,omitempty"` // the same bytes compressed
	Of     string      `cbor:"9,keyasint,omitempty"` // the path whose document this one is, under another name
}

// file returns the document at a path, nil if there is none.
func (p *publication) file(path string) *published {
	for i := range p.Files {
		if f := &p.Files[i]; f.Path == path {
			if f.Of != "" && f.Of != path {
				return p.file(f.Of)
			}
			return f
		}
	}
	return nil
}

// modified is what clients are told, to the second, and ask by later: the zero
// time where it would not tell this publication from another.
func (p *publication) modified() time.Time {
	switch {
	case p.Crowded:
		return time.Time{}
	case p.Dated != 0:
		return time.Unix(p.Dated, 0).UTC()
	}
	return time.Unix(0, p.Made).UTC()
}

// weight is the memory that a publication takes in the cache, in bytes.
func (p *publication) weight() uint32 {
	n := 256
	for _, f := range p.Files {
		n += 256 + len(f.Path) + len(f.Inline)
		if f.Gzip != nil {
			n += 128 + len(f.Gzip.Inline)
		}
	}
	return uint32(min(n, 1<<31))
}

// publications renders, stores and serves the documents of all repositories.
type publications struct {
	service *Service
	hot     *otter.Cache[kv.Key, *publication]
	bytes   *otter.Cache[blob.ID, []byte] // of documents that are blobs
	packed  *compress.Cache               // of documents' compressed forms
	making  singleflight.Group
	checks  *checks
}

// hotFor is how long a publication is served from memory before it is read
// again. What the collector removed must not be served for ever (of a group it
// can't tell which publication is in use), and its blobs go a grace later.
const hotFor = 10 * time.Minute

func newPublications(s *Service) (*publications, error) {
	hot, err := otter.New(&otter.Options[kv.Key, *publication]{
		MaximumWeight: uint64(s.CacheBytes),
		Weigher:       func(_ kv.Key, p *publication) uint32 { return p.weight() },
	})
	if err != nil {
		return nil, fmt.Errorf("make the cache of documents: %w", err)
	}
	read, err := otter.New(&otter.Options[blob.ID, []byte]{
		MaximumWeight: uint64(s.CacheBytes),
		Weigher:       func(_ blob.ID, b []byte) uint32 { return uint32(len(b) + 128) }, //nolint:gosec // bounded by longestInMemory
	})
	if err != nil {
		return nil, fmt.Errorf("make the cache of documents' bytes: %w", err)
	}
	packed, err := compress.New(s.CacheBytes / 2)
	if err != nil {
		return nil, err
	}
	return &publications{service: s, hot: hot, bytes: read, packed: packed, checks: newChecks(s)}, nil
}

// document returns a document of the scope's current publication. The stamp is
// read before anything is rendered: what was published before this read is in
// the document.
func (p *publications) document(ctx context.Context, r *repository, v view, op formats.Op) (*formats.Content, error) {
	if r.index == nil {
		return nil, fmt.Errorf("%s/%s: %w", r.Name, op.Path, formats.ErrNotFound)
	}
	if c, ok := v.(*cache); ok {
		if content, err := c.verbatim(ctx, op); content != nil || err != nil {
			return content, err
		}
	}
	stamp, err := v.Stamp(ctx, op.Scope)
	if err != nil {
		return nil, err
	}
	if stamp == "" && !op.Missing {
		return nil, fmt.Errorf("%s/%s: %w", r.Name, op.Path, formats.ErrNotFound)
	}
	signer, err := p.service.signer(ctx, r)
	if err != nil {
		return nil, err
	}
	key := r.space.Publication(op.Scope, publicationKey(stamp, r.index.Renderer(), signer, r.settings(), p.service.Now()))
	pub, err := p.get(ctx, r, v, op.Scope, key, signer)
	if err != nil {
		return nil, err
	}
	p.checks.due(ctx, v, op.Scope, stamp, key, pub)
	if pub.Records == 0 && !op.Missing && strings.HasPrefix(stamp, hostedStamp) {
		return nil, fmt.Errorf("%s/%s: %w", r.Name, op.Path, formats.ErrNotFound)
	}
	f := pub.file(op.Path)
	again := func(ctx context.Context) (*publication, error) {
		if err := p.drop(ctx, key, pub); err != nil {
			return nil, err
		}
		return p.get(ctx, r, v, op.Scope, key, signer)
	}
	if f == nil && (!op.Sum.IsZero() || op.Kept) {
		pub, f, err = p.earlier(ctx, r, op)
		again = nil
	}
	if err == nil {
		pub, f, err = p.whole(ctx, pub, f, again)
	}
	if err != nil {
		return nil, err
	}
	if f == nil {
		return nil, fmt.Errorf("%s/%s: %w", r.Name, op.Path, formats.ErrNotFound)
	}
	c := p.content(pub, f, again)
	c.Fixed = op.Fixed
	if pub.partly {
		c.Warning = partly
	}
	if op.Type != "" {
		c.Type = op.Type
	}
	return c, nil
}

// earlier finds a document that its path names by digest in the publications
// that are kept: a client that read an entry point before it was replaced goes
// on to what that named.
func (p *publications) earlier(ctx context.Context, r *repository, op formats.Op) (*publication, *published, error) {
	from, to := r.space.Publications(op.Scope)
	for item, err := range p.service.KV.Query(ctx, from.Partition, from.Sort, to.Sort, kv.Consistent) {
		if err != nil {
			return nil, nil, fmt.Errorf("read the publications of %s/%s: %w", r.Name, op.Scope, err)
		}
		var pub publication
		if err := kv.Unmarshal(item.Value, &pub); err != nil {
			return nil, nil, fmt.Errorf("%w: publication %v: %w", formats.ErrCorrupt, item.Key, err)
		}
		if f := pub.file(op.Path); f != nil && f.Sums.Check(op.Sum) == nil {
			return &pub, f, nil
		}
	}
	return nil, nil, nil
}

// publicationKey names what is rendered from inputs of that stamp by that
// renderer, signed with those keys, of a repository that is set so. Documents
// that expire are made anew when half of their time is over.
func publicationKey(stamp, renderer string, signer formats.Signer, set formats.Settings, now time.Time) string {
	b := make([]byte, 0, 256)
	b = append(strconv.AppendQuote(b, stamp), ' ')
	b = strconv.AppendQuote(b, renderer)
	if signer != nil {
		b = appendQuotes(b, signer.Fingerprints())
	}
	if len(set.Architectures) > 0 || len(set.Components) > 0 || set.ValidFor > 0 || set.SQLite || set.Zstd {
		b = appendQuotes(appendQuotes(b, set.Architectures), set.Components)
		b = strconv.AppendInt(append(b, ' '), int64(set.ValidFor), 10)
		b = strconv.AppendBool(append(b, ' '), set.SQLite)
	}
	if set.Zstd {
		b = append(b, " zst"...)
	}
	if half := set.ValidFor / 2; half > 0 {
		b = strconv.AppendInt(append(b, ' '), now.UnixNano()/int64(half), 10)
	}
	sum := blake3.Sum256(b)
	return hex.EncodeToString(sum[:20])
}

// appendQuotes appends a space and the strings, as fmt shows them by %q: keys of
// publications must stay what they are.
func appendQuotes(b []byte, list []string) []byte {
	b = append(b, " ["...)
	for i, s := range list {
		if i > 0 {
			b = append(b, ' ')
		}
		b = strconv.AppendQuote(b, s)
	}
	return append(b, ']')
}

// remember keeps a publication that was just read or written, and that nobody
// else has yet.
func (p *publications) remember(key kv.Key, pub *publication) {
	pub.read = p.service.Now()
	p.hot.Set(key, pub)
}

// get returns the publication from memory, from the store, or rendered now:
// one request renders, the others of this process wait for it.
func (p *publications) get(ctx context.Context, r *repository, v view, scope string, key kv.Key, signer formats.Signer) (*publication, error) {
	if pub, ok := p.hot.GetIfPresent(key); ok && p.service.Now().Sub(pub.read) < hotFor {
		return pub, nil
	}
	type result struct {
		pub *publication
		err error
	}
	ch := p.making.DoChan(key.String(), func() (any, error) {
		done := make(chan result, 1)
		p.service.background(ctx, func(ctx context.Context) {
			pub, err := p.loadOrRender(ctx, r, v, scope, key, signer)
			done <- result{pub, err}
		})
		res := <-done
		return res.pub, res.err
	})
	select {
	case res := <-ch:
		if res.Err != nil {
			return nil, res.Err
		}
		return res.Val.(*publication), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *publications) loadOrRender(ctx context.Context, r *repository, v view, scope string, key kv.Key, signer formats.Signer) (*publication, error) {
	table := kv.Table[publication]{Store: p.service.KV}
	pub, _, err := table.Get(ctx, key)
	if errors.Is(err, kv.ErrNotFound) {
		return p.render(ctx, r, v, scope, key, signer)
	}
	if err != nil {
		return nil, fmt.Errorf("read the publication of %s/%s: %w", r.Name, scope, err)
	}
	p.remember(key, &pub)
	return &pub, nil
}

// render makes the publication and stores it. Who loses the race for the key
// serves what is stored: there are never two contents under one key.
func (p *publications) render(ctx context.Context, r *repository, v view, scope string, key kv.Key, signer formats.Signer) (*publication, error) {
	pw := newPub(ctx, p.service, r, scope, signer)
	defer pw.abort(ctx)
	count, inputs := int64(0), newFingerprint()
	counted := func(yield func(formats.Record, error) bool) {
		for rec, err := range v.Records(ctx, scope) {
			if err == nil {
				count++
				inputs.add(rec)
			}
			if !yield(rec, err) {
				return
			}
		}
	}
	if err := r.index.Render(ctx, scope, counted, pw); err != nil {
		return nil, fmt.Errorf("render %s/%s: %w", r.Name, scope, err)
	}
	pub, err := pw.finish(ctx)
	if err != nil {
		return nil, fmt.Errorf("publish %s/%s: %w", r.Name, scope, err)
	}
	pub.Made, pub.Records, pub.Inputs = p.service.Now().UnixNano(), count, inputs.sum()
	if !keeps(v) {
		g, ok := v.(*group)
		pub.partly = ok && g.partial.Load()
		return pub, nil
	}
	table := kv.Table[publication]{Store: p.service.KV}
	_, err = table.Create(ctx, key, *pub)
	if errors.Is(err, kv.ErrConflict) {
		stored, _, err := table.Get(ctx, key, kv.Consistent)
		if err != nil {
			return nil, fmt.Errorf("read the publication of %s/%s: %w", r.Name, scope, err)
		}
		pub = &stored
	} else if err != nil {
		return nil, fmt.Errorf("store the publication of %s/%s: %w", r.Name, scope, err)
	}
	if err := pw.confirm(ctx); err != nil {
		err = p.service.undoItem(ctx, key, err, pw.made)
		return nil, fmt.Errorf("publish %s/%s: %w", r.Name, scope, err)
	}
	p.remember(key, pub)
	return pub, nil
}

// content is a document ready to be sent; again makes its publication anew, nil
// if that can't be.
func (p *publications) content(pub *publication, f *published, again func(context.Context) (*publication, error)) *formats.Content {
	c := p.bytesOf(pub, f)
	c.Open = p.mending(c.Open, f, again, func(now *published) *published { return now })
	if f.Gzip != nil {
		c.Gzip = p.bytesOf(pub, f.Gzip)
		c.Gzip.Type = f.Type
		c.Gzip.Open = p.mending(c.Gzip.Open, f, again, func(now *published) *published { return now.Gzip })
	}
	return c
}

func (p *publications) bytesOf(pub *publication, f *published) *formats.Content {
	c := &formats.Content{
		Record: formats.Record{
			Name: f.Path, Type: f.Type, Size: f.Size, Sums: f.Sums, Time: pub.modified(),
		},
		Inline: f.Inline, Expand: f.Expand, BlobID: string(f.Blob),
	}
	if f.Blob == "" {
		c.Open = inlineOpener(f.Inline)
	} else {
		c.Open = p.remembered(pub.Store, f, p.service.opener(pub.Store, f.Blob, f.Sums))
	}
	return c
}
