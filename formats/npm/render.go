package npm

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
	"time"

	"granary/formats"
)

// Renderer names what Render writes.
func (*Format) Renderer() string { return "npm2" }

// stored is a version of a package.
type stored struct {
	record     formats.Record
	manifest   manifest
	deprecated string // the message, "" for none
}

// packument is all that is known of a package.
type packument struct {
	name     string
	versions map[string]*stored
	order    []string // versions, ascending
	tags     map[string]string
	created  time.Time
	modified time.Time
	revision string
}

// collect reads the records of a package. Tags of versions that are not there
// are left out, and a package always has a latest.
func collect(name string, recs iter.Seq2[formats.Record, error]) (*packument, error) {
	p := &packument{name: name, versions: map[string]*stored{}, tags: map[string]string{}}
	deprecated := map[string]string{}
	var rev revision
	for rec, err := range recs {
		if err != nil {
			return nil, err
		}
		rev.add(rec)
		p.dated(rec.Time)
		if tag, ok := tagOf(rec.Name); ok {
			p.tags[tag] = string(rec.Meta)
		} else if version, ok := versionOf(name, rec.Name); ok {
			s := &stored{record: rec}
			if err := json.Unmarshal(rec.Meta, &s.manifest); err != nil || s.manifest == nil {
				// Files that a cache keeps have none: their manifest is upstream.
				continue
			}
			s.deprecated = s.manifest.text("deprecated")
			p.versions[version] = s
			p.order = append(p.order, version)
		} else if len(rec.Name) > len(deprecatedDir) && rec.Name[:len(deprecatedDir)] == deprecatedDir {
			deprecated[rec.Name[len(deprecatedDir):]] = string(rec.Meta)
		}
	}
	for version, message := range deprecated {
		if s := p.versions[version]; s != nil {
			s.deprecated = message
		}
	}
	slices.SortFunc(p.order, compareVersions)
	for tag, version := range p.tags {
		if p.versions[version] == nil {
			delete(p.tags, tag)
		}
	}
	if p.tags["latest"] == "" && len(p.order) > 0 {
		p.tags["latest"] = p.highest()
	}
	p.revision = rev.String()
	return p, nil
}

func (p *packument) dated(t time.Time) {
	if t.IsZero() {
		return
	}
	if p.created.IsZero() || t.Before(p.created) {
		p.created = t
	}
	if t.After(p.modified) {
		p.modified = t
	}
}

// highest is the greatest release, or pre-release if there is no other.
func (p *packument) highest() string {
	for _, version := range slices.Backward(p.order) {
		if !prerelease(version) {
			return version
		}
	}
	return p.order[len(p.order)-1]
}

func (p *packument) tagged(version string) []string {
	var out []string
	for tag, of := range p.tags {
		if of == version {
			out = append(out, tag)
		}
	}
	slices.Sort(out)
	return out
}

// Render writes the packument in full and as installers want it.
func (*Format) Render(_ context.Context, scope string, recs iter.Seq2[formats.Record, error], pub formats.Pub) error {
	p, err := collect(scope, recs)
	if err != nil {
		return err
	}
	if len(p.order) == 0 {
		return fmt.Errorf("%s: %w", scope, formats.ErrNotFound)
	}
	for _, s := range p.versions {
		if err := s.finish(pub.URL(s.record.Key())); err != nil {
			return fmt.Errorf("%w: record %s: %w", formats.ErrCorrupt, s.record.Key(), err)
		}
	}
	w, err := pub.Create(docInstall, typeInstall)
	if err != nil {
		return err
	}
	if err := p.writeInstall(w); err != nil {
		return err
	}
	if w, err = pub.Create(docFull, typeJSON); err != nil {
		return err
	}
	return p.writeFull(w)
}

// finish completes a manifest with what is not stored in it.
func (s *stored) finish(tarball string) error {
	if s.deprecated != "" {
		if err := s.manifest.set("deprecated", s.deprecated); err != nil {
			return err
		}
	} else {
		delete(s.manifest, "deprecated")
	}
	dist := manifest{}
	if raw := s.manifest["dist"]; raw != nil {
		if err := json.Unmarshal(raw, &dist); err != nil {
			return err
		}
	}
	if err := dist.set("tarball", tarball); err != nil {
		return err
	}
	return s.manifest.set("dist", dist)
}

// brief are the members of a version that installers need.
var brief = [...]string{
	"name", "version", "deprecated", "dependencies", "optionalDependencies", "devDependencies", "bundleDependencies", "bundledDependencies",
	"peerDependencies", "peerDependenciesMeta", "acceptDependencies", "bin", "directories", "dist", "engines", "_hasShrinkwrap", "hasInstallScript",
	"cpu", "os", "libc", "funding",
}

func (p *packument) writeInstall(w io.Writer) error {
	var more [][2]any
	if !p.modified.IsZero() {
		more = append(more, [2]any{"modified", stamp(p.modified)})
	}
	return p.write(w, more, func(s *stored) manifest {
		m := make(manifest, len(brief))
		for _, key := range brief {
			if v := s.manifest[key]; v != nil {
				m[key] = v
			}
		}
		return m
	})
}

// told are the members of the latest version that a package has as well.
var told = [...]string{"description", "homepage", "keywords", "repository", "author", "bugs", "license", "maintainers", "contributors"}

func (p *packument) writeFull(w io.Writer) error {
	times := map[string]string{}
	add := func(key string, t time.Time) {
		if !t.IsZero() { // not every upstream tells
			times[key] = stamp(t)
		}
	}
	add("created", p.created)
	add("modified", p.modified)
	for version, s := range p.versions {
		add(version, s.record.Time)
	}
	more := [][2]any{{"_id", p.name}, {"_rev", p.revision}, {"time", times}}
	latest := p.versions[p.tags["latest"]].manifest
	for _, key := range told {
		if v := latest[key]; v != nil {
			more = append(more, [2]any{key, v})
		}
	}
	more = append(more, [2]any{"readme", ""}, [2]any{"_attachments", struct{}{}})
	return p.write(w, more, func(s *stored) manifest { return s.manifest })
}

// write writes the members that both forms have, the given ones, and the
// versions in order.
func (p *packument) write(w io.Writer, more [][2]any, of func(*stored) manifest) error {
	b := bufio.NewWriterSize(w, 64<<10)
	out := &members{w: b}
	out.put("name", p.name)
	out.put("dist-tags", p.tags)
	for _, m := range more {
		out.put(m[0].(string), m[1])
	}
	out.text(`,"versions":{`)
	for i, version := range p.order {
		if i > 0 {
			out.text(",")
		}
		out.json(version)
		out.text(":")
		out.json(of(p.versions[version]))
	}
	out.text("}}\n")
	if out.err != nil {
		return out.err
	}
	return b.Flush()
}

// stamp is a time as registries write it.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// members writes an object; err is the first error.
type members struct {
	w   io.Writer
	n   int
	err error
}

func (m *members) text(s string) {
	if m.err == nil {
		_, m.err = io.WriteString(m.w, s)
	}
}

func (m *members) json(v any) {
	b, err := json.Marshal(v)
	if m.err == nil {
		m.err = err
	}
	if m.err == nil {
		_, m.err = m.w.Write(b)
	}
}

func (m *members) put(key string, v any) {
	if m.n++; m.n == 1 {
		m.text("{")
	} else {
		m.text(",")
	}
	m.json(key)
	m.text(":")
	m.json(v)
}
