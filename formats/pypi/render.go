package pypi

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"net/url"
	"slices"
	"strings"
	"time"

	"granary/digest"
	"granary/formats"
)

// Renderer names what Render writes.
func (*Format) Renderer() string { return "pypi1" }

// apiVersion is that of the simple API (PEP 792).
const apiVersion = "1.4"

// Render writes a page as HTML and as JSON.
func (*Format) Render(_ context.Context, scope string, recs iter.Seq2[formats.Record, error], pub formats.Pub) error {
	if scope == rootScope {
		return renderRoot(recs, pub)
	}
	p, err := collect(scope, recs)
	if err != nil {
		return err
	}
	if err := p.renderJSON(pub); err != nil {
		return err
	}
	return p.renderHTML(pub)
}

// listed is a file as the pages show it.
type listed struct {
	formats.Record
	fileMeta
	file    string // last segment of the name
	version version
	known   bool // whether there is a version
}

// page is all that is known of a project.
type page struct {
	project  string
	meta     projectMeta
	files    []listed // in order of versions, then names
	versions []string // in order
}

// collect reads the records of a project. A version that is yanked as a whole
// yanks each of its files.
func collect(scope string, recs iter.Seq2[formats.Record, error]) (*page, error) {
	p := &page{project: projectOf(scope)}
	yanked := map[string]*string{}
	for rec, err := range recs {
		if err != nil {
			return nil, err
		}
		dir, file, _ := strings.Cut(rec.Name, "/")
		switch {
		case rec.Name == projectPointer:
			err = json.Unmarshal(rec.Meta, &p.meta)
		case file == yankedPointer:
			reason := ""
			err = json.Unmarshal(rec.Meta, &reason)
			yanked[dir] = &reason
		case companion(rec.Name):
		default:
			l := listed{Record: rec, file: file}
			if err = json.Unmarshal(rec.Meta, &l.fileMeta); err == nil {
				l.version, l.known = parseVersion(l.fileMeta.Version)
				p.files = append(p.files, l)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%w: record %s: %w", formats.ErrCorrupt, rec.Key(), err)
		}
	}
	for i := range p.files {
		f := &p.files[i]
		if dir, _, _ := strings.Cut(f.Record.Name, "/"); yanked[dir] != nil {
			f.Yanked = yanked[dir]
		}
	}
	slices.SortStableFunc(p.files, func(a, b listed) int {
		return cmp.Or(compareKnown(a, b), cmp.Compare(a.file, b.file))
	})
	for _, f := range p.files {
		if v := f.fileMeta.Version; f.known && (len(p.versions) == 0 || p.versions[len(p.versions)-1] != v) {
			p.versions = append(p.versions, v)
		}
	}
	return p, nil
}

func compareKnown(a, b listed) int {
	switch {
	case a.known && b.known:
		return cmp.Or(a.version.compare(b.version), cmp.Compare(a.fileMeta.Version, b.fileMeta.Version))
	case a.known:
		return 1
	case b.known:
		return -1
	}
	return 0
}

// uploaded is when the file came to the index that it was uploaded to.
func (l listed) uploaded() time.Time {
	if !l.Uploaded.IsZero() {
		return l.Uploaded
	}
	return l.Time
}

// link is the file's URL relative to the page of its project.
func (l listed) link() string { return "../../" + escape(l.Key()) }

func escape(path string) string {
	segs := strings.Split(path, "/")
	for i, s := range segs {
		segs[i] = url.PathEscape(s)
	}
	return strings.Join(segs, "/")
}

// provenanceURL has to be an absolute one.
func (l listed) provenanceURL(pub formats.Pub) string {
	return pub.URL("integrity/" + escape(strings.TrimPrefix(l.Key(), packages)) + "/provenance")
}

// size is that of the file, if known.
func (l listed) size() int64 { return max(l.Record.Size, l.fileMeta.Size) }

// hashes are the digests that installers know, by their names.
func (l listed) hashes() map[string]string {
	out := map[string]string{}
	for _, a := range [...]digest.Algorithm{digest.SHA256, digest.SHA512, digest.SHA1, digest.MD5} {
		if l.Sums.Get(a) != nil {
			out[string(a)] = l.Sums.Hex(a)
		}
	}
	if out["sha256"] != "" {
		return map[string]string{"sha256": out["sha256"]}
	}
	return out
}

// renderRoot writes the list of all projects.
func renderRoot(recs iter.Seq2[formats.Record, error], pub formats.Pub) error {
	var names []string
	for rec, err := range recs {
		if err != nil {
			return err
		}
		names = append(names, strings.TrimPrefix(rec.Name, ":"))
	}
	w, err := pub.Create(docJSON, typeJSON)
	if err != nil {
		return err
	}
	b := markup{bufio.NewWriter(w)}
	b.add(`{"meta":{"api-version":"` + apiVersion + `"},"projects":[`)
	for i, n := range names {
		if i > 0 {
			b.add(",")
		}
		b.add(`{"name":"` + n + `"}`) // letters, digits and hyphens
	}
	b.add("]}\n")
	if err := b.Flush(); err != nil {
		return err
	}
	if w, err = pub.Create(docHTML, typeText); err != nil {
		return err
	}
	b.Reset(w)
	b.add(htmlHead + "<title>Simple index</title>\n</head>\n<body>\n")
	for _, n := range names {
		b.add(`<a href="` + n + `/">` + n + "</a><br>\n")
	}
	b.add("</body>\n</html>\n")
	return b.Flush()
}
