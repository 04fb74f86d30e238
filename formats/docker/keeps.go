package docker

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"

	"granary/formats"
)

// Rooted is true for tags: manifests and blobs live while a tag needs them.
func (Format) Rooted(rec formats.Record) bool {
	_, ok := imageOf(rec.Scope, tags)
	return ok
}

// Keeps yields what a manifest is made of and what refers to it: its blobs, the
// manifests of an index, and the pointers to its referrers, which keep those.
func (Format) Keeps(ctx context.Context, rec formats.Record, open func(context.Context) (io.ReadCloser, error)) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		image, isTag := imageOf(rec.Scope, tags)
		if !isTag {
			var ok bool
			if image, ok = imageOf(rec.Scope, manifests); !ok {
				if image, ok = referrersOf(rec.Scope); ok {
					yield(formats.Join(image, manifests)+"/"+strings.TrimPrefix(rec.Name, ":"), nil)
				}
				return
			}
		}
		k := keys{image: image, yield: yield}
		if isTag && !k.manifest(digestOf(rec.Sums)) {
			return
		}
		data, err := readAll(ctx, open)
		if err != nil {
			yield("", fmt.Errorf("what %s keeps: %w", rec.Key(), err))
			return
		}
		var m manifest
		if json.Unmarshal(data, &m) == nil {
			k.all(&m, digestOf(rec.Sums), rec.Name)
		}
	}
}

func readAll(ctx context.Context, open func(context.Context) (io.ReadCloser, error)) ([]byte, error) {
	r, err := open(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close() //nolint:errcheck // only read
	return io.ReadAll(io.LimitReader(r, maxManifest+1))
}

// keys yields those of an image.
type keys struct {
	image string
	yield func(string, error) bool
}

func (k keys) manifest(name string) bool {
	return k.yield(formats.Join(k.image, manifests)+"/"+name, nil)
}

func (k keys) blob(name string) bool {
	return k.yield(formats.Join(k.image, blobs)+"/"+name, nil)
}

func (k keys) all(m *manifest, names ...string) {
	for _, d := range m.content() {
		if !k.blob(d.Digest) {
			return
		}
	}
	for _, d := range m.Manifests {
		if !k.manifest(d.Digest) || d.isBlob() && !k.blob(d.Digest) {
			return
		}
	}
	if m.Subject != nil && !k.manifest(m.Subject.Digest) {
		return
	}
	for _, name := range names {
		// All pointers in the scope: the key ends in a slash.
		if strings.Contains(name, ":") && !k.yield(formats.Join(k.image, referrers)+"/"+name+"/", nil) {
			return
		}
	}
}
