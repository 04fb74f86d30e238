package cargo

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"granary/formats"
)

// maxMetadata is the metadata of a publish in bytes, which has the readme.
const maxMetadata = 8 << 20

// Accept publishes a version, yanks or unyanks one, changes owners, or removes a
// version.
func (f *Format) Accept(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
	switch op.Label {
	case labelPublish:
		return f.publish(ctx, up, tx)
	case labelYank, labelUnyank:
		return yank(ctx, op, tx)
	case labelAdd, labelRemove:
		return changeOwners(ctx, op, up, tx)
	case labelVersion:
		version := versionOf(op)
		tx.Delete(op.Scope, pointerName(version))
		tx.Delete(op.Scope, op.Name)
		return nil
	}
	return fmt.Errorf("%s: %w", op.Label, errors.ErrUnsupported)
}

// versionOf reads the version from the name of a crate's file.
func versionOf(op formats.Op) string {
	name := op.Scope[len(cratesDir)+1:]
	return op.Name[len(name)+1 : len(op.Name)-len(crateExt)]
}

// publish reads the body of https://doc.rust-lang.org/cargo/reference/registry-web-api.html#publish:
// the length of the metadata, the metadata, the length of the crate, the crate.
func (f *Format) publish(ctx context.Context, up *formats.Upload, tx formats.Tx) error {
	raw, err := readMetadata(up.Body)
	if err != nil {
		return err
	}
	said, err := parseMetadata(raw)
	if err != nil {
		return err
	}
	length, err := readLength(up.Body)
	if err != nil {
		return err
	}
	crate, err := tx.Blob(ctx, &exact{r: up.Body, left: int64(length)})
	if err != nil {
		return fmt.Errorf("receive the crate: %w", err)
	}
	m, err := openCrate(ctx, crate, said.Name, said.Version)
	if err != nil {
		return err
	}
	if err := m.agrees(said); err != nil {
		return err
	}
	l := newLine(said, hex.EncodeToString(crate.Sums().SHA256), f.now())
	if err := claim(ctx, said.Name, tx); err != nil {
		return err
	}
	return put(ctx, said, l, crate, tx)
}

// put hands crate and pointer to the transaction. The pointer goes first where
// there is none: it decides between versions that differ in build metadata only.
// Where there is one the crate decides, by the conflict policy.
func put(ctx context.Context, said *metadata, l line, crate formats.Blob, tx formats.Tx) error {
	file := formats.Record{Scope: scopeOf(l.Name), Name: fileName(l.Name, l.Version), Type: typeCrate}
	var err error
	if file.Meta, err = json.Marshal(fileMeta{said.Description}); err != nil {
		return fmt.Errorf("write the metadata of %s: %w", file.Key(), err)
	}
	old, err := tx.Record(ctx, scopeOf(l.Name), pointerName(l.Version))
	switch {
	case errors.Is(err, formats.ErrNotFound):
		rec, err := l.pointer()
		if err != nil {
			return err
		}
		tx.PutIf(rec, nil, func(old *formats.Record) error { return l.follows(old, true) })
		tx.Put(file, crate)
		return nil
	case err != nil:
		return err
	}
	if err := l.follows(&old, false); err != nil {
		return err
	}
	was, err := read(old)
	if err != nil {
		return err
	}
	tx.Put(file, crate)
	if was.Checksum == l.Checksum {
		return nil // the same again: the line stays as it is
	}
	l.Yanked = was.Yanked
	rec, err := l.pointer()
	if err == nil {
		tx.PutIf(rec, nil, func(old *formats.Record) error { return l.follows(old, false) })
	}
	return err
}

// follows tells whether the line may take the place of a pointer; strict: only
// of one for the same bytes.
func (l line) follows(old *formats.Record, strict bool) error {
	if old == nil {
		return nil
	}
	was, err := read(*old)
	switch {
	case err != nil:
		return err
	case was.Version != l.Version:
		return fmt.Errorf("crate %s has version %s, from which %s differs in build metadata only: %w", l.Name, was.Version, l.Version, formats.ErrExists)
	case strict && was.Checksum != l.Checksum:
		return fmt.Errorf("crate %s %s: %w", l.Name, l.Version, formats.ErrExists)
	}
	return nil
}

// fileMeta is the Meta of a .crate.
type fileMeta struct {
	Description string `json:"description,omitempty"`
}

func readLength(r io.Reader) (uint32, error) {
	var b [4]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return 0, short(err)
	}
	return binary.LittleEndian.Uint32(b[:]), nil
}

func readMetadata(r io.Reader) ([]byte, error) {
	n, err := readLength(r)
	if err != nil {
		return nil, err
	}
	if n > maxMetadata {
		return nil, formats.BadRequest("metadata of %d bytes, at most %d are possible", n, maxMetadata)
	}
	b, err := io.ReadAll(io.LimitReader(r, int64(n)))
	if err == nil && len(b) < int(n) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return nil, short(err)
	}
	return b, nil
}

// short says of an upload that ended early that it did.
func short(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("read the upload: %w", formats.ErrTruncated)
	}
	return fmt.Errorf("read the upload: %w", err)
}

// exact reads so many bytes, after which the upload must have ended.
type exact struct {
	r    io.Reader
	left int64
}

func (e *exact) Read(p []byte) (int, error) {
	n, err := e.r.Read(p[:min(int64(len(p)), e.left+1)])
	e.left -= int64(n)
	switch {
	case e.left < 0:
		return 0, formats.BadRequest("the upload goes on after the crate")
	case errors.Is(err, io.EOF) && e.left > 0:
		return n, short(io.ErrUnexpectedEOF)
	}
	return n, err
}

// yank sets or takes back the mark that keeps a version from new lock files.
func yank(ctx context.Context, op formats.Op, tx formats.Tx) error {
	rec, err := tx.Record(ctx, op.Scope, op.Name)
	if err != nil {
		return err
	}
	var l line
	if err := json.Unmarshal(rec.Meta, &l); err != nil {
		return fmt.Errorf("%w: pointer %s: %w", formats.ErrCorrupt, rec.Key(), err)
	}
	if l.Version != op.Path {
		return fmt.Errorf("crate %s has version %s, not %s: %w", l.Name, l.Version, op.Path, formats.ErrNotFound)
	}
	l.Yanked = op.Label == labelYank
	next, err := l.pointer()
	if err == nil {
		tx.PutIf(next, nil, unchanged(rec.Meta))
	}
	return err
}

// unchanged refuses to replace what is no longer what was read.
func unchanged(meta []byte) func(old *formats.Record) error {
	return func(old *formats.Record) error {
		if old == nil || !slices.Equal(old.Meta, meta) {
			return fmt.Errorf("%w: changed by another request at the same time", formats.ErrBusy)
		}
		return nil
	}
}
