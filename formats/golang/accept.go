package golang

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"golang.org/x/mod/module"
	modzip "golang.org/x/mod/zip"

	"granary/formats"
)

// submission is a version as it was uploaded. What the client left out is empty.
type submission struct {
	module.Version
	zip       formats.Blob
	mod, info []byte
}

// maxCoordinate is the length of a module path or version in a form, in bytes.
const maxCoordinate = 1024

// Accept publishes a version from a form or a bare zip, or one file of it, and
// removes one as a whole.
func (f *Format) Accept(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
	switch {
	case op.Kind == formats.Delete:
		remove(op, tx)
		return nil
	case op.Label != labelUpload:
		return f.acceptFile(ctx, op, up, tx)
	}
	var s submission
	var err error
	if formats.IsForm(up) {
		s, err = readForm(ctx, up, tx)
	} else {
		s.zip, err = receiveZip(ctx, up, tx)
	}
	if err != nil {
		return err
	}
	return f.publish(ctx, s, tx)
}

// remove deletes all that publish put, or what else a cache keeps.
func remove(op formats.Op, tx formats.Tx) {
	base, _, _ := splitExt(op.Name)
	if op.Label == labelSumDB || !op.Fixed {
		tx.Delete(op.Scope, op.Name)
		return
	}
	for _, ext := range [...]string{labelZip, labelMod, labelInfo} {
		tx.Delete(op.Scope, base+"."+ext)
	}
	tx.Delete(strings.TrimSuffix(op.Scope, versions)+latest, ":"+base)
}

// receiveZip reads a body that is a zip, with the digests that its headers
// promise.
func receiveZip(ctx context.Context, up *formats.Upload, tx formats.Tx) (formats.Blob, error) {
	if up.Size > modzip.MaxZipFile {
		return nil, fmt.Errorf("%w: module zip, at most %d bytes are possible", formats.ErrTooLarge, modzip.MaxZipFile)
	}
	want, err := formats.Promised(up.Header)
	if err != nil {
		return nil, err
	}
	b, err := tx.Blob(ctx, formats.Limit(up.Body, modzip.MaxZipFile, "module zip"), want.Algorithms()...)
	if err != nil {
		return nil, fmt.Errorf("receive module zip: %w", err)
	}
	return b, formats.CheckSums(b, want)
}

// readForm reads the fields module, version, info, mod and zip, in any order;
// others are ignored. An optional file that is empty was not chosen in a browser.
func readForm(ctx context.Context, up *formats.Upload, tx formats.Tx) (submission, error) {
	var s submission
	form, err := formats.NewForm(up)
	if err != nil {
		return s, err
	}
	seen := map[string]bool{}
	for {
		part, err := form.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return s, err
		}
		name := part.FormName()
		if seen[name] && name != "" {
			return s, formats.BadRequest("the form has the field %q twice", name)
		}
		switch name {
		case "module", "version", "info", "mod", "zip":
			seen[name] = true
		}
		if err := s.field(ctx, part, tx); err != nil {
			return s, err
		}
	}
	if s.zip == nil {
		return s, formats.BadRequest("the form has no field zip")
	}
	if len(s.info) == 0 {
		s.info = nil
	}
	if len(s.mod) == 0 {
		s.mod = nil
	}
	return s, nil
}

func (s *submission) field(ctx context.Context, part *formats.Part, tx formats.Tx) (err error) {
	switch part.FormName() {
	case "module":
		s.Path, err = part.Text(maxCoordinate)
	case "version":
		s.Version.Version, err = part.Text(maxCoordinate)
	case "info":
		s.info, err = io.ReadAll(formats.Limit(part, maxInfo, "info"))
	case "mod":
		s.mod, err = io.ReadAll(formats.Limit(part, modzip.MaxGoMod, "go.mod"))
	case "zip":
		s.zip, err = tx.Blob(ctx, formats.Limit(part, modzip.MaxZipFile, "module zip"))
	}
	if err != nil {
		return fmt.Errorf("form field %s: %w", part.FormName(), err)
	}
	return nil
}
