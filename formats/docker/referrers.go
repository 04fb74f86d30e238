package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"granary/formats"
)

// maxDescriptor is up to which length in bytes a descriptor is kept with its
// pointer; a longer one, by its annotations, is read from the manifest when it
// is listed.
const maxDescriptor = 32 << 10

// pointer is the record that lists a manifest with its subject.
func pointer(image string, m *manifest, d descriptor) (formats.Record, error) {
	rec := formats.Record{
		Scope: formats.Join(image, referrers) + "/" + m.Subject.Digest, Name: ":" + d.Digest, Type: d.MediaType, Move: true,
		Points: formats.Join(formats.Join(image, manifests), d.Digest),
	}
	meta, err := json.Marshal(d.describe(m))
	if len(meta) <= maxDescriptor {
		rec.Meta = meta
	}
	return rec, err
}

// describe completes the descriptor of a manifest as the specification wants
// it listed.
func (d descriptor) describe(m *manifest) descriptor {
	d.ArtifactType, d.Annotations = m.artifactType(), m.Annotations
	return d
}

// index is an OCI index as it is answered.
type index struct {
	SchemaVersion int          `json:"schemaVersion"`
	MediaType     string       `json:"mediaType"`
	Manifests     []descriptor `json:"manifests"`
}

// maxReferrers is how many are answered at once.
const maxReferrers = 1000

// listReferrers answers with the manifests whose subject is a digest: those
// that were pushed as such, and those that a client of an older registry has
// listed under the tag that stands for the digest.
func listReferrers(w http.ResponseWriter, r *http.Request, op formats.Op, view formats.View) error {
	q := r.URL.Query()
	want, last := q.Get("artifactType"), q.Get("last")
	list := index{SchemaVersion: 2, MediaType: typeIndex, Manifests: []descriptor{}}
	seen := map[string]bool{}
	next := ""
	for rec, err := range formats.RecordsFrom(r.Context(), view, op.Scope, after(last)) {
		if errors.Is(err, formats.ErrNotFound) {
			break // an upstream without the API, or nothing to list
		}
		if err != nil {
			return err
		}
		d, err := described(r, op, view, rec)
		if err != nil {
			return err
		}
		seen[d.Digest] = true
		if want != "" && d.ArtifactType != want {
			continue
		}
		if len(list.Manifests) == maxReferrers {
			next = ":" + list.Manifests[maxReferrers-1].Digest
			break
		}
		list.Manifests = append(list.Manifests, d)
	}
	if last == "" && next == "" {
		tagged, err := taggedReferrers(r, op, view)
		if err != nil {
			return err
		}
		for _, d := range tagged {
			if !seen[d.Digest] && (want == "" || d.ArtifactType == want) {
				seen[d.Digest] = true
				list.Manifests = append(list.Manifests, d)
			}
		}
	}
	if want != "" {
		w.Header().Set("OCI-Filters-Applied", "artifactType")
	}
	if next != "" {
		v := url.Values{"last": {next}}
		if want != "" {
			v.Set("artifactType", want)
		}
		linkNext(w, r, v)
	}
	return writeJSON(w, typeIndex, list)
}

// after is the least name behind last.
func after(last string) string {
	if last == "" {
		return ""
	}
	return last + "\x00"
}

// described returns the descriptor of a pointer.
func described(r *http.Request, op formats.Op, view formats.View, rec formats.Record) (descriptor, error) {
	var d descriptor
	if len(rec.Meta) > 0 {
		if err := json.Unmarshal(rec.Meta, &d); err != nil {
			return d, fmt.Errorf("%w: referrer %s: %w", formats.ErrCorrupt, rec.Key(), err)
		}
		return d, nil
	}
	image, _ := imageOf(above(op.Scope), referrers)
	d.Digest = strings.TrimPrefix(rec.Name, ":")
	c, data, err := readManifest(r, view, target{image, labelManifest, d.Digest})
	if err != nil {
		return d, err
	}
	m, err := parseManifest(c.Type, data)
	if err != nil {
		return d, fmt.Errorf("%w: manifest %s: %w", formats.ErrCorrupt, d.Digest, err)
	}
	d.MediaType, d.Size = c.Type, c.Size
	return d.describe(m), nil
}

func above(scope string) string {
	rest, _ := cutLast(scope)
	return rest
}

// readManifest returns a manifest's bytes.
func readManifest(r *http.Request, view formats.View, t target) (*formats.Content, []byte, error) {
	c, err := view.Open(r.Context(), t.op(http.MethodGet, true))
	if err != nil {
		return nil, nil, err
	}
	data, err := readContent(r.Context(), c)
	return c, data, err
}

// readContent returns the bytes of a manifest that was found.
func readContent(ctx context.Context, c *formats.Content) ([]byte, error) {
	if c.Size > maxManifest {
		return nil, fmt.Errorf("%w: manifest %s has %d bytes", formats.ErrCorrupt, c.Name, c.Size)
	}
	f, err := c.Open(ctx, 0, -1)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, fmt.Errorf("read manifest %s: %w", c.Name, err)
	}
	return data, nil
}

// taggedReferrers reads the index that clients keep under a tag where a
// registry has no referrers API: "sha256-<hex>", specification §"Referrers Tag
// Schema".
func taggedReferrers(r *http.Request, op formats.Op, view formats.View) ([]descriptor, error) {
	image, _ := imageOf(above(op.Scope), referrers)
	tag := strings.Replace(op.Name, ":", "-", 1)
	_, data, err := readManifest(r, view, target{image, labelManifest, tag[:min(len(tag), 128)]})
	if errors.Is(err, formats.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var m manifest
	if json.Unmarshal(data, &m) != nil || m.checkDigests() != nil {
		return nil, nil // another use of the tag
	}
	return m.Manifests, nil
}
