// Package archive writes files into tar and zip streams, in bounded memory.
package archive

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/ulikunitz/xz"
)

// Kind is the format of an archive, which is the extension of its name too.
type Kind string

// The kinds of archives.
const (
	Tar   Kind = "tar"
	TarGz Kind = "tar.gz"
	TarXz Kind = "tar.xz"
	Zip   Kind = "zip"
)

// ErrKind is returned for a kind that does not exist.
var ErrKind = errors.New("unknown kind of archive")

// ParseKind returns ErrKind for what is none.
func ParseKind(s string) (Kind, error) {
	switch k := Kind(s); k {
	case Tar, TarGz, TarXz, Zip:
		return k, nil
	}
	return "", fmt.Errorf("%w: %q", ErrKind, s)
}

// MediaType is for Content-Type.
func (k Kind) MediaType() string {
	switch k {
	case TarGz:
		return "application/gzip"
	case TarXz:
		return "application/x-xz"
	case Zip:
		return "application/zip"
	}
	return "application/x-tar"
}

// xzWindow is the dictionary in bytes, which bounds the memory of both sides.
const xzWindow = 1 << 20

// Writer writes one archive.
type Writer struct {
	tar    *tar.Writer
	zip    *zip.Writer
	closes []io.Closer // in order
}

// NewWriter begins an archive.
func NewWriter(w io.Writer, k Kind) (*Writer, error) {
	if k == Zip {
		z := zip.NewWriter(w)
		return &Writer{zip: z, closes: []io.Closer{z}}, nil
	}
	var packer io.WriteCloser
	switch k {
	case TarGz:
		packer = gzip.NewWriter(w)
	case TarXz:
		x, err := xz.WriterConfig{DictCap: xzWindow}.NewWriter(w)
		if err != nil {
			return nil, fmt.Errorf("begin xz: %w", err)
		}
		packer = x
	case Tar:
		t := tar.NewWriter(w)
		return &Writer{tar: t, closes: []io.Closer{t}}, nil
	default:
		return nil, fmt.Errorf("%w: %q", ErrKind, k)
	}
	t := tar.NewWriter(packer)
	return &Writer{tar: t, closes: []io.Closer{t, packer}}, nil
}

// Add writes a file of exactly size bytes. name has neither a leading slash
// nor dot segments.
func (w *Writer) Add(name string, size int64, modified time.Time, src io.Reader) error {
	dst, err := w.entry(name, size, modified)
	if err != nil {
		return fmt.Errorf("begin %s: %w", name, err)
	}
	n, err := io.Copy(dst, src)
	if err == nil && n != size {
		err = fmt.Errorf("%w: %d bytes of %d", io.ErrUnexpectedEOF, n, size)
	}
	if err != nil {
		return fmt.Errorf("pack %s: %w", name, err)
	}
	return nil
}

func (w *Writer) entry(name string, size int64, modified time.Time) (io.Writer, error) {
	const mode = 0o644
	if w.zip != nil {
		h := &zip.FileHeader{Name: name, Method: zip.Deflate, Modified: modified.UTC()}
		h.SetMode(mode)
		return w.zip.CreateHeader(h)
	}
	// PAX carries any name, size and time.
	err := w.tar.WriteHeader(&tar.Header{
		Typeflag: tar.TypeReg, Name: name, Size: size, Mode: mode, ModTime: modified.UTC().Truncate(time.Second), Format: tar.FormatPAX,
	})
	return w.tar, err
}

// Close ends the archive; it does not close what it was written to.
func (w *Writer) Close() error {
	for _, c := range w.closes {
		if err := c.Close(); err != nil {
			return fmt.Errorf("end the archive: %w", err)
		}
	}
	return nil
}
