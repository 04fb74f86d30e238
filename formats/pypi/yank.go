package pypi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"granary/formats"
)

// maxReason is the length of the reason of a yank, in bytes.
const maxReason = 1024

// yank takes a version out of what installers choose from by themselves (PEP
// 592), or back, however it is spelled. The files stay.
func yank(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
	reason, err := readReason(up)
	if err != nil {
		return err
	}
	meta, err := json.Marshal(reason)
	if err != nil {
		return fmt.Errorf("encode the reason: %w", err)
	}
	// Of one version there may be files in folders "1.0" and "1.0.0".
	yanked := map[string]bool{} // by folder
	for rec, err := range tx.Records(ctx, op.Scope) {
		if err != nil {
			return err
		}
		dir, file, ok := strings.Cut(rec.Name, "/")
		if ok && sameVersion(dir, op.Name) {
			yanked[dir] = yanked[dir] || file == yankedPointer
		}
	}
	if len(yanked) == 0 {
		return fmt.Errorf("%s %s: %w", projectOf(op.Scope), op.Name, formats.ErrNotFound)
	}
	for _, dir := range slices.Sorted(maps.Keys(yanked)) {
		pointer := formats.Record{Scope: op.Scope, Name: dir + "/" + yankedPointer, Move: true, Meta: meta}
		if err := formats.CheckPath(pointer.Key()); err != nil {
			return err
		}
		switch {
		case op.Label == labelYank:
			tx.Put(pointer, nil)
		case yanked[dir]:
			tx.Delete(pointer.Scope, pointer.Name)
		}
	}
	return nil
}

// sameVersion tells whether two versions are the same to installers.
func sameVersion(a, b string) bool {
	v, ok := parseVersion(a)
	w, known := parseVersion(b)
	return a == b || ok && known && v.compare(w) == 0
}

// readReason reads {"reason": "…"}; an empty body gives none.
func readReason(up *formats.Upload) (string, error) {
	data, err := io.ReadAll(formats.Limit(up.Body, 4*maxReason, "yank"))
	if err != nil {
		return "", err
	}
	var body struct {
		Reason string `json:"reason"`
	}
	if len(strings.TrimSpace(string(data))) == 0 {
		return "", nil
	}
	if err := json.Unmarshal(data, &body); err != nil {
		return "", formats.BadRequest("the body is no JSON like {\"reason\": \"broken\"}")
	}
	if len(body.Reason) > maxReason {
		return "", formats.BadRequest("the reason is longer than %d bytes", maxReason)
	}
	return strings.Join(strings.Fields(body.Reason), " "), nil
}
