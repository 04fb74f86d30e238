package yum

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/fxamacker/cbor/v2"

	"granary/formats"
)

// snapshots is the directory below which they are, and the scope of the list of
// them.
const snapshots = "snapshots"

var snapshotName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+_-]{0,99}$`)

func snapshotScope(name string) string { return scopeOf(snapshots + "/" + name) }

// snapshot lists what a root lists, at a root of its own. The packages stay
// where they are.
func snapshot(ctx context.Context, up *formats.Upload, tx formats.Tx) error {
	source, name, err := formats.SnapshotRequest(up)
	if err != nil {
		return err
	}
	source = strings.Trim(source, "/")
	if !snapshotName.MatchString(name) || isPackage(name) {
		return formats.BadRequest("%.100q is no name for a snapshot", name)
	}
	if err := formats.CheckPath(scopeOf(source)); err != nil {
		return err
	}
	if _, err := tx.Record(ctx, snapshots, ":"+name); err == nil {
		return fmt.Errorf("snapshot %s %w", name, formats.ErrExists)
	} else if !errors.Is(err, formats.ErrNotFound) {
		return fmt.Errorf("look up snapshot %s: %w", name, err)
	}
	n, from, to := 0, scopeOf(source), snapshotScope(name)
	for rec, err := range tx.Records(ctx, from) {
		if err != nil {
			return fmt.Errorf("read %s: %w", from, err)
		}
		n++
		meta, err := keepDate(rec)
		if err != nil {
			return err
		}
		tx.Put(formats.Record{Scope: to, Name: rec.Name, Path: rec.Path, Move: true, Meta: meta}, nil)
	}
	if n == 0 {
		return fmt.Errorf("metadata of %q: %w", source, formats.ErrNotFound)
	}
	tx.Put(formats.Record{Scope: snapshots, Name: ":" + name, Move: true}, nil)
	return nil
}

// keepDate is the Meta of a record for another one that lists the same package,
// which has come when it came.
func keepDate(rec formats.Record) ([]byte, error) {
	if _, _, isPiece, ok := packageOf(rec.Name); !ok || isPiece {
		return rec.Meta, nil
	}
	var p pointer
	if err := cbor.Unmarshal(rec.Meta, &p); err != nil {
		return nil, fmt.Errorf("%w: pointer %s: %w", formats.ErrCorrupt, rec.Key(), err)
	}
	if p.Came != 0 {
		return rec.Meta, nil
	}
	p.Came = p.cameBy(rec)
	return cbor.Marshal(p)
}

// dropSnapshot deletes what a snapshot lists; the packages stay.
func dropSnapshot(ctx context.Context, op formats.Op, tx formats.Tx) error {
	scope := snapshotScope(strings.TrimPrefix(op.Name, ":"))
	for rec, err := range tx.Records(ctx, scope) {
		if err != nil {
			return fmt.Errorf("read %s: %w", scope, err)
		}
		tx.Delete(scope, rec.Name)
	}
	tx.Delete(op.Scope, op.Name)
	return nil
}

// Substitute finds a package that a snapshot lists where it lies.
func (*Format) Substitute(op formats.Op) (formats.Op, bool) {
	rest, ok := strings.CutPrefix(op.Key(), snapshots+"/")
	_, p, below := strings.Cut(rest, "/")
	if !ok || !below || op.Label != labelPackage {
		return formats.Op{}, false
	}
	return routeFile(formats.File, p)
}
