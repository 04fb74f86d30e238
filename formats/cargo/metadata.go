package cargo

import (
	"encoding/json"
	"slices"
	"strings"

	"granary/formats"
)

// metadata is what the publisher says of a version, in the form of the web API.
// Fields that the index does not have, such as the readme, are not kept.
type metadata struct {
	Name        string              `json:"name"`
	Version     string              `json:"vers"`
	Deps        []declared          `json:"deps"`
	Features    map[string][]string `json:"features"`
	Description string              `json:"description"`
	Links       *string             `json:"links"`
	RustVersion *string             `json:"rust_version"`
}

// declared is a dependency in that form.
type declared struct {
	Name            string   `json:"name"`
	Req             string   `json:"version_req"`
	Features        []string `json:"features"`
	Optional        bool     `json:"optional"`
	DefaultFeatures bool     `json:"default_features"`
	Target          *string  `json:"target"`
	Kind            string   `json:"kind"`
	Registry        *string  `json:"registry"`
	Explicit        *string  `json:"explicit_name_in_toml"`
}

// indexed turns the name around: the index has the name in Cargo.toml first.
func (d declared) indexed() dependency {
	out := dependency{
		Name: d.Name, Req: d.Req, Features: d.Features, Optional: d.Optional, DefaultFeatures: d.DefaultFeatures,
		Target: d.Target, Kind: d.Kind, Registry: d.Registry,
	}
	if out.Features == nil {
		out.Features = []string{}
	}
	if d.Explicit != nil {
		out.Name, out.Package = *d.Explicit, &d.Name
	}
	return out
}

// limits of a version's metadata.
const (
	maxDeps     = 2000
	maxFeatures = 10_000
	maxWord     = 1024 // bytes of a requirement, target, feature…
	maxDescribe = 1000 // bytes of a description that are kept
)

// parseMetadata reads and checks it.
func parseMetadata(data []byte) (*metadata, error) {
	var m metadata
	if err := json.Unmarshal(data, &m); err != nil {
		return nil, formats.BadRequest("metadata: %v", err)
	}
	if err := checkName(m.Name); err != nil {
		return nil, err
	}
	if !validVersion(m.Version) {
		return nil, formats.BadRequest("%q is no semantic version such as 1.2.3", m.Version)
	}
	if len(m.Deps) > maxDeps || len(m.Features) > maxFeatures {
		return nil, formats.BadRequest("metadata: more than %d dependencies or %d features", maxDeps, maxFeatures)
	}
	for i := range m.Deps {
		if err := m.Deps[i].check(); err != nil {
			return nil, err
		}
	}
	for name, values := range m.Features {
		if !word(name) || slices.ContainsFunc(values, func(v string) bool { return !word(v) }) {
			return nil, formats.BadRequest("metadata: the feature %q is none", name)
		}
	}
	if len(m.Description) > maxDescribe {
		m.Description = strings.ToValidUTF8(m.Description[:maxDescribe], "")
	}
	return &m, nil
}

func (d *declared) check() error {
	if d.Kind == "" {
		d.Kind = "normal"
	}
	switch {
	case !validName(d.Name), d.Explicit != nil && !validName(*d.Explicit):
		return formats.BadRequest("metadata: the dependency %q has no name of a crate", d.Name)
	case !word(d.Req):
		return formats.BadRequest("metadata: the dependency %s has the version requirement %q", d.Name, d.Req)
	case d.Kind != "normal" && d.Kind != "dev" && d.Kind != "build":
		return formats.BadRequest("metadata: the dependency %s is of the kind %q", d.Name, d.Kind)
	case d.Target != nil && !word(*d.Target), d.Registry != nil && !word(*d.Registry):
		return formats.BadRequest("metadata: the dependency %s has a target or registry that is none", d.Name)
	case slices.ContainsFunc(d.Features, func(f string) bool { return !word(f) }):
		return formats.BadRequest("metadata: the dependency %s has a feature that is none", d.Name)
	}
	return nil
}

// word tells whether a short text is one: not empty, without control characters.
func word(s string) bool {
	return s != "" && len(s) <= maxWord && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
