package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"granary/formats"
)

var (
	_ formats.Releaser = Format{}
	_ formats.Placer   = Format{}
)

// Release names the image, and the tag or digest of a manifest. What lies below
// "blobs" is of no one version.
func (Format) Release(scope, name string) (image, version string) {
	if image, ok := imageOf(scope, tags); ok {
		return image, name
	}
	if image, ok := imageOf(scope, manifests); ok {
		return image, name
	}
	if image, ok := imageOf(scope, blobs); ok {
		return image, ""
	}
	if image, ok := referrersOf(scope); ok {
		return image, ""
	}
	return "", ""
}

// ClaimScope is that of the image's manifests: what an image is made of.
func (f Format) ClaimScope(scope string) string {
	image, _ := f.Release(scope, "")
	return formats.Join(image, manifests)
}

// Aged is true for manifests by their digest. A tag is judged by what it points
// to.
func (Format) Aged(scope, _ string) bool {
	_, ok := imageOf(scope, manifests)
	return ok
}

// firstImages is when there were images. An earlier time is none: builds that
// are to be the same each time write 1970 or 1980.
var firstImages = time.Date(2013, 1, 1, 0, 0, 0, 0, time.UTC)

const annotationCreated = "org.opencontainers.image.created"

// Published is when the image says that it was made: in an annotation, in its
// configuration, or in that of the first image of an index. Registries do not
// tell when something was pushed.
func (f Format) Published(ctx context.Context, rec formats.Record, src formats.Source) (time.Time, error) {
	image, _ := f.Release(rec.Scope, rec.Name)
	t, err := madeAt(ctx, image, rec.Name, src, true)
	if t.Before(firstImages) {
		t = time.Time{}
	}
	return t, err
}

func madeAt(ctx context.Context, image, name string, src formats.Source, index bool) (time.Time, error) {
	var m manifest
	if err := fetchJSON(ctx, target{image, labelManifest, name}, src, &m); err != nil {
		return time.Time{}, err
	}
	if t, err := time.Parse(time.RFC3339, m.Annotations[annotationCreated]); err == nil {
		return t.UTC(), nil
	}
	if len(m.Manifests) > 0 && index && !m.Manifests[0].isBlob() {
		return madeAt(ctx, image, m.Manifests[0].Digest, src, false)
	}
	if m.Config == nil {
		return time.Time{}, nil
	}
	var config struct {
		Created time.Time `json:"created"`
	}
	err := fetchJSON(ctx, target{image, labelBlob, m.Config.Digest}, src, &config)
	return config.Created.UTC(), err
}

// fetchJSON reads what a digest names. That it is of another form says nothing.
func fetchJSON(ctx context.Context, t target, src formats.Source, into any) error {
	_, sums, err := parseDigest(t.ref)
	if err != nil {
		return nil //nolint:nilerr // of an algorithm that is not known: nothing is told
	}
	kind := manifests
	if t.what == labelBlob {
		kind = blobs
	}
	path := "v2/" + formats.Join(t.name, kind) + "/" + t.ref
	r, err := src.Open(ctx, path, sums)
	if err != nil {
		return err
	}
	defer r.Close() //nolint:errcheck // only read
	var syntax *json.SyntaxError
	var kinds *json.UnmarshalTypeError
	err = json.NewDecoder(formats.Limit(r, maxManifest, "document")).Decode(into)
	if errors.As(err, &syntax) || errors.As(err, &kinds) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	return nil
}
