package yum

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"granary/formats"
)

// snapshots is the directory below which they are, and the scope of the list of
// them.
const snapshots = "snapshots"

// maxSnapshot is the longest request for a snapshot, in bytes.
const maxSnapshot = 64 << 10

var snapshotName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9.+_-]{0,99}$`)

func snapshotScope(name string) string { return scopeOf(snapshots + "/" + name) }

// snapshot lists what a root lists, at a root of its own. The packages stay
// where they are.
func snapshot(ctx context.Context, up *formats.Upload, tx formats.Tx) error {
	var in struct{ Source, Name string }
	body, err := io.ReadAll(formats.Limit(up.Body, maxSnapshot, "request"))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, &in); err != nil {
		return formats.BadRequest("a snapshot needs {\"source\": …, \"name\": …}")
	}
	in.Source = strings.Trim(in.Source, "/")
	if !snapshotName.MatchString(in.Name) {
		return formats.BadRequest("%.100q is no name for a snapshot", in.Name)
	}
	if err := formats.CheckPath(scopeOf(in.Source)); err != nil {
		return err
	}
	if _, err := tx.Record(ctx, snapshots, ":"+in.Name); err == nil {
		return fmt.Errorf("snapshot %s %w", in.Name, formats.ErrExists)
	} else if !errors.Is(err, formats.ErrNotFound) {
		return fmt.Errorf("look up snapshot %s: %w", in.Name, err)
	}
	n, from, to := 0, scopeOf(in.Source), snapshotScope(in.Name)
	for rec, err := range tx.Records(ctx, from) {
		if err != nil {
			return fmt.Errorf("read %s: %w", from, err)
		}
		n++
		tx.Put(formats.Record{Scope: to, Name: rec.Name, Path: rec.Path, Move: true, Meta: rec.Meta}, nil)
	}
	if n == 0 {
		return fmt.Errorf("metadata of %q: %w", in.Source, formats.ErrNotFound)
	}
	tx.Put(formats.Record{Scope: snapshots, Name: ":" + in.Name, Move: true}, nil)
	return nil
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
