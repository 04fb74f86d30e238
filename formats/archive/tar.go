package archive

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"io"

	"granary/formats"
)

// TarGz walks a gzip-compressed tar to its end. visit is called for each entry
// but the root; its error ends the walk and is returned.
func TarGz(ctx context.Context, b formats.Blob, limits Limits, visit func(Entry) error) error {
	src := &source{r: io.NewSectionReader(formats.ReadAhead(b), 0, b.Size())}
	z, err := gzip.NewReader(src)
	if err != nil {
		return explain(src.err, err)
	}
	c := &check{limits: limits, packed: b.Size()}
	// Headers and padding count as well: what is skipped is unpacked, too.
	unpacked := &counted{r: z, check: c}
	r := tar.NewReader(unpacked)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return explain(src.err, err)
		}
		if err := tarEntry(c, h, &reading{r: r, src: src}, visit); err != nil {
			return err
		}
	}
	if c.entries == 0 {
		return bad("the archive is empty")
	}
	// A checksum at the end of the stream tells whether it is whole.
	if _, err := io.Copy(io.Discard, unpacked); err != nil {
		return explain(src.err, err)
	}
	return nil
}

func tarEntry(c *check, h *tar.Header, body io.Reader, visit func(Entry) error) error {
	name, err := c.entry(h.Name)
	if err != nil {
		return err
	}
	e := Entry{Name: name, Size: h.Size, Mode: h.Mode & 0o7777, Body: body}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, '\x00':
		e.Kind = File
	case tar.TypeDir:
		e.Kind = Dir
	case tar.TypeSymlink, tar.TypeLink:
		e.Kind = Link
		if err := link(name, h.Linkname, h.Typeflag == tar.TypeLink); err != nil {
			return err
		}
	case tar.TypeXGlobalHeader:
		return nil
	default:
		return bad("%q in the archive is neither file, directory nor link", h.Name)
	}
	if name == "" {
		if e.Kind != Dir {
			return bad("%q in the archive is no name of a file", h.Name)
		}
		return nil
	}
	return visit(e)
}

// counted counts what is unpacked.
type counted struct {
	r     io.Reader
	check *check
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if limit := c.check.add(int64(n)); limit != nil {
		return 0, limit
	}
	return n, err
}

// reading puts errors of a file's bytes into the terms of the contract.
type reading struct {
	r   io.Reader
	src *source
}

func (r *reading) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // plain by contract
		err = explain(r.src.err, err)
	}
	return n, err
}
