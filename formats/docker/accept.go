package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"granary/digest"
	"granary/formats"
)

// manifestMeta is what a manifest's record remembers for its removal.
type manifestMeta struct {
	Subject string `json:"subject,omitempty"`
}

// Accept publishes a manifest, and removes manifests, tags and blobs.
func (Format) Accept(ctx context.Context, op formats.Op, up *formats.Upload, tx formats.Tx) error {
	switch {
	case op.Kind == formats.Delete && op.Label == labelManifest && op.Fixed:
		return removeManifest(ctx, op, tx)
	case op.Kind == formats.Delete:
		tx.Delete(op.Scope, op.Name)
		return nil
	}
	data, err := io.ReadAll(formats.Limit(up.Body, maxManifest, "manifest"))
	if err != nil {
		return fmt.Errorf("receive manifest: %w", err)
	}
	mediaType, err := mediaTypeOf(up.Header.Get("Content-Type"), data)
	if err != nil {
		return err
	}
	m, err := parseManifest(mediaType, data)
	if err != nil {
		return err
	}
	image, _ := cutLast(op.Scope)
	if err := checkContent(ctx, image, m, tx); err != nil {
		return err
	}
	b, err := tx.Blob(ctx, bytes.NewReader(data), op.Sum.Algorithms()...)
	if err != nil {
		return fmt.Errorf("receive manifest: %w", err)
	}
	if have := b.Sums(); have.Check(op.Sum) != nil {
		return bad(codeDigestInvalid, "the digest of the manifest is not %s", op.Name)
	}
	return putManifest(image, op, mediaType, m, b, tx)
}

// checkContent wants all that the manifest is made of to be there.
func checkContent(ctx context.Context, image string, m *manifest, tx formats.Tx) error {
	seen := map[string]bool{}
	look := func(kind string, d descriptor) error {
		if seen[d.Digest] || d.foreign() {
			return nil
		}
		seen[d.Digest] = true
		_, err := tx.Record(ctx, formats.Join(image, kind), d.Digest)
		if errors.Is(err, formats.ErrNotFound) && kind == blobs {
			err = adopt(ctx, image, d, tx)
		}
		if errors.Is(err, formats.ErrNotFound) {
			return bad(codeBlobMissing, "the manifest needs %s, which is not in this image's %s", d.Digest, kind)
		}
		return err
	}
	for _, d := range m.content() {
		if err := look(blobs, d); err != nil {
			return err
		}
	}
	for _, d := range m.Manifests {
		if err := look(manifests, d); err != nil {
			return err
		}
	}
	return nil
}

// adopt takes a blob that a client did not send since the group has it.
func adopt(ctx context.Context, image string, d descriptor, tx formats.Tx) error {
	a, ok := tx.(formats.Adopter)
	if !ok {
		return fmt.Errorf("%s: %w", d.Digest, formats.ErrNotFound)
	}
	_, sums, err := parseDigest(d.Digest)
	if err != nil {
		return err
	}
	return a.Adopt(ctx, blobOp(formats.Op{Kind: formats.File, Label: labelBlob, Name: d.Digest}, image, sums))
}

// putManifest writes the manifest, what lists it with its subject, and the tag
// last.
func putManifest(image string, op formats.Op, mediaType string, m *manifest, b formats.Blob, tx formats.Tx) error {
	name := digestOf(b.Sums())
	if op.Fixed {
		name = op.Name
	}
	rec := formats.Record{Scope: formats.Join(image, manifests), Name: name, Type: mediaType, Move: true}
	if m.Subject != nil {
		var err error
		if rec.Meta, err = json.Marshal(manifestMeta{m.Subject.Digest}); err != nil {
			return err
		}
	}
	tx.Put(rec, b)
	if m.Subject != nil {
		p, err := pointer(image, m, descriptor{MediaType: mediaType, Digest: name, Size: b.Size()})
		if err != nil {
			return err
		}
		tx.Put(p, nil)
	}
	if !op.Fixed {
		tx.Put(formats.Record{Scope: op.Scope, Name: op.Name, Type: mediaType, Move: true}, b)
	}
	return nil
}

// removeManifest takes its tags along, and its place among the referrers of
// its subject.
func removeManifest(ctx context.Context, op formats.Op, tx formats.Tx) error {
	rec, err := tx.Record(ctx, op.Scope, op.Name)
	if errors.Is(err, formats.ErrNotFound) {
		tx.Delete(op.Scope, op.Name) // which is not found either
		return nil
	}
	if err != nil {
		return err
	}
	image, _ := cutLast(op.Scope)
	for tag, err := range tx.Records(ctx, formats.Join(image, tags)) {
		if err != nil {
			return err
		}
		if bytes.Equal(tag.Sums.Get(digest.BLAKE3), rec.Sums.Get(digest.BLAKE3)) {
			tx.Delete(tag.Scope, tag.Name)
		}
	}
	if subject := subjectOf(rec); subject != "" {
		tx.Delete(formats.Join(image, referrers)+"/"+subject, ":"+op.Name)
	}
	tx.Delete(op.Scope, op.Name)
	return nil
}

// subjectOf returns the digest of a manifest's subject, "" without one.
func subjectOf(rec formats.Record) string {
	var meta manifestMeta
	if len(rec.Meta) == 0 || json.Unmarshal(rec.Meta, &meta) != nil {
		return ""
	}
	return meta.Subject
}

// Answer tells under which digest a manifest was stored.
func (Format) Answer(w http.ResponseWriter, r *http.Request, _ formats.Op, records []formats.Record) bool {
	if len(records) == 0 {
		return false
	}
	above, _ := cutLast(r.URL.Path)
	h := w.Header()
	h.Set("Location", escaped(above+"/"+records[0].Name))
	h.Set("Docker-Content-Digest", records[0].Name)
	if subject := subjectOf(records[0]); subject != "" {
		h.Set("OCI-Subject", subject)
	}
	h.Set("Content-Length", "0")
	w.WriteHeader(http.StatusCreated)
	return true
}

// escaped writes a path for a header.
func escaped(path string) string {
	return (&url.URL{Path: path}).EscapedPath()
}

// below returns the client's path up to the protocol's part, such as
// "/v2/repo/app" of "/v2/repo/app/blobs/uploads/".
func below(r *http.Request, part string) string {
	return r.URL.Path[:max(0, strings.LastIndex(r.URL.Path, part))]
}
