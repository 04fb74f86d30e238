package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"granary/digest"
	"granary/formats"
)

// Limits of what an upstream lists.
const (
	maxListing = 32 << 20 // bytes of one page
	maxTags    = 500_000
	maxPages   = 10_000
)

// manifestTypes is what a cache asks for: everything that it can keep. An
// upstream that can't give one of them would convert a manifest otherwise.
var manifestTypes = strings.Join([]string{
	typeIndex, typeImage, typeDockerList, typeDockerImage, typeArtifact, "application/json", "*/*;q=0.1",
}, ", ")

// Ask adds the media types of manifests, and "library/" to the short names of
// the registry that Docker's clients use by default.
func (Format) Ask(base, path string) (string, http.Header) {
	rest, ok := strings.CutPrefix(path, "v2/")
	t, known := split(rest)
	if !ok || !known {
		// The next page of a listing, which the upstream named.
		return path, nil
	}
	if t.name != "" && !strings.Contains(t.name, "/") && isDefault(base) {
		path = "v2/library/" + rest
	}
	switch t.what {
	case labelManifest:
		return path, http.Header{"Accept": {manifestTypes}}
	case labelReferrers:
		return path, http.Header{"Accept": {typeIndex}}
	}
	return path, nil
}

// defaultDomain is the domain that names of images without a host are of.
const defaultDomain = "docker.io"

func isDefaultHost(host string) bool {
	host = strings.ToLower(host)
	return host == defaultDomain || strings.HasSuffix(host, "."+defaultDomain)
}

func isDefault(base string) bool {
	u, err := url.Parse(base)
	return err == nil && isDefaultHost(u.Hostname())
}

// Mirrors compares hosts; the default registry has several names.
func (Format) Mirrors(base, host string) bool {
	if isDefaultHost(host) {
		return isDefault(base)
	}
	u, err := url.Parse(base)
	return err == nil && host != "" && strings.EqualFold(u.Host, host)
}

// Points is true for tags.
func (Format) Points(op formats.Op) bool { return op.Label == labelManifest && !op.Fixed }

// Target is the manifest by its digest, which upstreams tell in a header.
func (Format) Target(op formats.Op, header http.Header, sums digest.Sums) (formats.Op, bool) {
	image, ok := imageOf(op.Scope, tags)
	if !ok {
		return formats.Op{}, false
	}
	name := header.Get("Docker-Content-Digest")
	if !sums.IsZero() {
		name = digestOf(sums)
	}
	if _, _, err := parseDigest(name); err != nil {
		return formats.Op{}, false
	}
	return target{image, labelManifest, name}.op(http.MethodGet, true), true
}

// Verifies is true for tags: what is named by a digest is checked by it.
func (f Format) Verifies(op formats.Op) bool { return op.Kind == formats.File && f.Points(op) }

// Verify refuses what is no manifest, such as the page of a login.
func (Format) Verify(_ context.Context, op formats.Op, b formats.Blob, _ formats.Source) error {
	if b.Size() > maxManifest {
		return fmt.Errorf("%w: manifest %s has %d bytes", formats.ErrBadPackage, op.Name, b.Size())
	}
	var m struct {
		SchemaVersion int `json:"schemaVersion"`
	}
	err := json.NewDecoder(io.NewSectionReader(b, 0, b.Size())).Decode(&m)
	if err != nil || m.SchemaVersion != 2 {
		return fmt.Errorf("%w: %s is no manifest of schema 2", formats.ErrBadPackage, op.Name)
	}
	return nil
}

// Entry names the listing of a scope of tags or referrers.
func (Format) Entry(scope string) string {
	if image, ok := imageOf(scope, tags); ok {
		return "v2/" + formats.Join(image, tags) + "/list"
	}
	if _, ok := referrersOf(scope); ok {
		return "v2/" + scope
	}
	return ""
}

// Parse reads all pages of an upstream's listing.
func (f Format) Parse(ctx context.Context, scope string, src formats.Source) iter.Seq2[formats.Record, error] {
	return func(yield func(formats.Record, error) bool) {
		recs, err := f.parse(ctx, scope, src)
		for _, rec := range recs {
			if !yield(rec, nil) {
				return
			}
		}
		if err != nil {
			yield(formats.Record{}, err)
		}
	}
}

func (f Format) parse(ctx context.Context, scope string, src formats.Source) ([]formats.Record, error) {
	_, isTags := imageOf(scope, tags)
	var recs []formats.Record
	seen := map[string]bool{}
	for path := f.Entry(scope); path != "" && !seen[path]; {
		seen[path] = true
		page, err := f.parsePage(ctx, scope, path, isTags, src)
		if err != nil {
			return nil, err
		}
		if recs = append(recs, page...); len(recs) > maxTags || len(seen) > maxPages {
			return nil, fmt.Errorf("%w: %s lists more than can be taken", formats.ErrUpstream, scope)
		}
		if path, err = formats.NextPage(ctx, src, path); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(recs, func(a, b formats.Record) int { return strings.Compare(a.Name, b.Name) })
	return slices.CompactFunc(recs, func(a, b formats.Record) bool { return a.Name == b.Name }), nil
}

// parsePage reads tags, or an index of referrers.
func (Format) parsePage(ctx context.Context, scope, path string, isTags bool, src formats.Source) ([]formats.Record, error) {
	r, err := src.Open(ctx, path, digest.Sums{})
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // only read
	var page struct {
		Tags      []string     `json:"tags"`
		Manifests []descriptor `json:"manifests"`
	}
	err = json.NewDecoder(formats.Limit(r, maxListing, "listing")).Decode(&page)
	if errors.Is(err, formats.ErrUpstream) {
		return nil, err
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %s", formats.ErrUpstream, path, err.Error())
	}
	var recs []formats.Record
	if isTags {
		for _, tag := range page.Tags {
			if checkTag(tag) == nil {
				recs = append(recs, formats.Record{Scope: scope, Name: tag, Move: true})
			}
		}
		return recs, nil
	}
	for _, d := range page.Manifests {
		if _, _, err := parseDigest(d.Digest); err != nil {
			continue
		}
		meta, err := json.Marshal(d)
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %s", formats.ErrUpstream, path, err.Error())
		}
		recs = append(recs, formats.Record{Scope: scope, Name: ":" + d.Digest, Type: d.MediaType, Move: true, Meta: meta})
	}
	return recs, nil
}
