package formats_test

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"granary/formats"
)

func TestDecompress(t *testing.T) {
	const text = "what is compressed"
	packed := func(w io.WriteCloser, b *bytes.Buffer) string {
		if _, err := io.WriteString(w, text); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	var gz, zst bytes.Buffer
	z, err := zstd.NewWriter(&zst)
	if err != nil {
		t.Fatal(err)
	}
	for ext, body := range map[string]string{
		"": text, ".txt": text, ".gz": packed(gzip.NewWriter(&gz), &gz), ".zst": packed(z, &zst),
	} {
		named, err := formats.Decompress(ext, strings.NewReader(body))
		if err != nil {
			t.Fatalf("%q: %v", ext, err)
		}
		sniffed, err := formats.Sniffed(strings.NewReader(body))
		if err != nil {
			t.Fatalf("%q: %v", ext, err)
		}
		for _, r := range []io.ReadCloser{named, sniffed} {
			if got, err := io.ReadAll(r); string(got) != text || err != nil {
				t.Errorf("%q: %q, %v", ext, got, err)
			}
			if err := r.Close(); err != nil {
				t.Errorf("%q: close: %v", ext, err)
			}
		}
	}
	// What a header of lzma asks for is not taken from memory.
	huge := "\x5d\xff\xff\xff\xff" + strings.Repeat("\xff", 8) + "\x00data"
	if r, err := formats.Decompress(".lzma", strings.NewReader(huge)); err == nil {
		t.Errorf("lzma with a dictionary of 4 GiB: %v", r)
	}
	for _, ext := range []string{".gz", ".xz", ".lzma"} {
		if r, err := formats.Decompress(ext, strings.NewReader(text)); err == nil {
			t.Errorf("%s of what is none: %v", ext, r)
		}
	}
	for _, short := range []string{"", "a"} {
		r, err := formats.Sniffed(strings.NewReader(short))
		if err != nil {
			t.Fatalf("%q: %v", short, err)
		}
		if got, err := io.ReadAll(r); string(got) != short || err != nil {
			t.Errorf("%q: %q, %v", short, got, err)
		}
	}
}
