package formats

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/xi2/xz"
)

// maxWindow is what a decoder keeps of what it has decoded, in bytes, whatever
// the data asks for. xz -9 asks for half of it.
const maxWindow = 128 << 20

// Decompress undoes the compression that the extension of a file's name stands
// for: ".gz", ".xz", ".bz2" or ".zst"; any other stands for none. How long the
// outcome is must be limited by the caller. Close frees the decoder and leaves r
// open.
func Decompress(ext string, r io.Reader) (io.ReadCloser, error) {
	switch ext {
	case ".gz":
		return plain(gzip.NewReader(r))
	case ".xz":
		return plain(xz.NewReader(r, maxWindow))
	case ".bz2":
		return plain(bzip2.NewReader(r), nil)
	case ".zst":
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return z.IOReadCloser(), nil
	}
	return plain(r, nil)
}

// plain is for decoders that have nothing to free.
func plain[R io.Reader](r R, err error) (io.ReadCloser, error) {
	if err != nil {
		return nil, err
	}
	return io.NopCloser(r), nil
}

// compressions are how files of them begin.
var compressions = []struct{ ext, magic string }{
	{".gz", "\x1f\x8b"}, {".xz", "\xfd7zXZ\x00"}, {".zst", "\x28\xb5\x2f\xfd"},
}

// Sniffed is [Decompress] for bytes whose name is not known: they are gzip, xz
// or zstd if they begin so.
func Sniffed(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReader(r)
	head, err := b.Peek(6)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	for _, c := range compressions {
		if bytes.HasPrefix(head, []byte(c.magic)) {
			return Decompress(c.ext, b)
		}
	}
	return Decompress("", b)
}
