package formats

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz/lzma"
	"github.com/xi2/xz"
)

// maxWindow is what a decoder keeps of what it has decoded, in bytes, whatever
// the data asks for. xz -9 asks for half of it.
const maxWindow = 128 << 20

// Decompress undoes the compression that the extension of a file's name stands
// for: ".gz", ".xz", ".bz2", ".zst" or ".lzma"; any other stands for none. How long the
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
	case ".lzma":
		return unlzma(r)
	}
	return plain(r, nil)
}

// unlzma reads what xz came after. Its decoder takes the memory that the header
// asks for.
func unlzma(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReader(r)
	head, err := b.Peek(lzma.HeaderLen)
	if err != nil {
		return nil, fmt.Errorf("header of lzma: %w", err)
	}
	if n := binary.LittleEndian.Uint32(head[1:]); n > maxWindow {
		return nil, fmt.Errorf("lzma with a dictionary of %d bytes, at most %d are possible", n, maxWindow)
	}
	return plain(lzma.NewReader(b))
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
