package pypi

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strings"

	"granary/formats"
)

// publish puts a file and what belongs to it. All that is told of it comes from
// the file itself.
func (s *submission) publish(ctx context.Context, tx formats.Tx) error {
	project, _ := normalise(s.fields["name"])
	d, err := parseFile(s.file, project)
	if err != nil {
		return err
	}
	if d.kind == kindSdist && !strings.HasSuffix(d.file, ".tar.gz") && !strings.HasSuffix(d.file, ".zip") {
		return bad("%s: an sdist is a .tar.gz or a .zip", d.file)
	}
	metadata, err := inspect(ctx, d, s.content)
	if err != nil {
		return err
	}
	h, err := parseMetadata(metadata)
	if err != nil {
		return err
	}
	if err := s.check(d, h); err != nil {
		return err
	}
	signed := s.signature != nil
	m := fileMeta{
		Name: h.get("name"), Version: d.version.String(), RequiresPython: h.get("requires-python"),
		Kind: d.kind, Python: d.python, Core: coreOf(h), Signed: &signed,
	}
	provenance, err := s.provenance(d)
	if err != nil {
		return err
	}
	m.Provenance = provenance != nil
	beside := map[string][]byte{endSignature: s.signature, endProvenance: provenance}
	if d.kind == kindWheel {
		sum := sha256.Sum256(metadata)
		m.Metadata = hex.EncodeToString(sum[:])
		beside[endMetadata] = metadata
	}
	return put(ctx, d, s.content, m, beside, tx)
}

// put hands all to the transaction, the file first: if another is published
// already, nothing else is written.
func put(ctx context.Context, d distribution, content formats.Blob, m fileMeta, beside map[string][]byte, tx formats.Tx) error {
	meta, err := m.encode()
	if err != nil {
		return err
	}
	scope, name := scopeOf(d.project), d.version.String()+"/"+d.file
	if err := formats.CheckPath(formats.Join(scope, name+endProvenance)); err != nil {
		return err
	}
	type record struct {
		formats.Record
		blob formats.Blob
	}
	records := []record{{formats.Record{Scope: scope, Name: name, Type: mediaType(d.file), Meta: meta}, content}}
	for _, end := range [...]string{endMetadata, endSignature, endProvenance} {
		data := beside[end]
		if data == nil {
			continue
		}
		b, err := tx.Blob(ctx, bytes.NewReader(data))
		if err != nil {
			return err
		}
		// It goes with the file, which decides whether there is a conflict.
		records = append(records, record{formats.Record{Scope: scope, Name: name + end, Type: mediaType(name + end), Move: true}, b})
	}
	listed := true
	if _, err := tx.Record(ctx, rootScope, ":"+d.project); errors.Is(err, formats.ErrNotFound) {
		listed = false
	} else if err != nil {
		return err
	}
	for _, r := range records {
		tx.Put(r.Record, r.blob)
	}
	if !listed {
		tx.Put(formats.Record{Scope: rootScope, Name: ":" + d.project, Move: true}, nil)
	}
	return nil
}

// remove deletes a file with what belongs to it, or a version; with the last
// file of a version that it is yanked, and with the last of all the project leaves
// the list.
func remove(ctx context.Context, op formats.Op, tx formats.Tx) error {
	var gone, yanked []string
	left := map[string]int{} // files by version
	for rec, err := range tx.Records(ctx, op.Scope) {
		if err != nil {
			return err
		}
		version, file, _ := strings.Cut(rec.Name, "/")
		of := op.Label == labelVersion && sameVersion(op.Name, version)
		if op.Label == labelFile {
			of = rec.Name == op.Name || companion(rec.Name) && strings.HasPrefix(rec.Name, op.Name+".")
		}
		switch {
		case file == yankedPointer:
			yanked = append(yanked, rec.Name)
		case of:
			gone = append(gone, rec.Name)
		case !companion(rec.Name) && !strings.HasPrefix(rec.Name, ":"):
			left[version]++
		}
	}
	if len(gone) == 0 {
		tx.Delete(op.Scope, op.Name) // which is not found
		return nil
	}
	for _, name := range yanked {
		if version, _, _ := strings.Cut(name, "/"); left[version] == 0 {
			gone = append(gone, name)
		}
	}
	for _, name := range gone {
		tx.Delete(op.Scope, name)
	}
	if len(left) == 0 {
		tx.Delete(rootScope, ":"+projectOf(op.Scope))
	}
	return nil
}
