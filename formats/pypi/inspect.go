package pypi

import (
	"context"
	"path"
	"strings"

	"granary/formats"
	"granary/formats/archive"
)

// inspect walks a distribution and returns its metadata file.
func inspect(ctx context.Context, d distribution, b formats.Blob) ([]byte, error) {
	if d.kind == kindWheel {
		return inspectWheel(ctx, d, b)
	}
	s := sdist{d: d}
	var err error
	if strings.HasSuffix(d.file, ".zip") {
		err = archive.Zip(ctx, formats.ReadAhead(b), b.Size(), archive.Default, s.entry)
	} else {
		err = archive.TarGz(ctx, b, archive.Default, s.entry)
	}
	switch {
	case err != nil:
		return nil, err
	case s.metadata == nil:
		return nil, bad("%s has no PKG-INFO", d.file)
	}
	return s.metadata, nil
}

// sdist collects what is needed of an sdist.
type sdist struct {
	d        distribution
	root     string // the one folder that all is in
	metadata []byte
}

func (s *sdist) entry(e archive.Entry) error {
	root, rest, below := strings.Cut(e.Name, "/")
	if s.root == "" {
		s.root = root
	}
	switch {
	case root != s.root || !below && e.Kind != archive.Dir:
		return bad("%s has more than one folder: %q and %q", s.d.file, s.root, root)
	case rest != "PKG-INFO":
		return nil
	case e.Kind != archive.File:
		return bad("PKG-INFO of %s is no file", s.d.file)
	case s.metadata != nil:
		return bad("%s has two PKG-INFO", s.d.file)
	}
	var err error
	s.metadata, err = archive.ReadAll(e, maxMetadata)
	return err
}

func inspectWheel(ctx context.Context, d distribution, b formats.Blob) ([]byte, error) {
	w := wheel{d: d, seen: map[string]bool{}}
	if err := archive.Zip(ctx, formats.ReadAhead(b), b.Size(), archive.Default, w.entry); err != nil {
		return nil, err
	}
	return w.result()
}

// wheel collects what is needed of a wheel.
type wheel struct {
	d        distribution
	info     string          // the .dist-info folder
	seen     map[string]bool // files in it
	metadata []byte
}

func (w *wheel) entry(e archive.Entry) error {
	dir, file := path.Split(e.Name)
	dir = strings.TrimSuffix(dir, "/")
	base, ok := strings.CutSuffix(dir, ".dist-info")
	if !ok || strings.Contains(base, "/") || e.Kind != archive.File {
		return nil
	}
	if w.info != "" && w.info != dir {
		return bad("%s has two folders of metadata: %q and %q", w.d.file, w.info, dir)
	}
	w.info = dir
	if w.seen[file] {
		return bad("%s has %q twice", w.d.file, e.Name)
	}
	w.seen[file] = true
	if file != "METADATA" {
		return nil
	}
	var err error
	w.metadata, err = archive.ReadAll(e, maxMetadata)
	return err
}

// result checks the name of the folder and that a wheel's three files are there.
func (w *wheel) result() ([]byte, error) {
	for _, file := range [...]string{"METADATA", "WHEEL", "RECORD"} {
		if !w.seen[file] {
			return nil, bad("%s has no .dist-info/%s", w.d.file, file)
		}
	}
	name, version, _ := strings.Cut(strings.TrimSuffix(w.info, ".dist-info"), "-")
	project, ok := normalise(name)
	v, known := parseVersion(version)
	if !ok || !known || project != w.d.project || v.compare(w.d.version) != 0 {
		return nil, bad("%s has the metadata of %q", w.d.file, w.info)
	}
	return w.metadata, nil
}
