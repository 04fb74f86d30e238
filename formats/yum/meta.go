package yum

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/fxamacker/cbor/v2"
	"github.com/klauspost/compress/zstd"

	"granary/formats"
)

// Limits of what is stored of a package, in bytes. Records stay below 256 KiB,
// so a description is cut into pieces.
const (
	maxDescription = 64 << 20 // uncompressed
	pieceSize      = 160 << 10
	maxPieces      = 64
)

// pointer is the Meta of what lists a package in a root: the package's
// fragments, compressed, or the first piece of them.
type pointer struct {
	ID     []byte `cbor:"1,keyasint"` // SHA-256 of the package
	Pieces int    `cbor:"2,keyasint,omitempty"`
	Data   []byte `cbor:"3,keyasint"`
	// Came is when the package did, Unix s. 0: when the pointer was written.
	Came int64 `cbor:"4,keyasint,omitempty"`
}

// cameBy is when the package came that a record with this Meta lists.
func (p *pointer) cameBy(rec formats.Record) int64 {
	if p.Came != 0 || rec.Time.IsZero() {
		return p.Came
	}
	return max(rec.Time.Unix(), 0)
}

// piece is the Meta of what holds a later one.
type piece struct {
	ID   []byte `cbor:"1,keyasint"`
	Data []byte `cbor:"2,keyasint"`
}

// stored is the Meta of a package's file: what lists it. Of a cache's copy,
// which upstream's metadata lists, it is what would.
type stored struct {
	Root   string `cbor:"1,keyasint,omitempty"`
	Name   string `cbor:"2,keyasint"`           // of the pointer
	Pieces int    `cbor:"3,keyasint,omitempty"` // beside the first
	ID     []byte `cbor:"4,keyasint"`
	Of     string `cbor:"5,keyasint,omitempty"` // of a copy: what Name would be
}

// names are those of all pointers.
func (s stored) names() []string {
	out := []string{s.Name}
	for i := range s.Pieces {
		out = append(out, pieceName(s.Name, s.ID, i+1))
	}
	return out
}

// packages is what names of pointers to packages begin with.
const packages = "packages/"

// pointerName is "packages/<name>/:<epoch>:<version>-<release>.<arch>". Nothing
// sorts between it and its pieces.
func (p *pkg) pointerName() string {
	return packages + p.name + "/:" + p.evr.epoch + ":" + p.evr.version + "-" + p.evr.release + "." + p.arch
}

// pieceName has a comma, which no architecture does, and the package's digest:
// pieces of one that takes the place of another stand beside that one's until
// the pointer is replaced.
func pieceName(pointer string, id []byte, n int) string {
	return fmt.Sprintf("%s,%.8x%03d", pointer, id, n)
}

// packageOf takes the name of a pointer apart; ok is false for other names.
func packageOf(name string) (pkg, evra string, isPiece, ok bool) {
	rest, ok := strings.CutPrefix(name, packages)
	pkg, evra, found := strings.Cut(rest, "/:")
	return pkg, evra, strings.Contains(evra, ","), ok && found
}

// codec compresses fragments and undoes it. It is used by one goroutine.
type codec struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

func newCodec() (*codec, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("compress descriptions: %w", err)
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxDescription+(1<<20)))
	if err != nil {
		return nil, fmt.Errorf("read descriptions: %w", err)
	}
	return &codec{enc, dec}, nil
}

func (c *codec) close() {
	c.enc.Close() //nolint:errcheck // EncodeAll has no state
	c.dec.Close()
}

// pack makes the Metas of a pointer and of its pieces.
func (c *codec) pack(id []byte, f *fragments) (first []byte, rest [][]byte, err error) {
	if f.size() > maxDescription {
		return nil, nil, badPackage("what the metadata says of it has %d bytes, at most %d are possible", f.size(), maxDescription)
	}
	plain, err := cbor.Marshal(f)
	if err != nil {
		return nil, nil, fmt.Errorf("encode a description: %w", err)
	}
	packed := c.enc.EncodeAll(plain, nil)
	n := (len(packed) + pieceSize - 1) / pieceSize
	if n > maxPieces {
		return nil, nil, badPackage("what the metadata says of it has %d bytes when compressed, at most %d are possible", len(packed), maxPieces*pieceSize)
	}
	for i := range n {
		part := packed[i*pieceSize : min((i+1)*pieceSize, len(packed))]
		var b []byte
		if i == 0 {
			b, err = cbor.Marshal(pointer{ID: id, Pieces: n - 1, Data: part})
			first = b
		} else {
			b, err = cbor.Marshal(piece{ID: id, Data: part})
			rest = append(rest, b)
		}
		if err != nil {
			return nil, nil, fmt.Errorf("encode a description: %w", err)
		}
	}
	return first, rest, nil
}

// unpack reads the fragments out of all pieces put together. buf is memory to
// use again, returned with what it has grown to.
func (c *codec) unpack(packed, buf []byte, f *fragments) ([]byte, error) {
	buf, err := c.dec.DecodeAll(packed, buf[:0])
	if err == nil {
		err = cbor.Unmarshal(buf, f)
	}
	if err != nil {
		return buf, fmt.Errorf("%w: description of a package: %w", formats.ErrCorrupt, err)
	}
	return buf, nil
}

// gather puts pointers and their pieces together as they come in order of
// their names. Pieces of another package than the pointer before, which a group
// may have from a member whose pointer lost, are left out.
type gather struct {
	key    string // of the pointer
	path   string
	came   int64 // when the package did, Unix s; 0: nobody knows
	id     []byte
	want   int // pieces to come
	packed []byte
}

// add takes a record; done tells that path and packed are a whole package.
func (g *gather) add(rec formats.Record) (done bool, err error) {
	_, _, isPiece, ok := packageOf(rec.Name)
	switch {
	case !ok:
		return false, fmt.Errorf("%w: pointer %s", formats.ErrCorrupt, rec.Key())
	case isPiece:
		return g.more(rec)
	}
	if err := g.end(); err != nil {
		return false, err
	}
	var p pointer
	if err := cbor.Unmarshal(rec.Meta, &p); err != nil {
		return false, fmt.Errorf("%w: pointer %s: %w", formats.ErrCorrupt, rec.Key(), err)
	}
	*g = gather{key: rec.Name, path: rec.Path, came: p.cameBy(rec), id: p.ID, want: p.Pieces, packed: append(g.packed[:0], p.Data...)}
	return g.want == 0, nil
}

func (g *gather) more(rec formats.Record) (bool, error) {
	if g.want == 0 || !strings.HasPrefix(rec.Name, g.key+",") {
		return false, nil
	}
	var p piece
	if err := cbor.Unmarshal(rec.Meta, &p); err != nil {
		return false, fmt.Errorf("%w: pointer %s: %w", formats.ErrCorrupt, rec.Key(), err)
	}
	if !bytes.Equal(p.ID, g.id) {
		return false, nil
	}
	g.packed = append(g.packed, p.Data...)
	g.want--
	return g.want == 0, nil
}

// end is called behind the last record.
func (g *gather) end() error {
	if g.want > 0 {
		// It is being replaced or deleted just now.
		return fmt.Errorf("%w: %s lacks %d pieces of its description", formats.ErrBusy, g.key, g.want)
	}
	return nil
}
