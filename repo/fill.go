package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"granary/blob"
	"granary/digest"
	"granary/formats"
	"granary/kv"
	"granary/repo/record"
	"granary/repo/upstream"
)

// followFrom is the size in bytes from which a fill's bytes are passed on
// while they arrive. Shorter files are sent once they are whole, with their
// digest for an ETag.
const followFrom = 1 << 20

// copied is a stored copy that a fill confirms or replaces.
type copied struct {
	record  record.Record
	version kv.Version
	// lost: its bytes are, so that it is neither confirmed nor served instead.
	lost bool
}

// fills are those that run in this process, one per object.
type fills struct {
	mu      sync.Mutex
	running map[string]*fill // guarded by mu
}

// fill brings one object from the upstream. Its fields other than the tail are
// set before the channel that tells of them is closed.
type fill struct {
	started chan struct{} // closed when head is known, or at the end
	done    chan struct{} // closed at the end
	tail    *tail

	head    *formats.Content // what may be said while bytes arrive; nil: wait for the end
	content *formats.Content
	err     error
	// fetched: there is more to it than a copy that was confirmed. It is set
	// before started is closed.
	fetched bool
}

// begin joins the fill of an object, or starts it. cold: there was no record
// when the caller looked.
func (c *cache) begin(ctx context.Context, op formats.Op, old *copied, cold bool) *fill {
	s := &c.service.fills
	key := c.repo.ID + "/" + op.Key()
	s.mu.Lock()
	defer s.mu.Unlock()
	if f, ok := s.running[key]; ok {
		return f
	}
	f := &fill{started: make(chan struct{}), done: make(chan struct{}), tail: newTail(tailWindow)}
	s.running[key] = f
	c.service.background(ctx, func(ctx context.Context) {
		content, err := c.run(ctx, f, op, old, cold)
		s.mu.Lock()
		delete(s.running, key)
		s.mu.Unlock()
		f.content, f.err = content, err
		f.tail.end(err)
		if f.head == nil {
			close(f.started)
		}
		close(f.done)
	})
	return f
}

// fill returns the object, from the bytes as they arrive where that can be.
func (c *cache) fill(ctx context.Context, op formats.Op, old *copied, cold bool) (*formats.Content, error) {
	f := c.begin(ctx, op, old, cold)
	select {
	case <-f.started:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if f.head != nil {
		select {
		case <-f.done:
		default:
			c.cached(Miss)
			return f.follow(), nil
		}
	}
	if f.err != nil {
		c.came(f.err, false, false)
		return nil, f.err
	}
	c.came(nil, f.fetched, f.content.Warning == stale)
	content := *f.content
	return &content, nil
}

// run asks the upstream and stores what it answers, as the only node that does
// so where leases say so.
func (c *cache) run(ctx context.Context, f *fill, op formats.Op, old *copied, cold bool) (*formats.Content, error) {
	release, content, err := c.turn(ctx, op, old)
	if err != nil || content != nil {
		return content, err
	}
	defer release()
	if cold {
		// Another fill may have ended between that look and this one's begin.
		if content := c.stored(ctx, op, nil); content != nil {
			return content, nil
		}
	}
	content, err = c.fetch(ctx, f, op, old)
	if err != nil && (old == nil || old.lost) && f.head == nil {
		content, err = c.derive(ctx, op, err)
		f.fetched = err == nil
	}
	switch {
	case err == nil, ctx.Err() != nil:
		return content, err
	case old != nil && !old.lost && !errors.Is(err, formats.ErrNotFound) && f.head == nil:
		c.service.Log.WarnContext(ctx, "serve a copy that could not be confirmed", "repository", c.repo.Name, "path", op.Key(), "error", err)
		content = c.content(op, old.record)
		content.Warning = stale
		return content, nil
	case !errors.Is(err, formats.ErrNotFound) && old == nil && c.rememberedMissing(ctx, op, missingFor):
		return nil, fmt.Errorf("%s/%s: %w", c.repo.Name, op.Key(), formats.ErrNotFound)
	}
	return nil, err
}

const (
	leaseTTL  = 10 * time.Second
	leaseWait = 5 * time.Second
	leasePoll = 100 * time.Millisecond
)

// turn waits while another node fills the object. It returns what that node
// stored, or the right to fetch: after five seconds without an end this node
// fetches for itself.
func (c *cache) turn(ctx context.Context, op formats.Op, old *copied) (release func(), content *formats.Content, err error) {
	if old == nil && c.rememberedMissing(ctx, op, c.repo.negativeTTL()) {
		return nil, nil, fmt.Errorf("%s/%s: %w", c.repo.Name, op.Key(), formats.ErrNotFound)
	}
	if c.service.Leases == nil {
		return func() {}, nil, nil
	}
	until := time.NewTimer(leaseWait)
	defer until.Stop()
	for {
		release, err = c.service.Leases.Lease(ctx, "fill/"+c.repo.ID+"/"+op.Key(), leaseTTL)
		if err == nil {
			return release, nil, nil
		}
		select {
		case <-time.After(leasePoll):
		case <-until.C:
			return func() {}, nil, nil
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
		if content := c.stored(ctx, op, old); content != nil {
			return nil, content, nil
		}
	}
}

// stored returns the copy that another node has made meanwhile.
func (c *cache) stored(ctx context.Context, op formats.Op, old *copied) *formats.Content {
	rec, version, err := c.service.Records.Get(ctx, c.repo.space, op.Scope, op.Name, record.Latest)
	if err != nil || old != nil && version == old.version {
		return nil
	}
	return c.content(op, rec)
}

// rememberedMissing tells whether the upstream said within the time that it
// has no such file.
func (c *cache) rememberedMissing(ctx context.Context, op formats.Op, within time.Duration) bool {
	if within == 0 {
		return false
	}
	d, _, err := c.service.documentTable().Get(ctx, c.repo.space.Document(op.Scope, op.Upstream()))
	return err == nil && d.missing() && (within < 0 || c.service.Now().Sub(time.Unix(0, d.Checked)) < within)
}

// fetch asks the upstream.
func (c *cache) fetch(ctx context.Context, f *fill, op formats.Op, old *copied) (*formats.Content, error) {
	if p, ok := c.repo.format.(formats.Pointer); ok && p.Points(op) {
		return c.fetchPointed(ctx, f, op, old, p)
	}
	return c.fetchFile(ctx, f, op, old)
}

// fetchFile asks for the bytes, conditionally where there is a copy. What a
// mirror has that is not what it should be is asked of the next one.
func (c *cache) fetchFile(ctx context.Context, f *fill, op formats.Op, old *copied) (*formats.Content, error) {
	req, promised, index, err := c.promised(ctx, op)
	if err != nil {
		return nil, err
	}
	if old != nil && !old.lost && old.record.Origin != nil {
		req.ETag, req.LastModified = old.record.Origin.ETag, old.record.Origin.LastModified
	}
	var content *formats.Content
	var broken error // what readers have seen a part of is not asked for elsewhere
	answered := false
	err = c.each(ctx, req, func(req upstream.Request, _ digest.Sums) error {
		resp, err := c.service.Upstream.Get(ctx, req)
		if err != nil {
			return fmt.Errorf("%s of the upstream of %s: %w", op.Upstream(), c.repo.Name, err)
		}
		defer resp.Body.Close() //nolint:errcheck // read to its end or given up
		answered = true
		if resp.NotModified {
			content, err = c.confirmCopy(ctx, op, old)
			return err
		}
		content, err = c.take(ctx, f, op, promised, resp)
		if err != nil && f.tail.begun() {
			broken = err
			return nil
		}
		return err
	})
	switch {
	case broken != nil:
		return nil, broken
	case errors.Is(err, formats.ErrNotFound) && !answered:
		return nil, c.forget(ctx, op, old, err)
	case err != nil:
		return nil, err
	}
	return content, c.overtaken(ctx, op, index, content.Sums)
}

// confirmCopy remembers when a copy was last confirmed, unless the upstream is
// asked every time anyway.
func (c *cache) confirmCopy(ctx context.Context, op formats.Op, old *copied) (*formats.Content, error) {
	rec := old.record
	if c.repo.ttl() != 0 {
		origin := *rec.Origin
		origin.Checked = c.service.Now().UnixNano()
		rec.Origin = &origin
		_, err := c.service.Records.Update(ctx, c.repo.space, op.Scope, op.Name, old.version, rec)
		if err != nil && !errors.Is(err, kv.ErrConflict) {
			return nil, fmt.Errorf("remember that %s/%s is current: %w", c.repo.Name, op.Key(), err)
		}
	}
	return c.content(op, rec), nil
}

// forget drops a copy that the upstream no longer has and remembers that. One
// whose bytes are lost stays, since somebody may put them back.
func (c *cache) forget(ctx context.Context, op formats.Op, old *copied, missing error) error {
	if old != nil && old.lost {
		return fmt.Errorf("%s/%s: %w", c.repo.Name, op.Key(), missing)
	}
	if old != nil {
		_, err := c.service.Records.Delete(ctx, c.repo.space, op.Scope, op.Name, nil)
		if err != nil && !errors.Is(err, formats.ErrNotFound) {
			return fmt.Errorf("drop %s/%s: %w", c.repo.Name, op.Key(), err)
		}
	}
	d := document{Status: http.StatusNotFound, Checked: c.service.Now().UnixNano()}
	table := c.service.documentTable()
	key := c.repo.space.Document(op.Scope, op.Upstream())
	_, version, err := table.Get(ctx, key)
	if err == nil || errors.Is(err, kv.ErrNotFound) {
		_, err = table.Replace(ctx, key, d, version)
	}
	if err != nil && !errors.Is(err, kv.ErrConflict) {
		c.service.Log.WarnContext(ctx, "remember a missing file", "repository", c.repo.Name, "path", op.Key(), "error", err)
	}
	return fmt.Errorf("%s/%s: %w", c.repo.Name, op.Key(), missing)
}

// follow is the content as far as it is known while bytes arrive.
func (f *fill) follow() *formats.Content {
	c := *f.head
	c.Open = func(ctx context.Context, offset, n int64) (io.ReadCloser, error) {
		r := &follower{fill: f, ctx: ctx, tail: f.tail.reader(ctx, offset), pos: offset}
		if n < 0 {
			return r, nil
		}
		return &limited{io.LimitReader(r, n), r}, nil
	}
	return &c
}

type limited struct {
	io.Reader
	io.Closer
}

// follower reads from the tail, and from the store once the tail has moved on
// and the fill is complete.
type follower struct {
	fill *fill
	ctx  context.Context //nolint:containedctx // an io.Reader of one request
	tail *tailReader
	rest io.ReadCloser
	pos  int64
}

func (r *follower) Read(p []byte) (int, error) {
	if r.rest == nil {
		n, err := r.tail.Read(p)
		r.pos += int64(n)
		if !errors.Is(err, errBehind) {
			return n, err
		}
		if err := r.catchUp(); err != nil {
			return 0, err
		}
	}
	return r.rest.Read(p)
}

func (r *follower) catchUp() error {
	select {
	case <-r.fill.done:
	case <-r.ctx.Done():
		return r.ctx.Err()
	}
	if r.fill.err != nil {
		return r.fill.err
	}
	rest, err := r.fill.content.Open(r.ctx, r.pos, -1)
	r.rest = rest
	return err
}

func (r *follower) Close() error {
	err := r.tail.Close()
	if r.rest != nil {
		err = errors.Join(err, r.rest.Close())
	}
	return err
}

// blobOf is formats.Blob over received bytes.
func blobOf(rc *blob.Received) formats.Blob { return &upload{rc} }
