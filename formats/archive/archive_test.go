package archive_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"

	"granary/formats"
	"granary/formats/archive"
	"granary/formats/formattest"
)

// item is an entry of either kind of archive.
type item struct {
	name, body, link string
	hard, dir, fifo  bool
}

func tarGz(t testing.TB, items ...item) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	for _, i := range items {
		h := &tar.Header{Name: i.name, Size: int64(len(i.body)), Mode: 0o644, Typeflag: tar.TypeReg}
		switch {
		case i.hard:
			h.Typeflag, h.Linkname = tar.TypeLink, i.link
		case i.link != "":
			h.Typeflag, h.Linkname = tar.TypeSymlink, i.link
		case i.dir:
			h.Typeflag = tar.TypeDir
		case i.fifo:
			h.Typeflag = tar.TypeFifo
		}
		err := w.WriteHeader(h)
		if err == nil {
			_, err = io.WriteString(w, i.body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func zipped(t testing.TB, items ...item) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	for _, i := range items {
		h, body := &zip.FileHeader{Name: i.name, Method: zip.Deflate}, i.body
		h.SetMode(0o644)
		switch {
		case i.link != "":
			h.SetMode(fs.ModeSymlink | 0o777)
			body = i.link
		case i.dir:
			h.Name += "/"
		case i.fifo:
			h.SetMode(fs.ModeNamedPipe | 0o644)
		}
		f, err := w.CreateHeader(h)
		if err == nil {
			_, err = io.WriteString(f, body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

type walker func(ctx context.Context, data []byte, l archive.Limits, visit func(archive.Entry) error) error

var walkers = map[string]struct {
	walk  walker
	build func(testing.TB, ...item) []byte
}{
	"tar": {func(ctx context.Context, data []byte, l archive.Limits, visit func(archive.Entry) error) error {
		return archive.TarGz(ctx, formattest.NewBytes(data), l, visit)
	}, tarGz},
	"zip": {func(ctx context.Context, data []byte, l archive.Limits, visit func(archive.Entry) error) error {
		return archive.Zip(ctx, bytes.NewReader(data), int64(len(data)), l, visit)
	}, zipped},
}

func TestWalk(t *testing.T) {
	for kind, w := range walkers {
		data := w.build(t, item{name: "a/b", body: "hello"}, item{name: "./a/c", body: "x"}, item{name: "d", dir: true}, item{name: "a/l", link: "../d"})
		var got []string
		err := w.walk(t.Context(), data, archive.Default, func(e archive.Entry) error {
			body := ""
			if e.Kind == archive.File {
				b, err := archive.ReadAll(e, 10)
				if err != nil {
					return err
				}
				body = string(b)
			}
			got = append(got, e.Name+"="+body)
			return nil
		})
		if want := "a/b=hello a/c=x d= a/l="; err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q, %v, want %q", kind, got, err, want)
		}
	}
}

func TestRefused(t *testing.T) {
	for kind, w := range walkers {
		for name, items := range map[string][]item{
			"empty":         nil,
			"absolute":      {{name: "/etc/passwd", body: "x"}},
			"parent":        {{name: "a/../../b", body: "x"}},
			"backslash":     {{name: `a\..\b`, body: "x"}},
			"drive":         {{name: "c:/x", body: "x"}},
			"link out":      {{name: "a/l", link: "../../x"}},
			"link absolute": {{name: "a/l", link: "/etc/passwd"}},
			"fifo":          {{name: "f", fifo: true}},
			"long name":     {{name: strings.Repeat("a/", 2100) + "b", body: "x"}},
			"many":          {{name: "a"}, {name: "b"}, {name: "c"}, {name: "d"}, {name: "e"}, {name: "f"}},
			"large":         {{name: "a", body: strings.Repeat("x", 20_000)}},
		} {
			limits := archive.Limits{Entries: 5, Bytes: 16_000, Ratio: 200}
			err := w.walk(t.Context(), w.build(t, items...), limits, func(archive.Entry) error { return nil })
			if !errors.Is(err, formats.ErrBadPackage) {
				t.Errorf("%s, %s: %v", kind, name, err)
			}
		}
		whole := w.build(t, item{name: "a", body: strings.Repeat("abc", 1000)})
		if err := w.walk(t.Context(), whole[:len(whole)-9], archive.Default, func(archive.Entry) error { return nil }); !errors.Is(err, formats.ErrBadPackage) {
			t.Errorf("%s, cut: %v", kind, err)
		}
		mine := errors.New("enough")
		if err := w.walk(t.Context(), whole, archive.Default, func(archive.Entry) error { return mine }); !errors.Is(err, mine) {
			t.Errorf("%s: the visitor's error became %v", kind, err)
		}
	}
	hard := tarGz(t, item{name: "a/l", link: "../x", hard: true})
	if err := walkers["tar"].walk(t.Context(), hard, archive.Default, func(archive.Entry) error { return nil }); !errors.Is(err, formats.ErrBadPackage) {
		t.Errorf("hard link: %v", err)
	}
}

// 100 MB of zeros in 100 KB are found out while they are unpacked.
func TestBomb(t *testing.T) {
	zeros := strings.Repeat("\x00", 100<<20)
	for kind, w := range walkers {
		data := w.build(t, item{name: "a", body: zeros})
		err := w.walk(t.Context(), data, archive.Default, func(archive.Entry) error { return nil })
		if !errors.Is(err, formats.ErrBadPackage) || !strings.Contains(err.Error(), "times its size") {
			t.Errorf("%s of %d bytes: %v", kind, len(data), err)
		}
	}
}

type broken struct{ *formattest.Bytes }

var errDisk = errors.New("disk is gone")

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errDisk }

// A store that fails is not the package's fault.
func TestStoreFails(t *testing.T) {
	data := formattest.NewBytes(tarGz(t, item{name: "a", body: "x"}))
	visit := func(archive.Entry) error { return nil }
	if err := archive.TarGz(t.Context(), broken{data}, archive.Default, visit); !errors.Is(err, errDisk) || errors.Is(err, formats.ErrBadRequest) {
		t.Errorf("tar: %v", err)
	}
	if err := archive.Zip(t.Context(), broken{data}, data.Size(), archive.Default, visit); !errors.Is(err, errDisk) || errors.Is(err, formats.ErrBadRequest) {
		t.Errorf("zip: %v", err)
	}
}

func FuzzWalk(f *testing.F) {
	f.Add(tarGz(f, item{name: "a/b", body: "hello"}, item{name: "a/l", link: "b"}))
	f.Add(zipped(f, item{name: "a/b", body: "hello"}, item{name: "a/l", link: "b"}))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, w := range walkers {
			err := w.walk(t.Context(), data, archive.Limits{Entries: 100, Bytes: 1 << 20, Ratio: 200}, func(e archive.Entry) error {
				if strings.HasPrefix(e.Name, "/") || strings.HasPrefix(e.Name, "../") || e.Name == "" || strings.Contains(e.Name, "/../") {
					t.Errorf("name %q", e.Name)
				}
				_, err := archive.ReadAll(e, 1<<20)
				return err
			})
			if err != nil && !errors.Is(err, formats.ErrBadRequest) {
				t.Errorf("%v", err)
			}
		}
	})
}
