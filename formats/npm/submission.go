package npm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"granary/digest"
	"granary/formats"
)

// submission is a document as clients send it to publish or to deprecate.
type submission struct {
	name     string
	versions map[string]manifest
	tags     map[string]string
	tarball  formats.Blob // of the one attachment; nil: there is none
}

// readSubmission reads a document. An attachment is stored as it arrives,
// wherever in the document it is.
func readSubmission(ctx context.Context, up *formats.Upload, tx formats.Tx) (*submission, error) {
	s := &submission{}
	d := newDocument(up.Body, maxDocument)
	err := d.object(func(key string) error {
		if key == "_attachments" {
			return s.attachments(ctx, d, tx)
		}
		raw, err := d.value()
		if err != nil {
			return err
		}
		return s.member(key, raw)
	})
	return s, err
}

func (s *submission) member(key string, raw json.RawMessage) error {
	var err error
	switch key {
	case "name":
		err = json.Unmarshal(raw, &s.name)
	case "versions":
		err = json.Unmarshal(raw, &s.versions)
	case "dist-tags":
		err = json.Unmarshal(raw, &s.tags)
	}
	if err != nil {
		return formats.BadRequest("%s in the document: %v", key, err)
	}
	return nil
}

// attachments reads {"<file>": {"content_type": …, "data": "<base64>"}}. The
// name of the file follows from the package. An attestation, which npm sends
// beside the tarball, is of no use without those who would check it.
func (s *submission) attachments(ctx context.Context, d *document, tx formats.Tx) error {
	return d.object(func(file string) error {
		sigstore := strings.HasSuffix(file, ".sigstore")
		return d.object(func(key string) error {
			if key != "data" || sigstore {
				_, err := d.value()
				return err
			}
			if s.tarball != nil {
				return formats.BadRequest("the document has more than one attachment")
			}
			r, err := d.base64()
			if err != nil {
				return err
			}
			if s.tarball, err = tx.Blob(ctx, r, digest.SHA1, digest.SHA512); err != nil {
				return fmt.Errorf("attachment %q: %w", file, err)
			}
			// What the blob's reader left unread is none of the document.
			_, err = io.Copy(io.Discard, r)
			return err
		})
	})
}

// publish puts the one version of the document whose tarball is attached.
func (s *submission) publish(ctx context.Context, pkg string, tx formats.Tx) error {
	if s.name != pkg {
		return formats.BadRequest("the document is about %q, the path about %q", s.name, pkg)
	}
	if len(s.versions) != 1 {
		return formats.BadRequest("the document has %d versions beside the attachment, not one", len(s.versions))
	}
	for version, sent := range s.versions {
		if name := sent.text("name"); name != pkg || plain(sent.text("version")) != plain(version) {
			return formats.BadRequest("version %q in the document is that of %s %s", version, name, sent.text("version"))
		}
		return publish(ctx, publication{name: pkg, version: plain(version), sent: sent, tags: s.tags, tarball: s.tarball}, tx)
	}
	return nil
}

// publication is a version to be put.
type publication struct {
	name, version string   // as the client says; "" if it says nothing
	sent          manifest // nil: nothing was said
	tags          map[string]string
	tarball       formats.Blob
}

// publish checks a tarball and hands it to the transaction first: if another is
// published already, nothing else is written. Then come its tags, and the
// package's place in the list.
func publish(ctx context.Context, p publication, tx formats.Tx) error {
	c, err := inspect(ctx, p.tarball)
	if err != nil {
		return err
	}
	name, version := c.manifest.text("name"), plain(c.manifest.text("version"))
	switch {
	case p.name != "" && name != p.name:
		return bad("package.json in the tarball is that of %q, not of %q", name, p.name)
	case p.version != "" && version != p.version:
		return bad("package.json in the tarball has version %q, not %q", version, p.version)
	case !newName(name):
		return bad("%q is no name of a package", name)
	case !goodVersion(version):
		return bad("%q is no version", version)
	}
	if err := checkDist(p.sent, p.tarball); err != nil {
		return err
	}
	m, err := c.complete(p.sent, p.tarball)
	if err != nil {
		return err
	}
	meta, err := m.encode()
	if err != nil {
		return err
	}
	record := formats.Record{Scope: name, Name: tarballName(name, version), Type: typeTarball, Meta: meta}
	if err := formats.CheckPath(record.Key()); err != nil {
		return err
	}
	tags, err := checkTags(p.tags, version)
	if err != nil {
		return err
	}
	list, err := listing(ctx, name, m, tx)
	if err != nil {
		return err
	}
	tx.Put(record, p.tarball)
	for _, tag := range tags {
		tx.Put(tagPointer(name, tag, version), nil)
	}
	if list != nil {
		tx.Put(*list, nil)
	}
	return nil
}

// checkDist holds the digests that the client tells against the bytes.
func checkDist(sent manifest, b formats.Blob) error {
	var dist struct {
		Integrity string `json:"integrity"`
		Shasum    string `json:"shasum"`
	}
	if sent["dist"] == nil {
		return nil
	}
	if err := json.Unmarshal(sent["dist"], &dist); err != nil {
		return formats.BadRequest("dist in the document: %v", err)
	}
	sums := b.Sums()
	if dist.Shasum != "" && !strings.EqualFold(dist.Shasum, sums.Hex(digest.SHA1)) {
		return formats.BadRequest("the tarball does not have the shasum of the document: it was changed on its way")
	}
	for _, one := range strings.Fields(dist.Integrity) {
		if strings.HasPrefix(one, "sha512-") && one != integrity(sums) {
			return formats.BadRequest("the tarball does not have the integrity of the document: it was changed on its way")
		}
	}
	return nil
}

// listed is what search looks at, in the pointer of a package.
type listedMeta struct {
	Description string   `json:"description,omitempty"`
	Keywords    []string `json:"keywords,omitempty"`
}

// listing is the package's place in the list, nil if it is there as it should
// be.
func listing(ctx context.Context, name string, m manifest, tx formats.Tx) (*formats.Record, error) {
	l := listedMeta{Description: clip(m.text("description"), 512)}
	json.Unmarshal(m["keywords"], &l.Keywords) //nolint:errcheck // another type has no keywords
	l.Keywords = l.Keywords[:min(len(l.Keywords), 50)]
	for i, k := range l.Keywords {
		l.Keywords[i] = clip(k, 64)
	}
	meta, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("encode what search knows of %s: %w", name, err)
	}
	rec := formats.Record{Scope: listScope, Name: listPointer(name), Move: true, Meta: meta}
	old, err := tx.Record(ctx, rec.Scope, rec.Name)
	switch {
	case errors.Is(err, formats.ErrNotFound):
		return &rec, nil
	case err != nil:
		return nil, err
	case string(old.Meta) == string(meta):
		return nil, nil //nolint:nilnil // documented
	}
	return &rec, nil
}

func clip(s string, n int) string { return strings.ToValidUTF8(s[:min(len(s), n)], "") }
