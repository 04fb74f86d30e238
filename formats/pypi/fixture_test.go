package pypi_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"

	"granary/formats/formattest"
	"granary/formats/pypi"
)

func format() *pypi.Format { return pypi.New() }

func metadata(name, version, more string) string {
	return "Metadata-Version: 2.1\nName: " + name + "\nVersion: " + version + "\n" + more
}

// wheel builds one; more is appended to its METADATA.
func wheel(t testing.TB, name, version, more string) string {
	t.Helper()
	dir := strings.ReplaceAll(name, "-", "_") + "-" + version + ".dist-info/"
	return string(formattest.Zip(t,
		formattest.Entry{Name: strings.ReplaceAll(name, "-", "_") + "/__init__.py", Content: "# " + version},
		formattest.Entry{Name: dir + "METADATA", Content: metadata(name, version, more)},
		formattest.Entry{Name: dir + "WHEEL", Content: "Wheel-Version: 1.0\n"},
		formattest.Entry{Name: dir + "RECORD", Content: ""}))
}

func wheelName(name, version string) string {
	return strings.ReplaceAll(name, "-", "_") + "-" + version + "-py3-none-any.whl"
}

func sdist(t testing.TB, root string, files ...formattest.Entry) string {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	w := tar.NewWriter(z)
	for _, f := range files {
		err := w.WriteHeader(&tar.Header{Name: root + "/" + f.Name, Size: int64(len(f.Content)), Mode: 0o644})
		if err == nil {
			_, err = io.WriteString(w, f.Content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

// form is an upload of a file with fields "name=value".
func form(t testing.TB, file, content string, fields ...string) (http.Header, []byte) {
	t.Helper()
	parts := []formattest.Part{{Name: ":action", Content: "file_upload"}, {Name: "protocol_version", Content: "1"}}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, "=")
		parts = append(parts, formattest.Part{Name: name, Content: value})
	}
	return formattest.Form(t, append(parts, formattest.Part{Name: "content", File: file, Content: content})...)
}

func upload(t testing.TB, s *formattest.Store, file, content string, fields ...string) error {
	t.Helper()
	header, body := form(t, file, content, fields...)
	_, err := s.Do("POST", "", header, body)
	return err
}

func mustUpload(t testing.TB, s *formattest.Store, file, content string, fields ...string) {
	t.Helper()
	if err := upload(t, s, file, content, fields...); err != nil {
		t.Fatalf("upload %s: %v", file, err)
	}
}

func get(t testing.TB, s *formattest.Store, target string, header ...string) string {
	t.Helper()
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	a, err := s.Do("GET", target, h, nil)
	if err != nil {
		return "error: " + err.Error()
	}
	return string(a.Body)
}

func sha(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}
