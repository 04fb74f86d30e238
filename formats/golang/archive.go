package golang

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/sumdb/dirhash"
	modzip "golang.org/x/mod/zip"

	"granary/formats"
)

// maxDirectory limits the central directory of a zip, whose entries are all
// held in memory, in bytes. It is room for about 100,000 files.
const maxDirectory = 16 << 20

// maxTail is what is read to find the directory: the end of the file, twice.
const maxTail = 256 << 10

// bad returns an ErrBadPackage with a sentence for the client.
func bad(format string, args ...any) error {
	return fmt.Errorf("%w: %s", formats.ErrBadPackage, fmt.Sprintf(format, args...))
}

// archive is a zip in a blob.
type archive struct {
	zip    *zip.Reader
	source *source
	goMod  *zip.File // in the module's root, nil if there is none
}

// openArchive reads the directory of a zip.
func openArchive(b formats.Blob) (*archive, error) {
	if b.Size() > modzip.MaxZipFile {
		return nil, fmt.Errorf("%w: module zip, at most %d bytes are possible", formats.ErrTooLarge, modzip.MaxZipFile)
	}
	a := &archive{source: &source{r: formats.ReadAhead(b), left: maxDirectory + maxTail}}
	z, err := zip.NewReader(a.source, b.Size())
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // check refuses such paths
		return nil, a.explain("open zip", err)
	}
	a.zip, a.source.left = z, math.MaxInt64
	return a, nil
}

// explain tells what is wrong with the zip from what went wrong reading it.
func (a *archive) explain(what string, err error) error {
	if a.source.err != nil {
		return fmt.Errorf("%s: %w", what, a.source.err)
	}
	return bad("%s: %v", what, err)
}

// source limits what is read of a blob and remembers how reading failed.
type source struct {
	r    io.ReaderAt
	left int64
	err  error
}

func (s *source) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("a directory that points before the file, at %d", off)
	}
	if s.left -= int64(len(p)); s.left < 0 {
		return 0, fmt.Errorf("directory of more than %d bytes", maxDirectory)
	}
	n, err := s.r.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

// coordinates reads module and version from the zip's own names.
func (a *archive) coordinates() (module.Version, error) {
	if len(a.zip.File) == 0 {
		return module.Version{}, bad("the zip is empty")
	}
	name, rest, _ := strings.Cut(a.zip.File[0].Name, "@")
	version, _, ok := strings.Cut(rest, "/")
	if !ok {
		return module.Version{}, bad("%q in the zip does not begin with module@version/", a.zip.File[0].Name)
	}
	return module.Version{Path: name, Version: version}, nil
}

// check holds the zip against https://go.dev/ref/mod#zip-files. It does what
// CheckZip of golang.org/x/mod/zip does, which can read a file only, and sees
// to it that its files can be unpacked.
func (a *archive) check(m module.Version) error {
	prefix, names, left := m.Path+"@"+m.Version+"/", collisions{}, int64(modzip.MaxZipFile)
	for _, f := range a.zip.File {
		name, ok := strings.CutPrefix(f.Name, prefix)
		if !ok {
			return bad("%q in the zip is not below %q", f.Name, prefix)
		}
		if name == "" {
			continue
		}
		name, dir := strings.CutSuffix(name, "/")
		if err := names.add(name, dir); err != nil {
			return err
		}
		if dir {
			continue
		}
		if f.UncompressedSize64 > uint64(left) {
			return bad("the files in the zip are more than %d bytes", modzip.MaxZipFile)
		}
		left -= int64(f.UncompressedSize64) //nolint:gosec // at most left
		if err := a.checkFile(name, f); err != nil {
			return err
		}
	}
	return nil
}

func (a *archive) checkFile(name string, f *zip.File) error {
	switch base := path.Base(name); {
	case f.Flags&1 != 0 || f.Method != zip.Store && f.Method != zip.Deflate:
		return bad("%q in the zip is encrypted or compressed by another method than deflate", name)
	case strings.EqualFold(base, "go.mod") && name != "go.mod":
		return bad("%q: go.mod must be in the module's root and in lower case", name)
	case name == "go.mod" && f.UncompressedSize64 > modzip.MaxGoMod:
		return bad("go.mod is larger than %d bytes", modzip.MaxGoMod)
	case name == "LICENSE" && f.UncompressedSize64 > modzip.MaxLICENSE:
		return bad("LICENSE is larger than %d bytes", modzip.MaxLICENSE)
	case name == "go.mod":
		a.goMod = f
	}
	return nil
}

// readGoMod returns the go.mod of a checked zip, and for one without what the
// go command takes instead.
func (a *archive) readGoMod(m module.Version) ([]byte, error) {
	if a.goMod == nil {
		return fmt.Appendf(nil, "module %s\n", modfile.AutoQuote(m.Path)), nil
	}
	r, err := a.goMod.Open()
	if err != nil {
		return nil, a.explain("open go.mod", err)
	}
	defer r.Close() //nolint:errcheck // only read
	data, err := io.ReadAll(io.LimitReader(r, modzip.MaxGoMod+1))
	if err != nil {
		return nil, a.explain("read go.mod", err)
	}
	return data, nil
}

// hash returns the "h1:" hash that go.sum has, reading all files.
func (a *archive) hash(ctx context.Context) (string, error) {
	names, files := make([]string, 0, len(a.zip.File)), make(map[string]*zip.File, len(a.zip.File))
	for _, f := range a.zip.File {
		names, files[f.Name] = append(names, f.Name), f
	}
	h1, err := dirhash.Hash1(names, func(name string) (io.ReadCloser, error) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		return files[name].Open()
	})
	switch {
	case ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		return "", a.explain("read zip", err)
	}
	return h1, nil
}
