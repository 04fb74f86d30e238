package pypi

import (
	"encoding/json"

	"granary/formats"
)

// simplePage is a project's page as PEP 691, 700, 708, 740 and 792 define it.
type simplePage struct {
	Meta       simpleMeta    `json:"meta"`
	Status     *status       `json:"project-status,omitempty"`
	Alternates []string      `json:"alternate-locations,omitempty"`
	Name       string        `json:"name"`
	Versions   []string      `json:"versions"`
	Files      []simpleEntry `json:"files"`
}

type simpleMeta struct {
	APIVersion string   `json:"api-version"`
	Tracks     []string `json:"tracks,omitempty"`
	// Status is read from upstreams only; it is written beside meta.
	Status *status `json:"project-status,omitempty"`
}

type status struct {
	Status string `json:"status"`
	Reason string `json:"reason,omitempty"`
}

type simpleEntry struct {
	Filename       string            `json:"filename"`
	URL            string            `json:"url"`
	Hashes         map[string]string `json:"hashes"`
	RequiresPython string            `json:"requires-python,omitempty"`
	CoreMetadata   any               `json:"core-metadata,omitempty"`           // true or digests
	DistInfo       any               `json:"data-dist-info-metadata,omitempty"` // the same by its first name
	Signed         *bool             `json:"gpg-sig,omitempty"`
	Yanked         any               `json:"yanked"` // false, or the reason
	Provenance     string            `json:"provenance,omitempty"`
	Size           int64             `json:"size,omitempty"`
	Uploaded       string            `json:"upload-time,omitempty"`
}

// timeForm is how the simple API writes times, in UTC.
const timeForm = "2006-01-02T15:04:05.000000Z"

func (p *page) renderJSON(pub formats.Pub) error {
	out := simplePage{
		Meta: simpleMeta{APIVersion: apiVersion, Tracks: p.meta.Tracks}, Name: p.project, Alternates: p.meta.Alternates,
		Versions: p.versions, Files: make([]simpleEntry, 0, len(p.files)),
	}
	if p.meta.Status != "" {
		out.Status = &status{p.meta.Status, p.meta.Reason}
	}
	if out.Versions == nil {
		out.Versions = []string{}
	}
	for _, f := range p.files {
		out.Files = append(out.Files, f.entry(pub))
	}
	w, err := pub.Create(docJSON, typeJSON)
	if err != nil {
		return err
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(out)
}

func (l listed) entry(pub formats.Pub) simpleEntry {
	e := simpleEntry{
		Filename: l.file, URL: l.link(), Hashes: l.hashes(), RequiresPython: l.RequiresPython, Signed: l.Signed,
		Yanked: false, Size: l.size(),
	}
	if l.Yanked != nil {
		e.Yanked = true
		if *l.Yanked != "" {
			e.Yanked = *l.Yanked
		}
	}
	switch l.Metadata {
	case "":
	case unknownDigest:
		e.CoreMetadata, e.DistInfo = true, true
	default:
		sums := map[string]string{"sha256": l.Metadata}
		e.CoreMetadata, e.DistInfo = sums, sums
	}
	if t := l.uploaded(); !t.IsZero() {
		e.Uploaded = t.UTC().Format(timeForm)
	}
	if l.Provenance {
		e.Provenance = l.provenanceURL(pub)
	}
	return e
}
