package docker

import (
	"encoding/json"
	"mime"
	"strings"
)

// Media types of manifests.
const (
	typeImage       = "application/vnd.oci.image.manifest.v1+json"
	typeIndex       = "application/vnd.oci.image.index.v1+json"
	typeArtifact    = "application/vnd.oci.artifact.manifest.v1+json" // of release candidates of OCI 1.1
	typeDockerImage = "application/vnd.docker.distribution.manifest.v2+json"
	typeDockerList  = "application/vnd.docker.distribution.manifest.list.v2+json"
	typeSchema1     = "application/vnd.docker.distribution.manifest.v1+json"
	typeSigned1     = "application/vnd.docker.distribution.manifest.v1+prettyjws"
)

const (
	maxManifest = 32 << 20 // bytes
	maxRefs     = 10_000   // descriptors in a manifest
)

// descriptor points to content.
type descriptor struct {
	MediaType    string            `json:"mediaType,omitempty"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	URLs         []string          `json:"urls,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Platform     json.RawMessage   `json:"platform,omitempty"`
	Data         []byte            `json:"data,omitempty"`
}

// manifest is what is looked at of any of the types.
type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        *descriptor       `json:"config"`
	Layers        []descriptor      `json:"layers"`
	Blobs         []descriptor      `json:"blobs"`
	Manifests     []descriptor      `json:"manifests"`
	Subject       *descriptor       `json:"subject"`
	Annotations   map[string]string `json:"annotations"`
	FSLayers      json.RawMessage   `json:"fsLayers"`
}

// parseManifest reads the bytes of a manifest of a media type. Those of types
// that are not known here are taken as they are; what of the known fields is in
// them is looked at.
func parseManifest(mediaType string, data []byte) (*manifest, error) {
	m := new(manifest)
	err := json.Unmarshal(data, m)
	if mediaType == typeSchema1 || mediaType == typeSigned1 || err == nil && (m.SchemaVersion == 1 || m.FSLayers != nil) {
		return nil, bad(codeManifestInvalid, "manifests of Docker schema 1 are not taken: they can't be verified by digest, and clients have stopped reading them; push the image with a current client")
	}
	switch {
	case err == nil && m.MediaType != "" && m.MediaType != mediaType:
		// Of any type: who pulls by digest gets the type of the last push of the bytes.
		return nil, bad(codeManifestInvalid, "the manifest says that it is %.200q, the request %.200q", m.MediaType, mediaType)
	case !known(mediaType) && err != nil:
		return new(manifest), nil
	case !known(mediaType):
		return m.checked()
	case err != nil:
		return nil, bad(codeManifestInvalid, "the manifest can't be read: %v", err)
	case m.SchemaVersion != 2:
		return nil, bad(codeManifestInvalid, "schemaVersion of a manifest must be 2, not %d", m.SchemaVersion)
	}
	// One document must not be both: clients would not agree on what it is.
	list := mediaType == typeIndex || mediaType == typeDockerList
	switch {
	case list && (m.Config != nil || m.Layers != nil):
		return nil, bad(codeManifestInvalid, "an index has no config and no layers")
	case !list && m.Manifests != nil:
		return nil, bad(codeManifestInvalid, "an image manifest has no manifests")
	case !list && mediaType != typeArtifact && m.Config == nil:
		return nil, bad(codeManifestInvalid, "the manifest has no config")
	}
	return m.checked()
}

func known(mediaType string) bool {
	switch mediaType {
	case typeImage, typeIndex, typeArtifact, typeDockerImage, typeDockerList:
		return true
	}
	return false
}

// checked is m, if what it refers to can be.
func (m *manifest) checked() (*manifest, error) {
	if err := m.checkDigests(); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *manifest) checkDigests() error {
	all := append(m.content(), m.Manifests...)
	if m.Subject != nil {
		all = append(all, *m.Subject)
	}
	if len(all) > maxRefs {
		return bad(codeManifestInvalid, "the manifest refers to %d others, at most %d are possible", len(all), maxRefs)
	}
	for _, d := range all {
		if _, _, err := parseDigest(d.Digest); err != nil {
			return bad(codeManifestInvalid, "in the manifest: %v", err)
		}
		if d.Size < 0 {
			return bad(codeManifestInvalid, "the manifest gives %s a size of %d", d.Digest, d.Size)
		}
	}
	return nil
}

// content lists the blobs that the manifest is made of.
func (m *manifest) content() []descriptor {
	var out []descriptor
	if m.Config != nil {
		out = append(out, *m.Config)
	}
	return append(append(out, m.Layers...), m.Blobs...)
}

// foreign tells whether a layer is fetched from elsewhere and need not be here.
func (d descriptor) foreign() bool {
	return len(d.URLs) > 0 || strings.Contains(d.MediaType, "nondistributable") || strings.Contains(d.MediaType, ".foreign.")
}

// isBlob tells whether what an index lists may be a blob: build caches of BuildKit
// are an index of layers.
func (d descriptor) isBlob() bool { return d.MediaType != "" && !known(d.MediaType) }

// artifactType is what referrers are filtered by.
func (m *manifest) artifactType() string {
	if m.ArtifactType == "" && m.Config != nil {
		return m.Config.MediaType
	}
	return m.ArtifactType
}

// mediaTypeOf tells the type of a manifest that was uploaded: what the request
// says, else the manifest.
func mediaTypeOf(header string, data []byte) (string, error) {
	if header != "" {
		t, _, err := mime.ParseMediaType(header)
		if err != nil {
			return "", bad(codeManifestInvalid, "Content-Type %.200q can't be read", header)
		}
		return t, nil
	}
	var m struct {
		MediaType string          `json:"mediaType"`
		Manifests json.RawMessage `json:"manifests"`
		FSLayers  json.RawMessage `json:"fsLayers"`
	}
	switch err := json.Unmarshal(data, &m); {
	case err != nil:
		return "", bad(codeManifestInvalid, "the manifest can't be read: %v", err)
	case m.MediaType != "":
		return m.MediaType, nil
	case m.FSLayers != nil:
		return typeSchema1, nil
	case m.Manifests != nil:
		return typeIndex, nil
	}
	return typeImage, nil
}
