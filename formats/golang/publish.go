package golang

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"

	"granary/formats"
)

// version names the records of one version of a module.
type version struct {
	module.Version
	scope, base string // escaped: "example.com/m/@v", "v1.0.0"
}

// newVersion checks path and version against each other.
func newVersion(m module.Version) (version, error) {
	v := version{Version: m}
	name, err := module.EscapePath(m.Path)
	if err != nil {
		return v, formats.BadRequest("%v", err)
	}
	if c := module.CanonicalVersion(m.Version); c != m.Version || c == "" {
		return v, formats.BadRequest("%q is no canonical version such as v1.2.3", m.Version)
	}
	if err := module.Check(m.Path, m.Version); err != nil {
		return v, formats.BadRequest("%v", err)
	}
	if major := semver.Major(m.Version); semver.Build(m.Version) == "+incompatible" && (major == "v0" || major == "v1") {
		return v, formats.BadRequest("version %s: +incompatible is for v2 and above", m.Version)
	}
	if v.base, err = module.EscapeVersion(m.Version); err != nil {
		return v, formats.BadRequest("%v", err)
	}
	v.scope = name + versions
	return v, formats.CheckPath(v.scope + "/" + v.base + "." + labelInfo)
}

func (v version) record(ext string) formats.Record {
	return formats.Record{Scope: v.scope, Name: v.base + "." + ext, Type: mediaType(ext)}
}

// pointer is what makes a version eligible for @latest.
func (v version) pointer(i info) (formats.Record, error) {
	meta, err := i.encode()
	return formats.Record{Scope: strings.TrimSuffix(v.scope, versions) + latest, Name: ":" + v.base, Move: true, Meta: meta}, err
}

// publish puts the three files of a version and its pointer. The zip is the
// truth: go.mod comes from it, and what else was sent must agree.
func (f *Format) publish(ctx context.Context, s submission, tx formats.Tx) error {
	a, err := openArchive(s.zip)
	if err != nil {
		return err
	}
	inside, err := a.coordinates()
	if err != nil {
		return err
	}
	if s.Path == "" {
		s.Path = inside.Path
	}
	if s.Version.Version == "" {
		s.Version.Version = inside.Version
	}
	v, err := newVersion(s.Version)
	if err != nil {
		return err
	}
	if s.mod, err = a.examine(v.Version, s.mod); err != nil {
		return err
	}
	h1, err := a.hash(ctx)
	if err != nil {
		return err
	}
	rec := v.record(labelZip)
	if rec.Meta, err = json.Marshal(zipMeta{H1: h1}); err != nil {
		return err
	}
	modRec := v.record(labelMod)
	// It follows from the zip, and replaces one that was sent before the zip.
	modRec.Move = a.goMod != nil
	return f.put(ctx, v, s, rec, modRec, tx)
}

// examine checks the zip and returns the go.mod of the version.
func (a *archive) examine(m module.Version, sent []byte) ([]byte, error) {
	if err := a.check(m); err != nil {
		return nil, err
	}
	mod, err := a.readGoMod(m)
	if err != nil {
		return nil, err
	}
	switch {
	case a.goMod != nil && strings.HasSuffix(m.Version, "+incompatible"):
		return nil, bad("version %s: a module with a go.mod needs a /%s at the end of its path instead of +incompatible", m.Version, semver.Major(m.Version))
	case a.goMod != nil && sent != nil && !bytes.Equal(mod, sent):
		return nil, bad("mod is not the go.mod in the zip")
	case a.goMod == nil && sent != nil:
		mod = sent
	}
	return mod, checkMod(mod, m.Path)
}

// checkMod refuses a go.mod of another module. The path is looked for as the go
// command does in a hurry: parsing all of a hostile file takes a hundred times
// its size in memory.
func checkMod(mod []byte, path string) error {
	if got := modfile.ModulePath(mod); got != path {
		return bad("go.mod is that of module %q, not %q", got, path)
	}
	return nil
}

// put makes the files that are not the zip and hands all to the transaction.
// The zip goes first: if another is published already, nothing else is written.
func (f *Format) put(ctx context.Context, v version, s submission, zip, mod formats.Record, tx formats.Tx) error {
	modBlob, err := tx.Blob(ctx, bytes.NewReader(s.mod))
	if err != nil {
		return err
	}
	if !mod.Move {
		if mod.Move, err = stray(ctx, v, labelMod, tx); err != nil {
			return err
		}
	}
	i, err := f.infoFor(ctx, v, s, tx)
	if err != nil {
		return err
	}
	infoRec, err := i.record(v)
	if err != nil {
		return err
	}
	pointer, err := v.pointer(i.info)
	if err != nil {
		return err
	}
	var infoBlob formats.Blob
	if i.data != nil {
		if infoBlob, err = tx.Blob(ctx, bytes.NewReader(i.data)); err != nil {
			return err
		}
	}
	tx.Put(zip, s.zip)
	tx.Put(mod, modBlob)
	if infoBlob != nil {
		tx.Put(infoRec, infoBlob)
	}
	tx.Put(pointer, nil)
	return nil
}

// stray tells whether a file was sent, at its path, but not yet its zip: then
// what comes with the zip replaces it.
func stray(ctx context.Context, v version, ext string, tx formats.Tx) (bool, error) {
	sent, err := exists(ctx, v, ext, tx)
	if err != nil || !sent {
		return false, err
	}
	published, err := exists(ctx, v, labelZip, tx)
	return !published, err
}

// infoFile is a .info to be stored.
type infoFile struct {
	infoMeta
	data []byte // nil: the stored one stays
	move bool   // may replace the stored one
}

func (i infoFile) record(v version) (formats.Record, error) {
	rec := v.record(labelInfo)
	rec.Move = i.move
	var err error
	rec.Meta, err = json.Marshal(i.infoMeta)
	return rec, err
}

// infoFor returns the info that was sent, else the one that a publisher sent
// before or that an upload of the same zip made, else a new one: uploading a
// version again changes nothing.
func (f *Format) infoFor(ctx context.Context, v version, s submission, tx formats.Tx) (infoFile, error) {
	old, err := storedInfo(ctx, v, tx)
	if err != nil {
		return infoFile{}, err
	}
	if s.info != nil {
		i, err := f.readInfo(s.info, v.Version.Version)
		if err == nil && old != nil {
			i.move = old.Made
			if !i.move {
				i.move, err = stray(ctx, v, labelInfo, tx)
			}
		}
		return i, err
	}
	if old != nil {
		zip, err := tx.Record(ctx, v.scope, v.base+"."+labelZip)
		if err != nil && !errors.Is(err, formats.ErrNotFound) {
			return infoFile{}, err
		}
		if err != nil || bytes.Equal(zip.Sums.BLAKE3, s.zip.Sums().BLAKE3) {
			return infoFile{infoMeta: *old}, nil
		}
	}
	i := infoFile{infoMeta: infoMeta{info: info{Version: v.Version.Version, Time: f.now().UTC()}, Made: true}, move: true}
	i.data, err = i.encode()
	return i, err
}

// readInfo reads an info as it was sent, and dates it if it has no time.
func (f *Format) readInfo(data []byte, version string) (infoFile, error) {
	i, err := parseInfoOf(data, version)
	if err != nil {
		return infoFile{}, err
	}
	if i.Time.IsZero() {
		i.Time = f.now().UTC()
		if data, err = i.encode(); err != nil {
			return infoFile{}, err
		}
	}
	return infoFile{infoMeta: infoMeta{info: i}, data: data}, nil
}

// storedInfo returns the Meta of a version's .info, nil if there is none.
func storedInfo(ctx context.Context, v version, tx formats.Tx) (*infoMeta, error) {
	rec, err := tx.Record(ctx, v.scope, v.base+"."+labelInfo)
	if errors.Is(err, formats.ErrNotFound) {
		return nil, nil //nolint:nilnil // documented
	}
	if err != nil {
		return nil, err
	}
	var m infoMeta
	if json.Unmarshal(rec.Meta, &m) != nil || m.Version != v.Version.Version {
		return nil, nil //nolint:nilnil // it tells nothing: a new one is made
	}
	return &m, nil
}
