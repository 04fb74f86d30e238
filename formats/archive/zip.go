package archive

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"granary/formats"
)

// A zip's directory, all of which is held in memory, may have so many bytes.
// To find it, the end of the file is read, twice.
const (
	maxDirectory = 48 << 20
	maxTail      = 256 << 10
)

// Zip walks the directory of a zip. A file's bytes are unpacked only where
// visit reads its Body. visit is called for each entry but the root; its error
// ends the walk and is returned.
func Zip(ctx context.Context, b io.ReaderAt, size int64, limits Limits, visit func(Entry) error) error {
	src := &sourceAt{r: b, left: maxDirectory + maxTail}
	z, err := zip.NewReader(src, size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // entries refuse such paths
		return explain(src.err, err)
	}
	src.left = math.MaxInt64
	c := &check{limits: limits, packed: size}
	for _, f := range z.File {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := zipEntry(c, f, src, visit); err != nil {
			return err
		}
	}
	if c.entries == 0 {
		return bad("the archive is empty")
	}
	return nil
}

func zipEntry(c *check, f *zip.File, src *sourceAt, visit func(Entry) error) error {
	name, err := c.entry(f.Name)
	if err != nil {
		return err
	}
	if f.UncompressedSize64 > math.MaxInt64 {
		return bad("%q in the archive has an impossible size", f.Name)
	}
	size := int64(f.UncompressedSize64) //nolint:gosec // judged above
	if err := c.add(size); err != nil {
		return err
	}
	body := &lazy{file: f, src: src}
	defer body.close()
	e := Entry{Name: name, Kind: File, Size: size, Mode: int64(f.Mode().Perm()), Body: body}
	switch mode := f.Mode(); {
	case mode.IsDir():
		e.Kind = Dir
	case mode&fs.ModeSymlink != 0:
		e.Kind = Link
		target, err := ReadAll(e, maxLink)
		if err != nil {
			return err
		}
		if err := link(name, string(target), false); err != nil {
			return err
		}
	case !mode.IsRegular():
		return bad("%q in the archive is neither file, directory nor link", f.Name)
	}
	if name == "" {
		if e.Kind != Dir {
			return bad("%q in the archive is no name of a file", f.Name)
		}
		return nil
	}
	return visit(e)
}

// lazy opens a file of a zip with the first read.
type lazy struct {
	file *zip.File
	src  *sourceAt
	r    io.ReadCloser
}

func (l *lazy) Read(p []byte) (int, error) {
	if l.r == nil {
		r, err := l.file.Open()
		if err != nil {
			return 0, explain(l.src.err, err)
		}
		l.r = r
	}
	n, err := l.r.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // plain by contract
		err = explain(l.src.err, err)
	}
	return n, err
}

func (l *lazy) close() {
	if l.r != nil {
		l.r.Close() //nolint:errcheck // only read
	}
}

// sourceAt limits what is read of a zip and remembers how reading failed.
type sourceAt struct {
	r    io.ReaderAt
	left int64
	err  error
}

func (s *sourceAt) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, fmt.Errorf("%w: a directory that points before the file, at %d", formats.ErrBadPackage, off)
	}
	if s.left -= int64(len(p)); s.left < 0 {
		return 0, bad("the archive has a directory of more than %d bytes", maxDirectory)
	}
	n, err := s.r.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}
