package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"granary/digest"
	"granary/formats"
	"granary/repo/upstream"
)

// Limits of a list of mirrors.
const (
	maxMirrorList = 1 << 20 // bytes
	maxMirrors    = 8       // that are tried for one file
	mirrorsScope  = ":mirrors"
)

// mirrors is what a list of mirrors says; nil where the upstream's URL is that
// of the upstream itself.
type mirrors struct {
	bases []string
	sums  map[string]digest.Sums // by path
}

// mirrors reads the list, which is kept and asked for again like a document.
func (c *cache) mirrors(ctx context.Context, path string) (*mirrors, error) {
	list := c.repo.UpstreamURL
	f, ok := c.repo.format.(formats.Mirrored)
	if !ok || path == list || !f.Lists(list) {
		return nil, nil //nolint:nilnil // said above
	}
	text, err := c.mirrorList(ctx, list)
	if errors.Is(err, formats.ErrNotFound) {
		// That there is no list says nothing of what was asked for.
		return nil, fmt.Errorf("%w: list of mirrors: %s", formats.ErrUpstream, err.Error())
	}
	if err != nil {
		return nil, fmt.Errorf("list of mirrors: %w", err)
	}
	m := &mirrors{}
	if m.bases, m.sums, err = f.Mirrors(text); err != nil {
		return nil, err
	}
	if len(m.bases) == 0 {
		return nil, fmt.Errorf("%w: the list of mirrors names none", formats.ErrUpstream)
	}
	m.bases = m.bases[:min(len(m.bases), maxMirrors)]
	return m, nil
}

// mirrorList returns the bytes of the list.
func (c *cache) mirrorList(ctx context.Context, list string) ([]byte, error) {
	d, err := c.document(ctx, mirrorsScope, list, digest.Sums{})
	switch {
	case err != nil:
		return nil, err
	case d.Size > maxMirrorList:
		return nil, fmt.Errorf("%w: it has %d bytes", formats.ErrUpstream, d.Size)
	case d.Blob == "":
		return d.Inline, nil
	}
	r, err := c.opener(mirrorsScope, list, d, digest.Sums{})(ctx, 0, -1)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // only read
	return io.ReadAll(r)
}

// at is a request to one of the mirrors. Credentials are for the server that
// has the list. What one mirror says of its copy means nothing at another.
func (m *mirrors) at(base string, req upstream.Request) upstream.Request {
	if !strings.HasPrefix(req.Ref, "http://") && !strings.HasPrefix(req.Ref, "https://") {
		req.Ref = strings.TrimRight(base, "/") + "/" + escaped(req.Ref)
	}
	req.ETag, req.LastModified = "", ""
	return req
}

// escaped is a path as it stands in a URL.
func escaped(path string) string { return (&url.URL{Path: path}).EscapedPath() }

// get asks the upstream, or its mirrors in turn.
func (c *cache) get(ctx context.Context, req upstream.Request) (resp *upstream.Response, err error) {
	err = c.each(ctx, req, func(req upstream.Request, _ digest.Sums) (err error) {
		resp, err = c.service.Upstream.Get(ctx, req)
		return err
	})
	return resp, err
}

// each gives the request to do, for one mirror after the other until one has
// what is asked for. That a mirror lacks it is "not found" only if all do.
func (c *cache) each(ctx context.Context, req upstream.Request, do func(upstream.Request, digest.Sums) error) error {
	path := req.Ref
	m, err := c.mirrors(ctx, path)
	if err != nil {
		return err
	}
	if m == nil {
		return do(req, digest.Sums{})
	}
	var failed, missing error
	for _, base := range m.bases {
		err := do(m.at(base, req), m.sums[path])
		switch {
		case err == nil:
			return nil
		case errors.Is(err, formats.ErrNotFound):
			missing = err
		case errors.Is(err, formats.ErrUpstream), errors.Is(err, formats.ErrBusy):
			c.service.Log.WarnContext(ctx, "ask a mirror", "repository", c.repo.Name, "mirror", base, "path", path, "error", err)
			failed = cmpOr(failed, err)
		default:
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return cmpOr(failed, missing)
}
