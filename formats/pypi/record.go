package pypi

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Scopes and names of records. The files of a project lie where clients fetch
// them, packages/<project>/<version>/<file>, and beside each what belongs to
// it. A pointer per yanked version and one per project have no bytes.
const (
	packages       = "packages/"
	rootScope      = "simple" // a pointer ":<project>" for each project
	endMetadata    = ".metadata"
	endSignature   = ".asc"
	endProvenance  = ".provenance"
	yankedPointer  = ":yanked"  // <version>/:yanked
	projectPointer = ":project" // what an upstream says of the project itself
	// unversioned is where files lie whose names tell no version.
	unversioned = "-"
)

func scopeOf(project string) string { return packages + project }

func projectOf(scope string) string { return strings.TrimPrefix(scope, packages) }

// companion tells whether a record belongs to the file that its name begins
// with, and is not listed itself.
func companion(name string) bool {
	return strings.HasSuffix(name, endMetadata) || strings.HasSuffix(name, endSignature) || strings.HasSuffix(name, endProvenance)
}

// fileMeta is the Meta of a file: what the pages say of it beyond its digests,
// size and time.
type fileMeta struct {
	Name           string `json:"name,omitempty"` // as the project spells it
	Version        string `json:"version"`        // normal form
	RequiresPython string `json:"requires_python,omitempty"`
	// Yanked is the reason, perhaps empty, of a yanked file; nil for others.
	Yanked *string `json:"yanked,omitempty"`
	// Metadata is the SHA-256 of the .metadata file in hex, or unknownDigest.
	Metadata string `json:"metadata,omitempty"`
	Signed   *bool  `json:"signed,omitempty"` // whether there is a .asc; nil: not said
	// Provenance tells that there are attestations: here, or at a URL.
	Provenance bool `json:"provenance,omitempty"`
	// Uploaded is when an upstream got the file; zero: the record's time.
	Uploaded time.Time `json:"uploaded,omitzero"`
	Size     int64     `json:"size,omitempty"` // as an upstream tells it
	Kind     string    `json:"kind,omitempty"` // bdist_wheel or sdist
	Python   string    `json:"python,omitempty"`
	Core     *core     `json:"core,omitempty"`
}

// unknownDigest is the Metadata of a file whose metadata can be had, but was
// not seen yet.
const unknownDigest = "true"

// core is what the JSON API tells of the metadata in a file.
type core struct {
	Summary         string   `json:"summary,omitempty"`
	Author          string   `json:"author,omitempty"`
	AuthorEmail     string   `json:"author_email,omitempty"`
	Maintainer      string   `json:"maintainer,omitempty"`
	MaintainerEmail string   `json:"maintainer_email,omitempty"`
	HomePage        string   `json:"home_page,omitempty"`
	License         string   `json:"license,omitempty"`
	LicenseExpr     string   `json:"license_expression,omitempty"`
	Keywords        string   `json:"keywords,omitempty"`
	Platforms       []string `json:"platform,omitempty"`
	Classifiers     []string `json:"classifiers,omitempty"`
	RequiresDist    []string `json:"requires_dist,omitempty"`
	ProvidesExtra   []string `json:"provides_extra,omitempty"`
	ProjectURLs     []string `json:"project_urls,omitempty"` // "label, URL"
}

// maxCore is the size of the encoded Meta in bytes: it is part of a record.
const maxCore = 96 << 10

func coreOf(h header) *core {
	return &core{
		Summary: h.get("summary"), Author: h.get("author"), AuthorEmail: h.get("author-email"),
		Maintainer: h.get("maintainer"), MaintainerEmail: h.get("maintainer-email"), HomePage: h.get("home-page"),
		License: h.get("license"), LicenseExpr: h.get("license-expression"), Keywords: h.get("keywords"),
		Platforms: h["platform"], Classifiers: h["classifier"], RequiresDist: h["requires-dist"],
		ProvidesExtra: h["provides-extra"], ProjectURLs: h["project-url"],
	}
}

// encode returns the Meta. What is beyond the bound is left out, but not what
// installers decide by.
func (m fileMeta) encode() ([]byte, error) {
	data, err := json.Marshal(m)
	if err == nil && len(data) > maxCore && m.Core != nil {
		m.Core = &core{Summary: clip(m.Core.Summary), RequiresDist: m.Core.RequiresDist, ProvidesExtra: m.Core.ProvidesExtra}
		data, err = json.Marshal(m)
	}
	if err != nil {
		return nil, fmt.Errorf("encode what is known of %s: %w", m.Name, err)
	}
	if len(data) > maxCore {
		return nil, bad("the metadata's dependencies are more than %d bytes", maxCore)
	}
	return data, nil
}

func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), 512)], "") }

// projectMeta is the Meta of the project's pointer: what PEP 708 and PEP 792 let
// an index say of it.
type projectMeta struct {
	Status     string   `json:"status,omitempty"`
	Reason     string   `json:"reason,omitempty"`
	Alternates []string `json:"alternates,omitempty"` // URLs
	Tracks     []string `json:"tracks,omitempty"`     // URLs
}
