package golang

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"granary/formats"
)

// Renderer names what Render writes.
func (*Format) Renderer() string { return "golang1" }

// Render writes the version list, or @latest.
func (*Format) Render(_ context.Context, scope string, recs iter.Seq2[formats.Record, error], pub formats.Pub) error {
	if strings.HasSuffix(scope, latest) {
		return renderLatest(scope, recs, pub)
	}
	return renderList(recs, pub)
}

// renderList writes all versions that have a zip, but for pseudo-versions, as
// the protocol wants.
func renderList(recs iter.Seq2[formats.Record, error], pub formats.Pub) error {
	var list []string
	for rec, err := range recs {
		if err != nil {
			return err
		}
		base, ext, _ := splitExt(rec.Name)
		if ext != labelZip {
			continue
		}
		version, err := module.UnescapeVersion(base)
		if err == nil && semver.IsValid(version) && !module.IsPseudoVersion(version) {
			list = append(list, version)
		}
	}
	semver.Sort(list)
	w, err := pub.Create(listDoc, typeText)
	if err != nil {
		return err
	}
	var buf bytes.Buffer
	for version := range slices.Values(list) {
		buf.WriteString(version)
		buf.WriteByte('\n')
	}
	_, err = w.Write(buf.Bytes())
	return err
}

// renderLatest writes the info of the best version.
func renderLatest(scope string, recs iter.Seq2[formats.Record, error], pub formats.Pub) error {
	var best info
	for rec, err := range recs {
		if err != nil {
			return err
		}
		var i info
		if err := json.Unmarshal(rec.Meta, &i); err != nil {
			return fmt.Errorf("%w: pointer %s: %w", formats.ErrCorrupt, rec.Key(), err)
		}
		if best.Version == "" || better(i.Version, best.Version) {
			best = i
		}
	}
	if best.Version == "" {
		return fmt.Errorf("%s: %w", scope, formats.ErrNotFound)
	}
	data, err := best.encode()
	if err != nil {
		return err
	}
	w, err := pub.Create(latestDoc, typeJSON)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, string(data)+"\n")
	return err
}

// better tells whether @latest prefers a to b: releases before pre-releases
// before pseudo-versions, then the greater.
func better(a, b string) bool {
	if ra, rb := rank(a), rank(b); ra != rb {
		return ra > rb
	}
	return semver.Compare(a, b) > 0
}

func rank(version string) int {
	switch {
	case module.IsPseudoVersion(version):
		return 0
	case semver.Prerelease(version) != "":
		return 1
	}
	return 2
}
