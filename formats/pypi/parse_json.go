package pypi

import (
	"encoding/json"
	"io"
	"time"

	"granary/formats"
)

// upstreamPage is a project's page of an upstream as JSON.
type upstreamPage struct {
	Meta       simpleMeta     `json:"meta"`
	Status     *status        `json:"project-status"`
	Alternates []string       `json:"alternate-locations"`
	Files      []upstreamFile `json:"files"`
}

type upstreamFile struct {
	Filename       string            `json:"filename"`
	URL            string            `json:"url"`
	Hashes         map[string]string `json:"hashes"`
	RequiresPython *string           `json:"requires-python"`
	CoreMetadata   json.RawMessage   `json:"core-metadata"`
	DistInfo       json.RawMessage   `json:"dist-info-metadata"`
	DataDistInfo   json.RawMessage   `json:"data-dist-info-metadata"`
	Signed         *bool             `json:"gpg-sig"`
	Yanked         json.RawMessage   `json:"yanked"`
	Provenance     *string           `json:"provenance"`
	Size           int64             `json:"size"`
	Uploaded       *time.Time        `json:"upload-time"`
}

func parseJSON(scope string, r io.Reader) ([]formats.Record, error) {
	var p upstreamPage
	if err := decodeJSON(scope, r, &p); err != nil {
		return nil, err
	}
	if len(p.Files) > maxFiles {
		return nil, formats.Unusable(scope, "more than %d files", maxFiles)
	}
	var recs []formats.Record
	meta := projectMeta{Alternates: p.Alternates, Tracks: p.Meta.Tracks}
	if p.Status == nil {
		p.Status = p.Meta.Status
	}
	if p.Status != nil {
		meta.Status, meta.Reason = p.Status.Status, p.Status.Reason
	}
	if meta.Status != "" || len(meta.Alternates)+len(meta.Tracks) > 0 {
		data, err := json.Marshal(meta)
		if err != nil {
			return nil, formats.Unusable(scope, "%v", err)
		}
		recs = append(recs, formats.Record{Scope: scope, Name: projectPointer, Move: true, Meta: data})
	}
	for _, f := range p.Files {
		more, err := f.records(scope)
		if err != nil {
			return nil, err
		}
		recs = append(recs, more...)
	}
	return recs, nil
}

// decodeJSON tells what is no page from a body that could not be read.
func decodeJSON(path string, r io.Reader, into any) error {
	src := &failing{r: r}
	if err := json.NewDecoder(src).Decode(into); err != nil {
		if src.err != nil {
			return src.err
		}
		return formats.Unusable(path, "%v", err)
	}
	return nil
}

// failing remembers how its reader failed.
type failing struct {
	r   io.Reader
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // plain by contract
		f.err = err
	}
	return n, err
}

func (f upstreamFile) records(scope string) ([]formats.Record, error) {
	m := fileMeta{Signed: f.Signed, Size: max(f.Size, 0)}
	if f.RequiresPython != nil && len(*f.RequiresPython) <= maxSpecifier {
		m.RequiresPython = *f.RequiresPython
	}
	var yes bool
	var reason string
	switch {
	case json.Unmarshal(f.Yanked, &reason) == nil && len(f.Yanked) > 0 && string(f.Yanked) != "null":
		m.Yanked = &reason
	case json.Unmarshal(f.Yanked, &yes) == nil && yes:
		m.Yanked = &reason
	}
	if f.Uploaded != nil {
		m.Uploaded = f.Uploaded.UTC()
	}
	provenance := ""
	if f.Provenance != nil {
		provenance = *f.Provenance
	}
	var sums map[string]string
	for _, v := range []json.RawMessage{f.CoreMetadata, f.DataDistInfo, f.DistInfo} {
		if json.Unmarshal(v, &sums) == nil && len(sums) > 0 || json.Unmarshal(v, &yes) == nil && yes && string(v) == "true" {
			m.Metadata = unknownDigest
			break
		}
	}
	known, metadata := metadataOf("sha256", sums["sha256"])
	if m.Metadata != "" {
		m.Metadata = known
	}
	return fileRecords(scope, f.Filename, f.URL, sumsOf(f.Hashes), m, metadata, provenance)
}

// parseRoot reads the list of projects.
func parseRoot(r io.Reader, isJSON bool) ([]formats.Record, error) {
	var recs []formats.Record
	add := func(name string) error {
		if project, ok := normalise(name); ok {
			recs = append(recs, formats.Record{Scope: rootScope, Name: ":" + project, Move: true})
		}
		if len(recs) > maxProjects {
			return formats.Unusable(rootScope, "more than %d projects", maxProjects)
		}
		return nil
	}
	if !isJSON {
		_, err := eachLink(rootScope, r, func(l link) error { return add(l.text) })
		return recs, err
	}
	var list struct {
		Projects []struct {
			Name string `json:"name"`
		} `json:"projects"`
	}
	if err := decodeJSON(rootScope, r, &list); err != nil {
		return nil, err
	}
	for _, p := range list.Projects {
		if err := add(p.Name); err != nil {
			return nil, err
		}
	}
	return recs, nil
}
