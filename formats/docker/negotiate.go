package docker

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"slices"
	"strings"

	"granary/formats"
)

var _ formats.Negotiator = Format{}

// Negotiated is true for tags of an index: older clients read image manifests
// alone.
func (f Format) Negotiated(op formats.Op, c *formats.Content) bool {
	return f.Points(op) && isList(c.Type)
}

func isList(mediaType string) bool { return mediaType == typeIndex || mediaType == typeDockerList }

// Instead is the image for Linux on amd64, which other registries give too, where
// Accept names types of image manifests and nothing that an index could be.
// What is named by a digest is never another.
func (f Format) Instead(ctx context.Context, op formats.Op, header http.Header, c *formats.Content) (formats.Op, error) {
	accepted := mediaTypes(header)
	if !slices.Contains(accepted, typeImage) && !slices.Contains(accepted, typeDockerImage) || slices.ContainsFunc(accepted, coversList) {
		return op, nil
	}
	data, err := readContent(ctx, c)
	if err != nil {
		return op, err
	}
	var m manifest
	if json.Unmarshal(data, &m) != nil {
		return op, nil // pushed as what it is not; whoever gets it will see
	}
	for _, d := range m.Manifests {
		var p struct {
			OS           string `json:"os"`
			Architecture string `json:"architecture"`
		}
		if len(d.Platform) == 0 || json.Unmarshal(d.Platform, &p) != nil || p.OS != "linux" || p.Architecture != "amd64" || !slices.Contains(accepted, d.MediaType) {
			continue
		}
		if _, _, err := parseDigest(d.Digest); err == nil {
			image, _ := imageOf(op.Scope, tags)
			return target{image, labelManifest, d.Digest}.op(http.MethodGet, true), nil
		}
	}
	return op, nil
}

// coversList tells whether what a client accepts may be an index.
func coversList(mediaType string) bool {
	return isList(mediaType) || mediaType == "*/*" || mediaType == "application/*"
}

// mediaTypes lists what Accept names, in any number of lines, but for what it
// excludes.
func mediaTypes(header http.Header) []string {
	var all []string
	for _, line := range header.Values("Accept") {
		for part := range strings.SplitSeq(line, ",") {
			t, params, err := mime.ParseMediaType(part)
			if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) || strings.Trim(params["q"], "0.") == "" && params["q"] != "" {
				continue
			}
			all = append(all, t)
		}
	}
	return all
}
