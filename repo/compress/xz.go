package compress

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"hash/crc64"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// xzipped is one stream; each piece is a block.
type xzipped struct {
	records []byte // of the index
	blocks  uint64
}

// flags of a stream: blocks end in a CRC-64.
const flags = "\x00\x04"

var ecma = crc64.MakeTable(crc64.ECMA)

// blockHeader precedes each block (§3.1): one filter, LZMA2, with a dictionary
// of 256 KiB, the longest piece.
var blockHeader = sealed([]byte{2, 0, 0x21, 1, 12, 0, 0, 0})

// sealed appends the CRC-32 of b.
func sealed(b []byte) []byte { return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b)) }

// padded appends zeros up to a multiple of four bytes.
func padded(b []byte) []byte { return append(b, make([]byte, -len(b)&3)...) }

func (*xzipped) begin(w io.Writer) error {
	_, err := w.Write(append([]byte("\xfd7zXZ\x00"), sealed([]byte(flags))...))
	return err
}

func (*xzipped) make(plain []byte) (piece, error) {
	out := bytes.NewBuffer(bytes.Clone(blockHeader))
	z, err := lzma.Writer2Config{DictCap: longest}.NewWriter2(out)
	if err != nil {
		return piece{}, err
	}
	if _, err := z.Write(plain); err != nil {
		return piece{}, err
	}
	if err := z.Close(); err != nil {
		return piece{}, err
	}
	const check = 8
	p := piece{unpadded: out.Len() + check}
	p.data = binary.LittleEndian.AppendUint64(padded(out.Bytes()), crc64.Checksum(plain, ecma))
	p.data = bytes.Clone(p.data)
	return p, nil
}

func (x *xzipped) add(w io.Writer, plain []byte, p piece) error {
	x.blocks++
	x.records = binary.AppendUvarint(x.records, uint64(p.unpadded)) //nolint:gosec // a length
	x.records = binary.AppendUvarint(x.records, uint64(len(plain)))
	_, err := w.Write(p.data)
	return err
}

// end writes index and footer (§4, §2.1.2).
func (x *xzipped) end(w io.Writer) error {
	index := binary.AppendUvarint([]byte{0}, x.blocks)
	index = sealed(padded(append(index, x.records...)))
	footer := binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1)) //nolint:gosec // a few bytes for each piece
	footer = append(footer, flags...)
	sum := binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(footer))
	_, err := w.Write(bytes.Join([][]byte{index, sum, footer, []byte("YZ")}, nil))
	return err
}
