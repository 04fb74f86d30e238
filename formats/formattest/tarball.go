package formattest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"io"
	"testing"
)

// TarGz builds a gzip-compressed tar archive of files, names as they are.
func TarGz(tb testing.TB, entries ...Entry) []byte {
	tb.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	for _, e := range entries {
		err := w.WriteHeader(&tar.Header{Name: e.Name, Size: int64(len(e.Content)), Mode: 0o644, Typeflag: tar.TypeReg})
		if err == nil {
			_, err = io.WriteString(w, e.Content)
		}
		if err != nil {
			tb.Fatalf("tar %q: %v", e.Name, err)
		}
	}
	if err := w.Close(); err != nil {
		tb.Fatalf("tar: %v", err)
	}
	if err := z.Close(); err != nil {
		tb.Fatalf("gzip: %v", err)
	}
	return buf.Bytes()
}
