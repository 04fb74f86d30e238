package apt_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"granary/formats"
	"granary/formats/apt"
	"granary/formats/formattest"
)

func format() *apt.Format { return apt.New(func() time.Time { return formattest.Epoch }) }

// arMember is a part of an ar archive.
type arMember struct{ name, data string }

func ar(members ...arMember) string {
	out := "!<arch>\n"
	for _, m := range members {
		out += fmt.Sprintf("%-16s%-12d%-6d%-6d%-8s%-10d`\n%s", m.name, 0, 0, 0, "100644", len(m.data), m.data)
		if len(m.data)%2 == 1 {
			out += "\n"
		}
	}
	return out
}

func tarOf(t testing.TB, files ...string) string {
	t.Helper()
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	for i := 0; i < len(files); i += 2 {
		h := &tar.Header{Name: files[i], Mode: 0o644, Size: int64(len(files[i+1])), Typeflag: tar.TypeReg, ModTime: formattest.Epoch}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, files[i+1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

func packed(t testing.TB, kind, data string) string {
	t.Helper()
	var buf bytes.Buffer
	var w io.WriteCloser
	var err error
	switch kind {
	case "":
		return data
	case ".gz":
		w = gzip.NewWriter(&buf)
	case ".xz":
		w, err = xz.NewWriter(&buf)
	case ".lzma":
		w, err = lzma.NewWriter(&buf)
	case ".zst":
		w, err = zstd.NewWriter(&buf)
	default:
		t.Fatalf("no compression %s", kind)
	}
	if err == nil {
		if _, err = io.WriteString(w, data); err == nil {
			err = w.Close()
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

// debOf builds a package with that control data; text makes its bytes its own.
func debOf(t testing.TB, kind, control, text string) string {
	t.Helper()
	return ar(arMember{"debian-binary", "2.0\n"},
		arMember{"control.tar" + kind, packed(t, kind, tarOf(t, "./control", control))},
		arMember{"data.tar" + kind, packed(t, kind, tarOf(t, "./usr/share/doc/x/"+text, text))})
}

func control(name, version, arch string) string {
	return fmt.Sprintf("Package: %s\nVersion: %s\nArchitecture: %s\nMaintainer: A <a@example.com>\nSection: misc\nDescription: short\n long\n .\n end\n", name, version, arch)
}

// accept gives an upload to the format and commits it.
func accept(t testing.TB, s *formattest.Store, method, target string, header map[string][]string, body string) error {
	t.Helper()
	op, ok := format().Route(formattest.Request(t, method, target, header))
	if !ok {
		t.Fatalf("%s %s has no route", method, target)
	}
	tx := formattest.NewTx(t, s)
	var up *formats.Upload
	if op.Kind == formats.Write {
		up = &formats.Upload{Header: header, Body: bytes.NewReader([]byte(body)), Size: int64(len(body))}
	}
	if err := format().Accept(t.Context(), op, up, tx); err != nil {
		return err
	}
	return tx.Commit()
}
