package repo

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"granary/digest"
	"granary/formats"
	"granary/kv"
)

// verbatim passes on a document as the upstream has it, for formats whose
// documents are signed; nil if this one is to be rendered.
func (c *cache) verbatim(ctx context.Context, op formats.Op) (*formats.Content, error) {
	f, ok := c.repo.format.(formats.Verbatim)
	if !ok {
		return nil, nil //nolint:nilnil // render it
	}
	path, entry, ok := f.Verbatim(op)
	if !ok {
		return nil, nil //nolint:nilnil // likewise
	}
	of, companions := companionsOf(f, op.Scope)
	switch {
	case entry && c.moment == nil && path == of:
		return c.accompanied(ctx, op, path, companions)
	case entry && c.moment == nil && slices.Contains(companions, path):
		return c.companion(ctx, op, path, of)
	case entry:
		return c.passOn(ctx, op, path, digest.Sums{})
	}
	if !op.Sum.IsZero() {
		return c.passOn(ctx, op, path, op.Sum)
	}
	src := source{c, op.Scope, c.repo.index.Entry(op.Scope)}
	if c.moment == nil {
		if err := c.refreshEntry(ctx, src); err != nil {
			return nil, err
		}
	}
	sums, fixed, err := f.Listed(ctx, op, src)
	if err != nil {
		return nil, err
	}
	content, err := c.passOn(ctx, op, path, sums)
	if err == nil || fixed == "" || c.moment != nil || !errors.Is(err, formats.ErrUpstream) && !errors.Is(err, formats.ErrNotFound) {
		return content, err
	}
	// The upstream has gone on to its next generation; what belongs to the
	// entry document in force is there under its digest.
	return c.passOn(ctx, op, fixed, sums)
}

// entryGrace is how long after its last confirmation an entry document is in
// force for the documents that it lists, whatever the TTL: a client reads it
// and then those, and must not be given those of the next generation.
const entryGrace = 20 * time.Second

// refreshEntry asks for the entry document of a client that did not.
func (c *cache) refreshEntry(ctx context.Context, src source) error {
	d, _, err := c.service.documentTable().Get(ctx, c.repo.space.Document(src.scope, src.entry))
	if err == nil && c.service.Now().Sub(time.Unix(0, d.Checked)) < entryGrace {
		return nil
	}
	if err != nil && !errors.Is(err, kv.ErrNotFound) {
		return fmt.Errorf("read document %s/%s: %w", c.repo.Name, src.entry, err)
	}
	_, err = c.document(ctx, src.scope, src.entry, digest.Sums{})
	if errors.Is(err, formats.ErrNotFound) {
		return nil // the format may know another one
	}
	return err
}

// passOn sends an upstream's document; with sums only these very bytes.
func (c *cache) passOn(ctx context.Context, op formats.Op, path string, sums digest.Sums) (*formats.Content, error) {
	ask := c.document
	if c.moment != nil {
		ask = c.pastDocument
	}
	d, err := ask(ctx, op.Scope, path, sums)
	if err == nil {
		d, err = c.wholeDocument(ctx, op.Scope, path, d, sums)
	}
	if err != nil {
		return nil, err
	}
	// A digest in the upstream's own words is checked, whatever came back.
	if err := d.Sums.Check(sums); err != nil {
		return nil, fmt.Errorf("%w: %s of the upstream of %s: %w", formats.ErrUpstream, path, c.repo.Name, err)
	}
	return c.documentContent(op, path, d), nil
}

// documentContent makes an upstream's document ready to be sent; path is where the
// upstream has it.
func (c *cache) documentContent(op formats.Op, path string, d *document) *formats.Content {
	content := &formats.Content{
		Record: formats.Record{
			Scope: op.Scope, Name: op.Path, Type: mediaTypeOf(op), Size: d.Size, Sums: d.Sums,
			// Not the upstream's date, which two of its states may share.
			Time: time.Unix(0, d.since()).UTC(),
		},
		Inline: d.Inline, BlobID: string(d.Blob), Fixed: op.Fixed,
	}
	// Other bytes can't be sent under these headers.
	content.Open = c.opener(op.Scope, path, d, exactly(d))
	return content
}

// exactly is the digest of a document that no other one will do for.
func exactly(d *document) digest.Sums { return digest.Sums{SHA256: d.Sums.SHA256} }

func mediaTypeOf(op formats.Op) string {
	if op.Type != "" {
		return op.Type
	}
	return "application/octet-stream"
}
