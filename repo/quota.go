package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"granary/blob"
	"granary/formats"
	"granary/repo/config"
	"granary/repo/record"
	"granary/repo/upstream"
)

// ErrQuota is returned for what a repository's quota has no room for; nothing
// was stored. It is a formats.ErrNoSpace.
var ErrQuota = fmt.Errorf("%w: quota", formats.ErrNoSpace)

// quotaError says how much there is and how much would be.
func quotaError(repository, what string, quota, would int64) error {
	return fmt.Errorf("%w of repository %s: at most %d %s are allowed, with this there would be %d; nothing was stored",
		ErrQuota, repository, quota, what, would)
}

func bounded(c *config.Repository) bool { return c.QuotaBytes != nil || c.QuotaArtifacts != nil }

// room returns ErrQuota where so much more would be too much. Counts are
// estimates that follow writes within about a second, so uploads at the same
// time may go beyond the quota together; the next one is refused. What makes a
// repository no larger is always taken.
func (s *Service) room(ctx context.Context, c *config.Repository, more, longer int64) error {
	if !bounded(c) || more <= 0 && longer <= 0 {
		return nil
	}
	count, size, err := s.Records.Usage(ctx, c.ID)
	if err != nil {
		return fmt.Errorf("ask for the quota of %s: %w", c.Name, err)
	}
	if q := c.QuotaArtifacts; q != nil && more > 0 && count+more > *q {
		return quotaError(c.Name, "artifacts", *q, count+more)
	}
	if q := c.QuotaBytes; q != nil && longer > 0 && size+longer > *q {
		return quotaError(c.Name, "bytes", *q, size+longer)
	}
	return nil
}

// growth is how many files and bytes a record of so many bytes adds to what is
// there; file says whether it is counted as one.
func (h *hosted) growth(ctx context.Context, scope, name string, size int64, file bool) (count, longer int64, err error) {
	old, _, err := h.service.Records.Get(ctx, h.repo.space, scope, name, record.Hit)
	switch {
	case err == nil:
		return 0, size - old.Size, nil
	case !errors.Is(err, formats.ErrNotFound):
		return 0, 0, fmt.Errorf("look for %s in %s: %w", formats.Join(scope, name), h.repo.Name, err)
	case file:
		count = 1
	}
	return count, size, nil
}

// announced refuses a body that is longer than the quota before it is read.
func (t *tx) announced() error {
	if t.up == nil {
		return nil
	}
	return t.fits(t.up.Size)
}

// fits refuses what is longer than the quota whatever is there.
func (h *hosted) fits(size int64) error {
	if q := h.repo.QuotaBytes; q != nil && size > *q {
		return quotaError(h.repo.Name, "bytes", *q, size)
	}
	return nil
}

// withinQuota is asked when everything has arrived and before anything is
// published.
func (t *tx) withinQuota(ctx context.Context) error {
	if !bounded(t.repo.Repository) {
		return nil
	}
	var count, size int64
	for _, puts := range [][]put{t.adopted, t.puts} {
		for _, p := range puts {
			length := int64(0)
			switch {
			case p.blob != nil:
				length = p.blob.Size()
			case p.kept != nil:
				length = p.kept.size
			}
			more, longer, err := t.growth(ctx, p.rec.Scope, p.rec.Name, length, p.blob != nil || p.kept != nil)
			if err != nil {
				return err
			}
			count, size = count+more, size+longer
		}
	}
	return t.service.room(ctx, t.repo.Repository, count, size)
}

// fitsCopy tells whether a cache may keep a copy of so many bytes. Where it may
// not, an older copy goes, too: it is no longer what the upstream has.
func (c *cache) fitsCopy(ctx context.Context, op formats.Op, size int64) (bool, error) {
	if !bounded(c.repo.Repository) {
		return true, nil
	}
	count, longer, err := c.growth(ctx, op.Scope, op.Name, size, true)
	if err == nil {
		err = c.service.room(ctx, c.repo.Repository, count, longer)
	}
	if !errors.Is(err, ErrQuota) {
		return err == nil, err
	}
	if count == 0 {
		_, err := c.service.Records.Delete(ctx, c.repo.space, op.Scope, op.Name, nil)
		if err != nil && !errors.Is(err, formats.ErrNotFound) {
			return false, fmt.Errorf("drop %s/%s: %w", c.repo.Name, op.Key(), err)
		}
	}
	c.service.Log.WarnContext(ctx, "serve without keeping a copy", "repository", c.repo.Name, "path", op.Key(), "error", err)
	return false, nil
}

// passing is the content of a file that is not kept: its bytes, if they are in
// memory, else those that the upstream sends again.
func (c *cache) passing(op formats.Op, rc *blob.Received, meta []byte, resp *upstream.Response) *formats.Content {
	content := &formats.Content{
		Record: formats.Record{
			Scope: op.Scope, Name: op.Name, Type: mediaType(op, resp), Size: rc.Size(), Sums: rc.Sums(), Time: c.service.Now(), Meta: meta,
		},
		Fixed: c.repo.fixed(op),
	}
	if b, ok := rc.Bytes(); ok {
		content.Open = inlineOpener(bytes.Clone(b))
		return content
	}
	content.Open = func(ctx context.Context, offset, n int64) (io.ReadCloser, error) {
		return c.again(ctx, op, resp.ETag, offset, n)
	}
	return content
}

// again asks the upstream for a part of a file that was asked for just now, n
// bytes from offset on, -1 for the rest.
func (c *cache) again(ctx context.Context, op formats.Op, etag string, offset, n int64) (io.ReadCloser, error) {
	req, _, err := c.locate(ctx, op)
	if err != nil {
		return nil, err
	}
	req.Offset, req.Length = offset, max(n, 0)
	if offset > 0 {
		req.ETag = etag
	}
	resp, err := c.get(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("%s of the upstream of %s: %w", op.Upstream(), c.repo.Name, err)
	}
	if _, err := io.CopyN(io.Discard, resp.Body, offset-resp.Offset); err != nil {
		return nil, errors.Join(upstreamBody(op.Upstream(), err), resp.Body.Close())
	}
	if n < 0 {
		return resp.Body, nil
	}
	return &limited{io.LimitReader(resp.Body, n), resp.Body}, nil
}
