package repo

import (
	"context"
	"errors"
	"fmt"

	"granary/digest"
	"granary/formats"
	"granary/kv"
)

// companionsOf are the documents that go with another one of a scope.
func companionsOf(f formats.Verbatim, scope string) (of string, paths []string) {
	if x, ok := f.(formats.Companion); ok {
		return x.Companions(scope)
	}
	return "", nil
}

// accompaniedTries is how often an upstream may go on while a document and what
// goes with it are fetched.
const accompaniedTries = 4

// accompanied passes on a document and has its companions ready, so that a
// client which asks for them next gets those of this very document. One that is
// due is waited for, since what was served meanwhile would be
// without its companions a moment later.
func (c *cache) accompanied(ctx context.Context, op formats.Op, path string, companions []string) (*formats.Content, error) {
	d, err := c.confirmed(ctx, op.Scope, path)
	if err == nil {
		d, err = c.wholeDocument(ctx, op.Scope, path, d, digest.Sums{})
	}
	if err != nil {
		return nil, err
	}
	for range accompaniedTries {
		if !c.accompany(ctx, op.Scope, d, companions) {
			break
		}
		// The upstream may have gone on in between: then these are of the next.
		now, err := c.askAgain(ctx, op.Scope, path)
		if err != nil || now.same(d) {
			break
		}
		d = now
	}
	return c.documentContent(op, path, d), nil
}

// accompany fetches the companions that are not here and tells whether any was.
func (c *cache) accompany(ctx context.Context, scope string, entry *document, companions []string) (fetched bool) {
	for _, p := range companions {
		_, asked, err := c.companionOf(ctx, scope, p, entry)
		switch {
		case err == nil:
			fetched = fetched || asked
		case !errors.Is(err, formats.ErrNotFound):
			c.service.Log.WarnContext(ctx, "fetch what goes with a document", "repository", c.repo.Name, "path", p, "error", err)
		}
	}
	return fetched
}

// askAgain asks the upstream for a document that is here.
func (c *cache) askAgain(ctx context.Context, scope, path string) (*document, error) {
	d, version, err := c.service.documentTable().Get(ctx, c.repo.space.Document(scope, path), kv.Consistent)
	if err != nil {
		return nil, fmt.Errorf("read document %s/%s: %w", c.repo.Name, path, err)
	}
	return c.renewed(ctx, scope, path, &d, version, digest.Sums{})
}

// companion passes one on, that of the document in force at the path of.
func (c *cache) companion(ctx context.Context, op formats.Op, path, of string) (*formats.Content, error) {
	d, _, err := c.service.documentTable().Get(ctx, c.repo.space.Document(op.Scope, of), kv.Consistent)
	force := &d
	if errors.Is(err, kv.ErrNotFound) || err == nil && d.missing() {
		force, err = c.confirmed(ctx, op.Scope, of)
	}
	if err != nil {
		return nil, fmt.Errorf("document that %s goes with: %w", path, err)
	}
	found, _, err := c.companionOf(ctx, op.Scope, path, force)
	if err == nil {
		found, err = c.wholeDocument(ctx, op.Scope, path, found, digest.Sums{})
	}
	if err != nil {
		return nil, err
	}
	return c.documentContent(op, path, found), nil
}

// companionOf returns a companion that was fetched since the document that it
// goes with has been known, or fetches it now.
func (c *cache) companionOf(ctx context.Context, scope, path string, with *document) (d *document, asked bool, err error) {
	was, version, err := c.service.documentTable().Get(ctx, c.repo.space.Document(scope, path), kv.Consistent)
	old := &was
	switch {
	case errors.Is(err, kv.ErrNotFound):
		old, version = nil, ""
	case err != nil:
		return nil, false, fmt.Errorf("read document %s/%s: %w", c.repo.Name, path, err)
	case was.Checked >= with.since():
		d, err = was.result(path)
		return d, false, err
	}
	d, err = c.renewed(ctx, scope, path, old, version, digest.Sums{})
	return d, true, err
}

// confirmed is [cache.document] for a document that must not be served when it
// is due without the upstream having been asked.
func (c *cache) confirmed(ctx context.Context, scope, path string) (*document, error) {
	d, version, err := c.service.documentTable().Get(ctx, c.repo.space.Document(scope, path))
	if err == nil && !d.missing() && !c.current(&d, digest.Sums{}) && !c.repo.refuses(path) {
		return c.renewed(ctx, scope, path, &d, version, digest.Sums{})
	}
	return c.document(ctx, scope, path, digest.Sums{})
}
