package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"granary/formats"
)

var (
	_ formats.Forwarder = (*cache)(nil)
	_ formats.Forwarder = (*group)(nil)
)

// Forward asks the upstream what is not kept. A view of a past time has no
// upstream.
func (c *cache) Forward(ctx context.Context, q formats.Question) (io.ReadCloser, error) {
	if c.moment != nil {
		return nil, fmt.Errorf("%s at a past time: %w", q.Path, formats.ErrNotFound)
	}
	if c.repo.refuses(q.Path) {
		return nil, fmt.Errorf("%s/%s: %w", c.repo.Name, q.Path, formats.ErrBlocked)
	}
	req, err := c.request(q.Path)
	if err != nil {
		return nil, err
	}
	base, err := url.Parse(c.repo.UpstreamURL)
	if err != nil {
		return nil, fmt.Errorf("%w: upstream URL of %s: %w", formats.ErrUpstream, c.repo.Name, err)
	}
	u := base.JoinPath(q.Path)
	u.RawQuery = q.Query.Encode()
	req.Ref, req.Header, req.Body = u.String(), q.Header, q.Body
	ask := c.service.Upstream.Get
	if q.Method == http.MethodPost {
		ask = c.service.Upstream.Send
	}
	resp, err := ask(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("%s of the upstream of %s: %w", q.Path, c.repo.Name, err)
	}
	return resp.Body, nil
}

// Forward asks the members in order; the first that knows answers.
func (g *group) Forward(ctx context.Context, q formats.Question) (io.ReadCloser, error) {
	var failed error
	for _, m := range g.members {
		answer, err := formats.Forward(ctx, m, q)
		switch {
		case err == nil:
			return answer, nil
		case errors.Is(err, formats.ErrNotFound), errors.Is(err, formats.ErrBlocked):
		case g.skip(ctx, err):
			failed = cmpOr(failed, err)
		default:
			return nil, err
		}
	}
	if failed != nil {
		return nil, failed
	}
	return nil, fmt.Errorf("%s/%s: %w", g.repo.Name, q.Path, formats.ErrNotFound)
}
