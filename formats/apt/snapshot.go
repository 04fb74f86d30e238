package apt

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"granary/formats"
)

// maxSnapshot is the longest request for a snapshot, in bytes.
const maxSnapshot = 64 << 10

// snapshot lists what a distribution lists in a new one.
func snapshot(ctx context.Context, up *formats.Upload, tx formats.Tx) error {
	var in struct{ Source, Name string }
	body, err := io.ReadAll(formats.Limit(up.Body, maxSnapshot, "request"))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return formats.BadRequest("a snapshot needs {\"source\": …, \"name\": …}")
	}
	for _, dist := range []string{in.Source, in.Name} {
		if err := checkDistribution(dist); err != nil {
			return err
		}
	}
	if _, err := tx.Record(ctx, dists, ":"+in.Name); err == nil {
		return fmt.Errorf("distribution %s %w", in.Name, formats.ErrExists)
	} else if !errors.Is(err, formats.ErrNotFound) {
		return fmt.Errorf("look up distribution %s: %w", in.Name, err)
	}
	n := 0
	for rec, err := range tx.Records(ctx, dists+"/"+in.Source) {
		if err != nil {
			return fmt.Errorf("read distribution %s: %w", in.Source, err)
		}
		n++
		tx.Put(formats.Record{Scope: dists + "/" + in.Name, Name: rec.Name, Move: true, Meta: rec.Meta}, nil)
	}
	if n == 0 {
		return fmt.Errorf("distribution %s: %w", in.Source, formats.ErrNotFound)
	}
	tx.Put(formats.Record{Scope: dists, Name: ":" + in.Name, Move: true}, nil)
	return nil
}
