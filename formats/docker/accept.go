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
	"slices"
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
	c := checker{image: image, tx: tx, seen: map[string]bool{}}
	return c.all(ctx, m)
}

// checker looks for what manifests are made of. What a client did not send since
// the group has it becomes part of the image, so that it does not depend on the
// group.
type checker struct {
	image string
	tx    formats.Tx
	seen  map[string]bool
}

func (c *checker) all(ctx context.Context, m *manifest) error {
	for _, d := range m.content() {
		if err := c.look(ctx, labelBlob, d); err != nil {
			return err
		}
	}
	for _, d := range m.Manifests {
		if err := c.look(ctx, labelManifest, d); err != nil {
			return err
		}
	}
	return nil
}

// look wants one of them to be there.
func (c *checker) look(ctx context.Context, label string, d descriptor) error {
	if c.seen[d.Digest] || d.foreign() {
		return nil
	}
	if c.seen[d.Digest] = true; len(c.seen) > maxRefs {
		return bad(codeManifestInvalid, "the manifest and those in it refer to more than %d others", maxRefs)
	}
	labels := []string{label}
	if label == labelManifest && d.isBlob() {
		labels = append(labels, labelBlob)
	}
	for _, find := range []func(context.Context, formats.Op) error{c.has, c.adopt} {
		for _, label := range labels {
			err := find(ctx, target{c.image, label, d.Digest}.op(http.MethodGet, true))
			if !errors.Is(err, formats.ErrNotFound) {
				return err
			}
		}
	}
	return bad(codeBlobMissing, "the manifest needs %s, which is not in this image's %ss", d.Digest, label)
}

func (c *checker) has(ctx context.Context, op formats.Op) error {
	_, err := c.tx.Record(ctx, op.Scope, op.Name)
	return err
}

// adopt takes a blob, or a manifest with all that it is made of, from another
// member of the group.
func (c *checker) adopt(ctx context.Context, op formats.Op) error {
	a, ok := c.tx.(formats.Adopter)
	if !ok {
		return fmt.Errorf("%s: %w", op.Key(), formats.ErrNotFound)
	}
	found, err := a.Find(ctx, op)
	if err != nil {
		return err
	}
	rec := formats.Record{Scope: op.Scope, Name: op.Name, Type: found.Type, Move: true}
	if op.Label == labelBlob {
		return a.Adopt(ctx, rec, found)
	}
	data, err := readContent(ctx, found)
	if err != nil {
		return err
	}
	m, err := parseManifest(found.Type, data)
	if err != nil {
		return err
	}
	if err := c.all(ctx, m); err != nil {
		return err
	}
	if rec.Meta, err = m.meta(); err != nil {
		return err
	}
	if err := a.Adopt(ctx, rec, found); err != nil || m.Subject == nil {
		return err
	}
	p, err := pointer(c.image, m, descriptor{MediaType: rec.Type, Digest: rec.Name, Size: found.Size})
	if err == nil {
		c.tx.Put(p, nil)
	}
	return err
}

// meta is what the manifest's record remembers.
func (m *manifest) meta() ([]byte, error) {
	if m.Subject == nil {
		return nil, nil
	}
	return json.Marshal(manifestMeta{m.Subject.Digest})
}

// putManifest writes the manifest, what lists it with its subject, and the tag
// last.
func putManifest(image string, op formats.Op, mediaType string, m *manifest, b formats.Blob, tx formats.Tx) error {
	name := digestOf(b.Sums())
	if op.Fixed {
		name = op.Name
	}
	rec := formats.Record{Scope: formats.Join(image, manifests), Name: name, Type: mediaType, Move: true}
	var err error
	if rec.Meta, err = m.meta(); err != nil {
		return err
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
		tx.Put(formats.Record{Scope: op.Scope, Name: op.Name, Type: mediaType, Move: true, Points: rec.Key()}, b)
	}
	return nil
}

// removeManifest takes its tags along, and its place among the referrers of
// its subject.
func removeManifest(ctx context.Context, op formats.Op, tx formats.Tx) error {
	rec, err := tx.Retire(ctx, op.Scope, op.Name)
	if errors.Is(err, formats.ErrNotFound) {
		return nil // a push may write it in a moment
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
		list := formats.Join(image, referrers) + "/" + subject
		switch p, err := tx.Record(ctx, list, ":"+op.Name); {
		case err == nil:
			tx.Delete(p.Scope, p.Name)
		case !errors.Is(err, formats.ErrNotFound):
			return err
		}
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
func (Format) Answer(w http.ResponseWriter, r *http.Request, op formats.Op, records []formats.Record) bool {
	image, _ := cutLast(op.Scope)
	i := slices.IndexFunc(records, func(rec formats.Record) bool { return rec.Scope == formats.Join(image, manifests) })
	if i < 0 {
		return false
	}
	above, _ := cutLast(r.URL.Path)
	h := w.Header()
	h.Set("Location", escaped(above+"/"+records[i].Name))
	h.Set("Docker-Content-Digest", records[i].Name)
	if subject := subjectOf(records[i]); subject != "" {
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
