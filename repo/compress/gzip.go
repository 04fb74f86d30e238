package compress

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
)

// gzipped is one member; each piece is deflate blocks that end at a whole byte
// and refer to nothing before them.
type gzipped struct {
	deflaters *sync.Pool
	crc       uint32
	size      uint32 // modulo 2^32, as the format has it
}

func (*gzipped) begin(w io.Writer) error {
	// Magic, deflate, no flags, no time, no hint, unknown system.
	_, err := w.Write([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255})
	return err
}

func (g *gzipped) make(plain []byte) (piece, error) {
	var out bytes.Buffer
	z, ok := g.deflaters.Get().(*flate.Writer)
	if ok {
		z.Reset(&out)
	} else {
		var err error
		if z, err = flate.NewWriter(&out, flate.DefaultCompression); err != nil {
			return piece{}, err
		}
	}
	defer g.deflaters.Put(z)
	if _, err := z.Write(plain); err != nil {
		return piece{}, err
	}
	if err := z.Flush(); err != nil {
		return piece{}, err
	}
	return piece{data: bytes.Clone(out.Bytes())}, nil
}

func (g *gzipped) add(w io.Writer, plain []byte, p piece) error {
	g.crc = crc32.Update(g.crc, crc32.IEEETable, plain)
	g.size += uint32(len(plain)) //nolint:gosec // bounded by longest
	_, err := w.Write(p.data)
	return err
}

func (g *gzipped) end(w io.Writer) error {
	b := []byte{3, 0} // an empty block that is the last one
	b = binary.LittleEndian.AppendUint32(b, g.crc)
	b = binary.LittleEndian.AppendUint32(b, g.size)
	_, err := w.Write(b)
	return err
}
