package golang

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"granary/formats"
)

// acceptFile takes one file of a version at its path, as Artifactory's client
// puts them: zip, mod and info, one after the other. The zip alone publishes
// the version, with the go.mod in it and an info made here until one is sent.
func (f *Format) acceptFile(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
	base, _, _ := splitExt(op.Name)
	m, err := unescape(strings.TrimSuffix(op.Scope, versions), base)
	if err != nil {
		return err
	}
	v, err := newVersion(m)
	if err != nil {
		return err
	}
	switch op.Label {
	case labelMod:
		return acceptMod(ctx, v, up, tx)
	case labelInfo:
		return f.acceptInfo(ctx, v, up, tx)
	}
	zip, err := receiveZip(ctx, up, tx)
	if err != nil {
		return err
	}
	return f.publish(ctx, submission{Version: v.Version, zip: zip}, tx)
}

// unescape reads the two names of a path. Publishers don't escape upper-case
// letters; an escaped name has none.
func unescape(name, version string) (module.Version, error) {
	var err error
	if name == strings.ToLower(name) {
		name, err = module.UnescapePath(name)
	}
	if err == nil && version == strings.ToLower(version) {
		version, err = module.UnescapeVersion(version)
	}
	if err != nil {
		return module.Version{}, formats.BadRequest("%v", err)
	}
	return module.Version{Path: name, Version: version}, nil
}

// receiveSmall reads a body of at most limit bytes into memory.
func receiveSmall(ctx context.Context, up *formats.Upload, limit int64, what string, tx formats.Tx) (formats.Blob, []byte, error) {
	want, err := formats.Promised(up.Header)
	if err != nil {
		return nil, nil, err
	}
	data, err := io.ReadAll(formats.Limit(up.Body, limit, what))
	if err != nil {
		return nil, nil, fmt.Errorf("receive %s: %w", what, err)
	}
	b, err := tx.Blob(ctx, bytes.NewReader(data), want.Algorithms()...)
	if err != nil {
		return nil, nil, err
	}
	return b, data, formats.CheckSums(b, want)
}

// acceptMod stores a go.mod; one that belongs to a zip is not changed.
func acceptMod(ctx context.Context, v version, up *formats.Upload, tx formats.Tx) error {
	b, data, err := receiveSmall(ctx, up, modzip.MaxGoMod, "go.mod", tx)
	if err != nil {
		return err
	}
	if err := checkMod(data, v.Path); err != nil {
		return err
	}
	published, err := exists(ctx, v, labelZip, tx)
	if err != nil {
		return err
	}
	if published {
		old, err := tx.Record(ctx, v.scope, v.base+"."+labelMod)
		if err != nil && !errors.Is(err, formats.ErrNotFound) {
			return err
		}
		if err == nil && !bytes.Equal(old.Sums.BLAKE3, b.Sums().BLAKE3) {
			return bad("this is not the go.mod of the zip of %s", v.Version)
		}
	}
	tx.Put(v.record(labelMod), b)
	return nil
}

// acceptInfo stores an info. It replaces one that was made here, and none that
// was sent.
func (f *Format) acceptInfo(ctx context.Context, v version, up *formats.Upload, tx formats.Tx) error {
	b, data, err := receiveSmall(ctx, up, maxInfo, "info", tx)
	if err != nil {
		return err
	}
	i, err := f.readInfo(data, v.Version.Version)
	if err != nil {
		return err
	}
	if !bytes.Equal(i.data, data) {
		if b, err = tx.Blob(ctx, bytes.NewReader(i.data)); err != nil {
			return err
		}
	}
	old, err := storedInfo(ctx, v, tx)
	if err != nil {
		return err
	}
	i.move = old != nil && old.Made
	rec, err := i.record(v)
	if err != nil {
		return err
	}
	pointer, err := v.pointer(i.info)
	if err != nil {
		return err
	}
	published, err := exists(ctx, v, labelZip, tx)
	if err != nil {
		return err
	}
	tx.Put(rec, b)
	if published {
		tx.Put(pointer, nil)
	}
	return nil
}

func exists(ctx context.Context, v version, ext string, tx formats.Tx) (bool, error) {
	_, err := tx.Record(ctx, v.scope, v.base+"."+ext)
	if errors.Is(err, formats.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}
