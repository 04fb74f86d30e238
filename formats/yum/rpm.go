package yum

import (
	"bytes"
	"crypto/md5"  //nolint:gosec // what packages carry
	"crypto/sha1" //nolint:gosec // likewise
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"io"

	"granary/formats"
)

// Tags of the signature header that are looked at.
const (
	sigMD5         = 1004 // of header and payload
	sigPayloadSize = 1007 // uncompressed
	sigSHA1        = 269  // of the header
	sigLongArchive = 271
	sigSHA256      = 273
	tagPayloadSums = 5092
	tagPayloadAlgo = 5093
	hashSHA256     = 8 // OpenPGP's numbers (RFC 9580 §9.5)
	hashSHA512     = 10
)

// checkHeader holds the main header against the digests of it that the package
// carries.
func (h *headers) checkHeader() error {
	for _, d := range []struct {
		tag uint32
		sum func() hash.Hash
	}{{sigSHA256, sha256.New}, {sigSHA1, sha1.New}} {
		want, err := h.signature.text(d.tag)
		if err != nil {
			return err
		}
		if want == "" {
			continue
		}
		sum := d.sum()
		sum.Write(h.main.raw)
		if hex.EncodeToString(sum.Sum(nil)) != want {
			return badPackage("its header does not have the digest %.64q that it carries", want)
		}
	}
	return nil
}

// payload hashes what follows the headers, as the package says how.
type payload struct {
	hash.Hash
	want []byte
}

// payload returns nil for a package without a digest of its payload.
func (h *headers) payload() (*payload, error) {
	sums, err := h.main.strings(tagPayloadSums)
	if err != nil {
		return nil, err
	}
	algorithm, err := h.main.number(tagPayloadAlgo)
	if err != nil {
		return nil, err
	}
	// V6 packages do not say it: the tag is for this one.
	made := map[uint64]func() hash.Hash{0: sha256.New, hashSHA256: sha256.New, hashSHA512: sha512.New}[algorithm]
	if len(sums) > 0 && made != nil {
		want, err := hex.DecodeString(sums[0])
		if err != nil {
			return nil, badPackage("the digest of its payload is %.64q", sums[0])
		}
		return &payload{made(), want}, nil
	}
	if want := h.signature.binary(sigMD5); want != nil {
		p := &payload{md5.New(), want} //nolint:gosec // what packages carry
		p.Write(h.main.raw)
		return p, nil
	}
	return nil, nil //nolint:nilnil // nothing to check
}

func (p *payload) check() error {
	if p != nil && !bytes.Equal(p.Sum(nil), p.want) {
		return badPackage("its payload does not have the digest that it carries: it is cut off or damaged")
	}
	return nil
}

// checked reads a package as it passes by: its headers before anything else is
// read, so that what is no package is refused at once.
type checked struct {
	*headers
	io.Reader // the whole package, from its beginning
	sum       *payload
}

func newChecked(r io.Reader) (*checked, error) {
	var head bytes.Buffer
	h, err := readHeaders(io.TeeReader(r, &head))
	if err != nil {
		return nil, err
	}
	if err := h.checkHeader(); err != nil {
		return nil, err
	}
	c := &checked{headers: h}
	if c.sum, err = h.payload(); err != nil {
		return nil, err
	}
	if c.sum != nil {
		r = io.TeeReader(r, c.sum)
	}
	c.Reader = io.MultiReader(&head, r)
	return c, nil
}

// finish is called when the package was read to its end.
func (c *checked) finish() error { return c.sum.check() }

// verify reads a package that is stored.
func verify(b formats.Blob) error {
	c, err := newChecked(io.NewSectionReader(formats.ReadAhead(b), 0, b.Size()))
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, c); err != nil {
		return fmt.Errorf("read the package: %w", err)
	}
	return c.finish()
}
