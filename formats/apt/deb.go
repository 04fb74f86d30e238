package apt

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"granary/formats"
)

// Limits of a binary package.
const (
	maxMembers  = 64       // of the ar archive
	maxControl  = 64 << 20 // bytes that control.tar expands to
	maxListed   = 200_000  // files that Contents lists of one package
	maxExpanded = 8 << 30  // bytes of data.tar that are gone through to list them
)

func badPackage(format string, args ...any) error {
	return fmt.Errorf("%w: %s", formats.ErrBadPackage, fmt.Sprintf(format, args...))
}

// deb is what a binary package says of itself (deb(5)).
type deb struct {
	control paragraph
	// files are the paths of data.tar without leading slash, in its order.
	files []string
}

// member is a part of an ar archive.
type member struct {
	name string
	*io.SectionReader
}

// readDeb reads a binary package. What is no package is an ErrBadPackage. The
// files are left out beyond the limits; everything else is read whole.
func readDeb(r io.ReaderAt, size int64) (*deb, error) {
	src := &stored{ReaderAt: r}
	d, err := parseDeb(src, size)
	if src.err != nil {
		return nil, fmt.Errorf("read the package: %w", src.err) // the store's fault, not the package's
	}
	return d, err
}

// stored remembers that reading failed.
type stored struct {
	io.ReaderAt
	err error
}

func (s *stored) ReadAt(p []byte, off int64) (int, error) {
	n, err := s.ReaderAt.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = err
	}
	return n, err
}

func parseDeb(r io.ReaderAt, size int64) (*deb, error) {
	members, err := readAr(r, size)
	if err != nil {
		return nil, err
	}
	if len(members) < 3 || members[0].name != "debian-binary" {
		return nil, badPackage("it is no Debian package: it does not begin with debian-binary")
	}
	var format [4]byte
	if _, err := members[0].Read(format[:]); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if !bytes.HasPrefix(format[:], []byte("2.")) {
		return nil, badPackage("it has version %q of the package format, 2.0 is needed", format[:])
	}
	d := &deb{}
	var data *member
	for i := range members[1:] {
		m := &members[1+i]
		switch {
		case strings.HasPrefix(m.name, "control.tar") && d.control == nil:
			if d.control, err = readControl(m); err != nil {
				return nil, err
			}
		case strings.HasPrefix(m.name, "data.tar") && data == nil:
			data = m
		}
	}
	if d.control == nil || data == nil {
		return nil, badPackage("it has no control.tar or no data.tar")
	}
	d.files, err = listFiles(data)
	return d, err
}

// readAr lists the members of an ar archive (the common format, without long
// names, as dpkg writes it).
func readAr(r io.ReaderAt, size int64) ([]member, error) {
	const magic, header = "!<arch>\n", 60
	var head [header]byte
	if _, err := r.ReadAt(head[:len(magic)], 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if string(head[:len(magic)]) != magic {
		return nil, badPackage("it is no Debian package: it does not begin with %q", magic)
	}
	var out []member
	for off := int64(len(magic)); off < size; {
		if size-off < header {
			return nil, badPackage("it ends within a header")
		}
		if _, err := r.ReadAt(head[:], off); err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if head[58] != '`' || head[59] != '\n' {
			return nil, badPackage("the archive has no header at byte %d", off)
		}
		n, err := strconv.ParseInt(strings.TrimRight(string(head[48:58]), " "), 10, 64)
		off += header
		if err != nil || n < 0 || n > size-off {
			return nil, badPackage("a member has the length %q, %d bytes are left", head[48:58], size-off)
		}
		if len(out) == maxMembers {
			return nil, badPackage("the archive has more than %d members", maxMembers)
		}
		name := strings.TrimSuffix(strings.TrimRight(string(head[:16]), " "), "/")
		out = append(out, member{name, io.NewSectionReader(r, off, n)})
		off += n + n%2
	}
	return out, nil
}

// readControl returns the control file of control.tar.
func readControl(m *member) (paragraph, error) {
	tr, err := openTar(m, controlForms)
	if err != nil {
		return nil, err
	}
	defer tr.Close() //nolint:errcheck // only read
	limited := formats.Limit(tr, maxControl, "control data")
	files := tar.NewReader(limited)
	for {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil, badPackage("control.tar has no file control")
		}
		if err != nil {
			return nil, broken(m, err)
		}
		if path.Clean("/"+h.Name) != "/control" || h.Typeflag != tar.TypeReg {
			continue
		}
		ps := newParagraphs(files)
		p, err := ps.next()
		if errors.Is(err, io.EOF) {
			return nil, badPackage("its control file is empty")
		}
		if err != nil {
			return nil, broken(m, err)
		}
		if _, err := ps.next(); !errors.Is(err, io.EOF) {
			return nil, badPackage("its control file has more than one paragraph")
		}
		return p, nil
	}
}

// listFiles returns the names in data.tar, for Contents.
func listFiles(m *member) ([]string, error) {
	tr, err := openTar(m, dataForms)
	if err != nil {
		return nil, err
	}
	defer tr.Close() //nolint:errcheck // only read
	files := tar.NewReader(io.LimitReader(tr, maxExpanded))
	var out []string
	for len(out) < maxListed {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, broken(m, err)
		}
		name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
		if h.Typeflag == tar.TypeDir || name == "" || strings.ContainsAny(name, "\n\r\x00") {
			continue
		}
		out = append(out, name)
	}
	return out, nil
}

// broken says of an archive in the package that it can't be read.
func broken(m *member, err error) error {
	if errors.Is(err, formats.ErrTooLarge) || errors.Is(err, formats.ErrBadRequest) {
		return badPackage("%s: %v", m.name, err)
	}
	return badPackage("%s can't be read: %v", m.name, err)
}

// Compressions that the members may have (deb(5)): old packages have their
// files in bz2 or lzma.
var (
	controlForms = []string{"", ".gz", ".xz", ".zst"}
	dataForms    = []string{"", ".gz", ".xz", ".zst", ".bz2", ".lzma"}
)

// openTar undoes the compression that the member's name tells, one of forms.
func openTar(m *member, forms []string) (io.ReadCloser, error) {
	_, kind, _ := strings.Cut(m.name, ".tar")
	if !slices.Contains(forms, kind) {
		return nil, badPackage("%s is compressed in a way that is not known; those known are%s", m.name, strings.ReplaceAll(strings.Join(forms, " "), ".", ""))
	}
	r, err := formats.Decompress(kind, m)
	if err != nil {
		return nil, broken(m, err)
	}
	return r, nil
}
