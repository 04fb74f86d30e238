package raw

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"granary/formats"
)

// maxFiles is how many files one form may bring.
const maxFiles = 100

// Accept stores the body of a PUT at its path, or the files of a form in its
// directory, and removes one file.
func (Format) Accept(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
	switch {
	case op.Kind == formats.Delete:
		tx.Delete(op.Scope, op.Name)
		return nil
	case op.Label == labelForm:
		return acceptForm(ctx, op.Scope, up, tx)
	case op.Label == labelComponent:
		return acceptComponent(ctx, up, tx)
	}
	rec, b, err := receive(ctx, op.Scope, op.Name, up.Header, up.Body, tx)
	if err != nil {
		return err
	}
	tx.Put(rec, b)
	return nil
}

// receive reads one file and checks it against the digests in its headers.
func receive(ctx context.Context, dir, name string, h http.Header, body io.Reader, tx formats.Tx) (formats.Record, formats.Blob, error) {
	if err := formats.CheckPath(formats.Join(dir, name)); err != nil {
		return formats.Record{}, nil, err
	}
	want, err := formats.Promised(h)
	if err != nil {
		return formats.Record{}, nil, err
	}
	b, err := tx.Blob(ctx, body, want.Algorithms()...)
	if err != nil {
		return formats.Record{}, nil, fmt.Errorf("receive %s: %w", formats.Join(dir, name), err)
	}
	if err := formats.CheckSums(b, want); err != nil {
		return formats.Record{}, nil, err
	}
	return formats.Record{Scope: dir, Name: name, Type: mediaType(h.Get("Content-Type"), name)}, b, nil
}

// acceptForm stores every part that has a file name, in order; of two with the
// same name the form is refused.
func acceptForm(ctx context.Context, dir string, up *formats.Upload, tx formats.Tx) error {
	form, err := formats.NewForm(up)
	if err != nil {
		return err
	}
	type file struct {
		formats.Record
		formats.Blob
	}
	var files []file
	seen := map[string]bool{}
	for {
		part, err := form.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		name := part.FileName()
		switch {
		case name == "":
			continue
		case seen[name]:
			return formats.BadRequest("the form has two files %q", name)
		case len(files) == maxFiles:
			return formats.BadRequest("the form has more than %d files", maxFiles)
		}
		seen[name] = true
		rec, b, err := receive(ctx, dir, name, http.Header(part.Header), part, tx)
		if err != nil {
			return err
		}
		files = append(files, file{rec, b})
	}
	if len(files) == 0 {
		return formats.BadRequest("the form has no file")
	}
	for _, f := range files {
		tx.Put(f.Record, f.Blob)
	}
	return nil
}

// maxType is the longest Content-Type that is kept, in bytes.
const maxType = 255

// mediaType is what the client said, unless that says nothing.
func mediaType(said, name string) string {
	kind, _, err := mime.ParseMediaType(said)
	if err != nil || !strings.Contains(kind, "/") || kind == octets || len(said) > maxType {
		return byExtension(name)
	}
	return said
}
