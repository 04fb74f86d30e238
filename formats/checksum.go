package formats

import (
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"granary/digest"
)

// named are the digest algorithms by the names of RFC 3230 and RFC 9530.
var named = map[string]digest.Algorithm{
	"sha-256": digest.SHA256, "sha-512": digest.SHA512, "sha": digest.SHA1, "md5": digest.MD5,
}

// Promised returns the digests that the headers of an upload promise:
// X-Checksum-Blake3, -Sha256, -Sha512, -Sha1 and -Md5 in hex, Content-MD5 (RFC
// 1864), Digest (RFC 3230), Content-Digest and Repr-Digest (RFC 9530).
// Algorithms that granary doesn't compute are ignored. The error wraps
// ErrBadRequest for what is no digest, ErrChecksum for two that disagree.
func Promised(h http.Header) (digest.Sums, error) {
	var p promise
	for _, a := range digest.Algorithms {
		for _, v := range h.Values("X-Checksum-" + string(a)) {
			p.hex(a, strings.TrimSpace(v))
		}
	}
	for _, v := range h.Values("Content-MD5") {
		p.base64(digest.MD5, strings.TrimSpace(v))
	}
	for _, name := range [...]string{"Digest", "Content-Digest", "Repr-Digest"} {
		for _, v := range h.Values(name) {
			p.list(v)
		}
	}
	return p.sums, p.err
}

// promise collects digests and keeps the first error.
type promise struct {
	sums digest.Sums
	err  error
}

// list reads "sha-256=…, md5=…", values in base64, colons around them or not.
func (p *promise) list(v string) {
	for item := range strings.SplitSeq(v, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(item), "=")
		a, ok := named[strings.ToLower(name)]
		if !ok {
			continue
		}
		value, _, _ = strings.Cut(value, ";")
		value = strings.TrimSuffix(strings.TrimPrefix(strings.TrimSpace(value), ":"), ":")
		p.base64(a, value)
	}
}

func (p *promise) hex(a digest.Algorithm, v string) {
	sum, err := digest.ParseHex(a, v)
	p.add(a, sum, err)
}

func (p *promise) base64(a digest.Algorithm, v string) {
	sum, err := base64.StdEncoding.DecodeString(v)
	if err != nil || len(sum) != a.Size() {
		err = fmt.Errorf("%w: %q is no %s in base64", digest.ErrInvalid, v, a)
	}
	p.add(a, sum, err)
}

func (p *promise) add(a digest.Algorithm, sum []byte, err error) {
	switch old := p.sums.Get(a); {
	case p.err != nil:
	case err != nil:
		p.err = BadRequest("%v", err)
	case old != nil && string(old) != string(sum):
		p.err = fmt.Errorf("%w: %s is promised to be %x and %x", ErrChecksum, a, old, sum)
	default:
		p.sums.Set(a, sum)
	}
}

// CheckSums returns an ErrChecksum if the bytes of b are not those that want
// promises, also where b was not asked for a sum of want.
func CheckSums(b Blob, want digest.Sums) error {
	have := b.Sums()
	if err := have.Check(want); err != nil {
		return fmt.Errorf("%w: %w", ErrChecksum, err)
	}
	for _, a := range want.Algorithms() {
		if have.Get(a) == nil {
			return fmt.Errorf("%s of an upload was not computed: %w", a, errors.ErrUnsupported)
		}
	}
	return nil
}
