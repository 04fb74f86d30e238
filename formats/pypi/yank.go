package pypi

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"granary/formats"
)

// maxReason is the length of the reason of a yank, in bytes.
const maxReason = 1024

// yank takes a version out of what installers choose from by themselves (PEP
// 592), or back. The files stay.
func yank(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
	pointer := formats.Record{Scope: op.Scope, Name: op.Name + "/" + yankedPointer, Move: true}
	reason, err := readReason(up)
	if err != nil {
		return err
	}
	if pointer.Meta, err = json.Marshal(reason); err != nil {
		return fmt.Errorf("encode the reason: %w", err)
	}
	if err := formats.CheckPath(pointer.Key()); err != nil {
		return err
	}
	known, yanked := false, false
	for rec, err := range tx.Records(ctx, op.Scope) {
		if err != nil {
			return err
		}
		yanked = yanked || rec.Name == pointer.Name
		known = known || rec.Name != pointer.Name && strings.HasPrefix(rec.Name, op.Name+"/")
	}
	switch {
	case !known:
		return fmt.Errorf("%s %s: %w", projectOf(op.Scope), op.Name, formats.ErrNotFound)
	case op.Label == labelYank:
		tx.Put(pointer, nil)
	case yanked:
		tx.Delete(pointer.Scope, pointer.Name)
	}
	return nil
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
