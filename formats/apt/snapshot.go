package apt

import (
	"context"
	"errors"
	"fmt"

	"granary/formats"
)

// snapshot lists what a distribution lists in a new one.
func snapshot(ctx context.Context, up *formats.Upload, tx formats.Tx) error {
	source, name, err := formats.SnapshotRequest(up)
	if err != nil {
		return err
	}
	for _, dist := range []string{source, name} {
		if err := checkDistribution(dist); err != nil {
			return err
		}
	}
	if _, err := tx.Record(ctx, dists, ":"+name); err == nil {
		return fmt.Errorf("distribution %s %w", name, formats.ErrExists)
	} else if !errors.Is(err, formats.ErrNotFound) {
		return fmt.Errorf("look up distribution %s: %w", name, err)
	}
	n := 0
	for rec, err := range tx.Records(ctx, dists+"/"+source) {
		if err != nil {
			return fmt.Errorf("read distribution %s: %w", source, err)
		}
		n++
		if rec.Name == fieldsMark {
			p, err := readFields(rec)
			if err != nil {
				return err
			}
			rec.Meta = p.without("Suite", "Codename").append(nil) // a snapshot goes by its own name
		}
		tx.Put(formats.Record{Scope: dists + "/" + name, Name: rec.Name, Path: rec.Path, Move: true, Meta: rec.Meta}, nil)
	}
	if n == 0 {
		return fmt.Errorf("distribution %s: %w", source, formats.ErrNotFound)
	}
	tx.Put(formats.Record{Scope: dists, Name: ":" + name, Move: true}, nil)
	return nil
}
