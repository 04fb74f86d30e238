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
	RequiresPython json.RawMessage   `json:"requires-python"`
	CoreMetadata   json.RawMessage   `json:"core-metadata"`
	DistInfo       json.RawMessage   `json:"dist-info-metadata"`
	DataDistInfo   json.RawMessage   `json:"data-dist-info-metadata"`
	Signed         json.RawMessage   `json:"gpg-sig"`
	Yanked         json.RawMessage   `json:"yanked"`
	Provenance     json.RawMessage   `json:"provenance"`
	Size           json.RawMessage   `json:"size"`
	Uploaded       json.RawMessage   `json:"upload-time"`
}

// uploadTimes are the forms of upload-time: that of PEP 700, and what indexes
// write that don't know it so well, in UTC.
var uploadTimes = [...]string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05", "2006-01-02"}

// optional reads a member that a page can be without; one of another kind is as
// good as none.
func optional[T any](raw json.RawMessage) *T {
	var v *T
	if json.Unmarshal(raw, &v) != nil {
		return nil
	}
	return v
}

// uploaded is when the file came there, zero if the page does not tell.
func (f upstreamFile) uploaded() time.Time {
	text := optional[string](f.Uploaded)
	if text == nil {
		return time.Time{}
	}
	for _, form := range uploadTimes {
		if t, err := time.Parse(form, *text); err == nil {
			return t.UTC()
		}
	}
	return time.Time{}
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
	m := fileMeta{Signed: optional[bool](f.Signed), Uploaded: f.uploaded()}
	if size := optional[int64](f.Size); size != nil {
		m.Size = max(*size, 0)
	}
	if p := optional[string](f.RequiresPython); p != nil && len(*p) <= maxSpecifier {
		m.RequiresPython = *p
	}
	var yes bool
	var reason string
	switch {
	case json.Unmarshal(f.Yanked, &reason) == nil && len(f.Yanked) > 0 && string(f.Yanked) != "null":
		m.Yanked = &reason
	case json.Unmarshal(f.Yanked, &yes) == nil && yes:
		m.Yanked = &reason
	}
	provenance := ""
	if p := optional[string](f.Provenance); p != nil {
		provenance = *p
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
