package apt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"granary/digest"
	"granary/formats"
)

// removePackage deletes a file and what lists it.
func removePackage(ctx context.Context, op formats.Op, tx formats.Tx) error {
	tx.Delete(op.Scope, op.Name)
	rec, err := tx.Record(ctx, op.Scope, op.Name)
	switch {
	case errors.Is(err, formats.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("look up %s: %w", op.Key(), err)
	case rec.Meta == nil:
		return removePart(ctx, op, tx)
	}
	p, err := decode(rec)
	if err != nil {
		return err
	}
	for dist, err := range tx.Records(ctx, dists) {
		if err != nil {
			return fmt.Errorf("look up distributions: %w", err)
		}
		scope := dists + "/" + strings.TrimPrefix(dist.Name, ":")
		listed, err := tx.Record(ctx, scope, p.name())
		if err != nil && !errors.Is(err, formats.ErrNotFound) {
			return fmt.Errorf("look up %s in %s: %w", p.name(), scope, err)
		}
		if err == nil && listed.Path != "" && listed.Path != op.Key() {
			continue // of another source, which lies elsewhere
		}
		for _, name := range p.names() {
			tx.Delete(scope, name)
		}
	}
	return nil
}

// unlist takes a package out of one distribution: what lists its files goes
// with its stanza, the file itself stays.
func unlist(ctx context.Context, op formats.Op, tx formats.Tx) error {
	tx.Delete(op.Scope, op.Name)
	pointer, err := tx.Record(ctx, op.Scope, op.Name)
	switch {
	case errors.Is(err, formats.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("look up %s: %w", op.Key(), err)
	}
	at := strings.LastIndexByte(pointer.Path, '/')
	if at < 0 {
		return nil // sources had no path at first; they list no files
	}
	file, err := tx.Record(ctx, pointer.Path[:at], pointer.Path[at+1:])
	switch {
	case errors.Is(err, formats.ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("look up %s: %w", pointer.Path, err)
	case file.Meta == nil:
		return nil
	}
	p, err := decode(file)
	if err != nil {
		return err
	}
	for i := range p.Lists {
		tx.Delete(op.Scope, p.list(i))
	}
	return nil
}

// dropDistribution deletes the pointers of a distribution.
func dropDistribution(ctx context.Context, op formats.Op, tx formats.Tx) error {
	scope := dists + "/" + strings.TrimPrefix(op.Name, ":")
	for rec, err := range tx.Records(ctx, scope) {
		if err != nil {
			return fmt.Errorf("read %s: %w", scope, err)
		}
		tx.Delete(scope, rec.Name)
	}
	tx.Delete(op.Scope, op.Name)
	return nil
}

// removePart takes source packages that name a file out of all distributions:
// what is listed is there.
func removePart(ctx context.Context, op formats.Op, tx formats.Tx) error {
	for rec, err := range tx.Records(ctx, op.Scope) {
		if err != nil {
			return fmt.Errorf("read %s: %w", op.Scope, err)
		}
		if !strings.HasSuffix(rec.Name, ".dsc") || rec.Meta == nil {
			continue
		}
		source, err := decode(rec)
		if err != nil {
			return err
		}
		for dist, err := range tx.Records(ctx, dists) {
			if err != nil {
				return fmt.Errorf("look up distributions: %w", err)
			}
			scope := dists + "/" + strings.TrimPrefix(dist.Name, ":")
			pointer, err := tx.Record(ctx, scope, source.name())
			if errors.Is(err, formats.ErrNotFound) {
				continue
			}
			if err != nil {
				return fmt.Errorf("look up %s in %s: %w", source.name(), scope, err)
			}
			needs, err := needsPart(pointer, op.Name)
			if err != nil {
				return err
			}
			if needs {
				tx.Delete(scope, pointer.Name)
			}
		}
	}
	return nil
}

// needsPart tells whether the stanza of a source package names a file.
func needsPart(pointer formats.Record, name string) (bool, error) {
	p, err := newParagraphs(bytes.NewReader(pointer.Meta)).next()
	if err != nil {
		return false, fmt.Errorf("%w: stanza of %s: %w", formats.ErrCorrupt, pointer.Key(), err)
	}
	files, err := parseList(p.get("Checksums-Sha256"), digest.SHA256)
	if err != nil {
		return false, fmt.Errorf("%w: stanza of %s: %w", formats.ErrCorrupt, pointer.Key(), err)
	}
	return slices.ContainsFunc(files, func(l listed) bool { return l.name == name }), nil
}
