package pypi

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"granary/digest"
	"granary/formats"
)

// projectInfo is the answer of the JSON API
// (the JSON API of the public one), as far as an index knows it. What is null
// is not known here.
type projectInfo struct {
	Info            map[string]any          `json:"info"`
	Releases        map[string][]releaseURL `json:"releases,omitempty"` // not in answers about one version
	URLs            []releaseURL            `json:"urls"`
	Vulnerabilities []any                   `json:"vulnerabilities"`
}

type releaseURL struct {
	Filename       string            `json:"filename"`
	URL            string            `json:"url"`
	Digests        map[string]string `json:"digests"`
	PackageType    string            `json:"packagetype"`
	PythonVersion  string            `json:"python_version"`
	RequiresPython *string           `json:"requires_python"`
	Size           int64             `json:"size"`
	UploadTime     string            `json:"upload_time"`
	UploadTimeISO  string            `json:"upload_time_iso_8601"`
	Yanked         bool              `json:"yanked"`
	YankedReason   *string           `json:"yanked_reason"`
}

// callJSON answers pypi/<project>/json and pypi/<project>/<version>/json.
func callJSON(w http.ResponseWriter, r *http.Request, op formats.Op, view formats.View) error {
	p, err := collect(op.Scope, view.Records(r.Context(), op.Scope))
	if err != nil {
		return err
	}
	version, ok := p.choose(op.Name)
	if !ok {
		return fmt.Errorf("%s %s: %w", p.project, op.Name, formats.ErrNotFound)
	}
	base := formats.SiteOf(r.Context()).URL
	out := projectInfo{Info: p.info(version), URLs: []releaseURL{}, Vulnerabilities: []any{}}
	if op.Name == "" {
		out.Releases = map[string][]releaseURL{}
	}
	for _, f := range p.files {
		if !f.known {
			continue
		}
		u := f.release(base)
		if out.Releases != nil {
			out.Releases[f.fileMeta.Version] = append(out.Releases[f.fileMeta.Version], u)
		}
		if f.fileMeta.Version == version {
			out.URLs = append(out.URLs, u)
		}
	}
	w.Header().Set("Content-Type", "application/json")
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(out)
}

// choose returns the normal form of the version that is asked for, or of the
// one that an installer would take.
func (p *page) choose(asked string) (string, bool) {
	if asked != "" {
		v, ok := parseVersion(asked)
		if !ok {
			return "", false
		}
		for _, f := range p.files {
			if f.known && f.version.compare(v) == 0 {
				return f.fileMeta.Version, true
			}
		}
		return "", false
	}
	best, rank := "", -1
	for _, f := range p.files { // in order: the last of a rank is the greatest
		n := 0
		if f.Yanked == nil {
			n += 2
		}
		if !f.version.prerelease() {
			n++
		}
		if f.known && n >= rank {
			best, rank = f.fileMeta.Version, n
		}
	}
	return best, rank >= 0
}

// info tells of the version what the metadata in its files says.
func (p *page) info(version string) map[string]any {
	var file listed
	for _, f := range p.files {
		// A wheel's metadata is final; an sdist's may be computed anew.
		if f.fileMeta.Version == version && (file.file == "" || f.Kind == kindWheel && file.Kind != kindWheel) {
			file = f
		}
	}
	c := file.Core
	known := c != nil
	if !known {
		c = &core{}
	}
	name := file.fileMeta.Name
	if name == "" {
		name = p.project
	}
	urls := map[string]string{}
	for _, line := range c.ProjectURLs {
		label, u, _ := strings.Cut(line, ",")
		urls[strings.TrimSpace(label)] = strings.TrimSpace(u)
	}
	info := map[string]any{
		"name": name, "version": version, "summary": c.Summary, "author": c.Author, "author_email": c.AuthorEmail,
		"maintainer": c.Maintainer, "maintainer_email": c.MaintainerEmail, "home_page": c.HomePage, "license": c.License,
		"license_expression": orNull(c.LicenseExpr), "keywords": c.Keywords, "platform": strings.Join(c.Platforms, ","),
		"classifiers": orEmpty(c.Classifiers), "requires_python": orNull(file.RequiresPython), "project_urls": urls,
		"provides_extra": orEmpty(c.ProvidesExtra), "requires_dist": nil, "yanked": file.Yanked != nil, "yanked_reason": file.Yanked,
		"description": "", "dynamic": []string{},
	}
	if known {
		info["requires_dist"] = orEmpty(c.RequiresDist)
	}
	return info
}

func orNull(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

func (l listed) release(base string) releaseURL {
	u := releaseURL{
		Filename: l.file, URL: base + "/" + escape(l.Key()), Digests: map[string]string{}, PackageType: l.Kind, PythonVersion: l.Python,
		Size: l.size(), Yanked: l.Yanked != nil, YankedReason: l.Yanked,
	}
	for _, a := range [...]digest.Algorithm{digest.SHA256, digest.MD5} {
		if l.Sums.Get(a) != nil {
			u.Digests[string(a)] = l.Sums.Hex(a)
		}
	}
	if l.RequiresPython != "" {
		u.RequiresPython = &l.RequiresPython
	}
	if t := l.uploaded(); !t.IsZero() {
		u.UploadTime, u.UploadTimeISO = t.UTC().Format("2006-01-02T15:04:05"), t.UTC().Format(timeForm)
	}
	return u
}
