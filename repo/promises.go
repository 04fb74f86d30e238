package repo

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"granary/digest"
	"granary/formats"
	"granary/kv"
	"granary/repo/record"
)

// promises tells whether a document is an index that has the digests of the
// files in its scope.
func (c *cache) promises(scope, path string) bool {
	_, ok := c.repo.format.(formats.Promiser)
	return ok && c.repo.parser != nil && path != "" && c.repo.parser.Entry(scope) == path
}

// unsettled tells whether an index that is about to take the place of another
// may promise other bytes of files than their copies have. Without a copy in the
// scope it can't.
func (c *cache) unsettled(ctx context.Context, scope, path string, old *document) (bool, error) {
	if old == nil || !c.promises(scope, path) {
		return false, nil
	}
	for _, err := range c.service.Records.Scope(ctx, c.repo.space, scope, record.Consistent) {
		if err != nil {
			return false, fmt.Errorf("look for copies of %s/%s: %w", c.repo.Name, scope, err)
		}
		return true, nil
	}
	return false, nil
}

// copies are the digests of a scope's files that are kept, by name.
func (c *cache) copies(ctx context.Context, scope string) (map[string]digest.Sums, error) {
	found := map[string]digest.Sums{}
	for n, err := range c.service.Records.Scope(ctx, c.repo.space, scope, record.Consistent) {
		if err != nil {
			return nil, fmt.Errorf("list the copies of %s/%s: %w", c.repo.Name, scope, err)
		}
		found[n.Name] = n.Record.Sums
	}
	return found, nil
}

// settle drops the copies of files that the index of a scope promises other
// bytes of: upstreams replace files, and a client holds what it gets against the
// index. What the index no longer lists stays. A document remembers that it
// is not settled, so that a crash before does not leave such copies for ever;
// one that can't be read stays so.
func (c *cache) settle(ctx context.Context, scope, path string) error {
	copies, err := c.copies(ctx, scope)
	if err == nil && len(copies) > 0 {
		err = c.drop(ctx, scope, copies)
	}
	if err != nil {
		return unlessUpstream(err)
	}
	table, key := c.service.documentTable(), c.repo.space.Document(scope, path)
	d, version, err := table.Get(ctx, key, kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) || err == nil && !d.Unsettled {
		return nil
	}
	if err == nil {
		d.Unsettled = false
		_, err = table.Replace(ctx, key, d, version)
	}
	if err != nil && !errors.Is(err, kv.ErrConflict) { // whoever was faster settles
		return fmt.Errorf("settle %s/%s: %w", c.repo.Name, path, err)
	}
	return nil
}

// drop removes those of the copies that are not what the index in force
// promises, with what belongs to them and has no digest there, such as the
// signature beside a file.
func (c *cache) drop(ctx context.Context, scope string, copies map[string]digest.Sums) error {
	var wrong []string
	promised := map[string]bool{}
	for rec, err := range c.parsed(ctx, scope) {
		if err != nil {
			return err
		}
		sums, ok := copies[rec.Name]
		if !ok || rec.Sums.IsZero() {
			continue
		}
		promised[rec.Name] = true
		if sums.Check(rec.Sums) != nil {
			wrong = append(wrong, rec.Name)
		}
	}
	for _, file := range wrong {
		for name, sums := range copies {
			if promised[name] || !strings.HasPrefix(name, file+".") {
				continue
			}
			if err := c.dropCopy(ctx, scope, name, sums); err != nil {
				return err
			}
		}
		// Last: while it is there, who goes on after a crash knows what belongs to it.
		if err := c.dropCopy(ctx, scope, file, copies[file]); err != nil {
			return err
		}
	}
	return nil
}

// dropCopy removes a copy that still has these bytes.
func (c *cache) dropCopy(ctx context.Context, scope, name string, sums digest.Sums) error {
	_, err := c.service.Records.Delete(ctx, c.repo.space, scope, name, func(rec record.Record) error {
		if rec.Sums.Check(sums) != nil {
			return formats.ErrNotFound
		}
		return nil
	})
	if err != nil && !errors.Is(err, formats.ErrNotFound) {
		return fmt.Errorf("drop %s/%s: %w", c.repo.Name, formats.Join(scope, name), err)
	}
	return nil
}

// overtaken looks, after the copy of a file was stored, whether the index that
// promised it was replaced meanwhile by one that promises other bytes; then the
// copy goes again. index is the stamp of the one that was gone by, "" for a file
// that none promises.
func (c *cache) overtaken(ctx context.Context, op formats.Op, index string, sums digest.Sums) error {
	if index == "" {
		return nil
	}
	d, _, err := c.service.documentTable().Get(ctx, c.repo.space.Document(op.Scope, c.repo.parser.Entry(op.Scope)), kv.Consistent)
	if errors.Is(err, kv.ErrNotFound) || err == nil && (d.missing() || d.stamp() == index) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read the index of %s/%s: %w", c.repo.Name, op.Scope, err)
	}
	return unlessUpstream(c.drop(ctx, op.Scope, map[string]digest.Sums{op.Name: sums}))
}

// unlessUpstream passes over what is the upstream's fault: an index that can't be
// read says nothing of copies.
func unlessUpstream(err error) error {
	if errors.Is(err, formats.ErrUpstream) {
		return nil
	}
	return err
}
