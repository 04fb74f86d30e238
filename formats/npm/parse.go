package npm

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"strings"
	"time"

	"granary/digest"
	"granary/formats"
)

// Limits of an upstream's packument.
const (
	maxPackument = 512 << 20 // bytes
	maxVersions  = 100_000
)

// Entry is the packument.
func (*Format) Entry(scope string) string {
	if strings.HasPrefix(scope, "-/") || !goodName(scope) {
		return ""
	}
	return scope
}

// Accepts asks for packuments in full: the short form lacks the times.
func (*Format) Accepts(path string) string {
	if goodName(path) {
		return typeJSON
	}
	return ""
}

// Promised is true for tarballs: the packument says where they are and what
// digest they have.
func (*Format) Promised(op formats.Op) bool {
	return op.Kind == formats.File && strings.HasPrefix(op.Name, tarballDir)
}

// Parse reads the packument of an upstream into a record per version and tag.
func (f *Format) Parse(ctx context.Context, scope string, src formats.Source) iter.Seq2[formats.Record, error] {
	return formats.EntryRecords(ctx, src, f.Entry(scope), func(r io.Reader) ([]formats.Record, error) {
		u := upstreamPackument{name: scope}
		d := newDocument(r, maxPackument)
		switch err := d.object(func(key string) error { return u.member(d, key) }); {
		case errors.Is(err, formats.ErrBadRequest):
			return nil, formats.Unusable(scope, "%v", err)
		case err != nil:
			return nil, err
		}
		return u.records(), nil
	})
}

// upstreamPackument is what is kept of one.
type upstreamPackument struct {
	name     string
	versions []formats.Record
	tags     map[string]string
	times    map[string]string
}

func (u *upstreamPackument) member(d *document, key string) error {
	if key == "versions" {
		return d.object(func(version string) error {
			raw, err := d.value()
			if err != nil {
				return err
			}
			if len(u.versions) == maxVersions {
				return formats.BadRequest("more than %d versions", maxVersions)
			}
			if rec, ok := u.version(version, raw); ok {
				u.versions = append(u.versions, rec)
			}
			return nil
		})
	}
	raw, err := d.value()
	if err != nil {
		return err
	}
	switch key {
	case "dist-tags":
		err = json.Unmarshal(raw, &u.tags)
	case "time":
		// One value of another kind, as of an unpublished package, does not
		// spoil the others.
		var times map[string]json.RawMessage
		if err = json.Unmarshal(raw, &times); err == nil {
			u.times = map[string]string{}
			for version, t := range times {
				var s string
				if json.Unmarshal(t, &s) == nil {
					u.times[version] = s
				}
			}
		}
	}
	if err != nil {
		return formats.BadRequest("%s: %v", key, err)
	}
	return nil
}

// version is the record of a version; false for one that can't be served.
func (u *upstreamPackument) version(version string, raw json.RawMessage) (formats.Record, bool) {
	var m struct {
		Dist struct {
			Tarball   string `json:"tarball"`
			Integrity string `json:"integrity"`
			Shasum    string `json:"shasum"`
		} `json:"dist"`
	}
	rec := formats.Record{Scope: u.name, Name: tarballName(u.name, version), Type: typeTarball, Meta: raw}
	if json.Unmarshal(raw, &m) != nil || m.Dist.Tarball == "" || !goodVersion(version) || formats.CheckPath(rec.Key()) != nil {
		return rec, false
	}
	rec.URL = m.Dist.Tarball
	for _, one := range strings.Fields(m.Dist.Integrity) {
		name, value, _ := strings.Cut(one, "-")
		value, _, _ = strings.Cut(value, "?")
		a := digest.Algorithm(name)
		if sum, err := base64.StdEncoding.DecodeString(value); err == nil && len(sum) == a.Size() && a != digest.BLAKE3 && rec.Sums.Get(a) == nil {
			rec.Sums.Set(a, sum)
		}
	}
	if sum, err := digest.ParseHex(digest.SHA1, strings.ToLower(m.Dist.Shasum)); m.Dist.Shasum != "" && err == nil {
		rec.Sums.Set(digest.SHA1, sum)
	}
	return rec, true
}

func (u *upstreamPackument) records() []formats.Record {
	recs := u.versions
	for i := range recs {
		version, _ := versionOf(u.name, recs[i].Name)
		if t, err := time.Parse(time.RFC3339, u.times[version]); err == nil {
			recs[i].Time = t.UTC()
		}
	}
	for tag, version := range u.tags {
		rec := tagPointer(u.name, tag, version)
		if tag != "" && formats.CheckPath(rec.Key()) == nil {
			recs = append(recs, rec)
		}
	}
	return recs
}

// drain reads a small body whole.
func drain(r io.Reader, limit int64, what string) ([]byte, error) {
	return io.ReadAll(formats.Limit(r, limit, what))
}
