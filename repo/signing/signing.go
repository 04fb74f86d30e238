// Package signing makes and uses the OpenPGP keys that repositories sign their
// documents with (RFC 9580, in the version 4 form that every client reads).
package signing

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"

	"granary/repo/config"
)

// ErrKey is returned for a key that can't sign, or that can't be read.
var ErrKey = errors.New("signing: unusable key")

// Algorithm is what a new key is made of.
type Algorithm string

// The algorithms of new keys.
const (
	Ed25519 Algorithm = "ed25519"
	RSA4096 Algorithm = "rsa4096"
)

// MaxImport is the longest armored key that is read, in bytes.
const MaxImport = 64 << 10

// Generate makes a key for a repository of that name. Making an RSA key takes
// seconds.
func Generate(repository string, a Algorithm, now time.Time) (config.SigningKey, error) {
	c := &packet.Config{Time: func() time.Time { return now }, DefaultHash: crypto.SHA512}
	switch a {
	case Ed25519:
		c.Algorithm, c.Curve = packet.PubKeyAlgoEdDSA, packet.Curve25519
	case RSA4096:
		c.Algorithm, c.RSABits = packet.PubKeyAlgoRSA, 4096
	default:
		return config.SigningKey{}, fmt.Errorf("%w: there is no algorithm %.32q, only %s and %s", ErrKey, a, Ed25519, RSA4096)
	}
	e, err := openpgp.NewEntity(repository, "package repository", "", c)
	if err != nil {
		return config.SigningKey{}, fmt.Errorf("generate a signing key: %w", err)
	}
	e.Subkeys = nil // it encrypts nothing
	return stored(e, string(a), now)
}

// Import reads an armored private key; passphrase opens it if it is locked and
// is not kept.
func Import(armored, passphrase string, now time.Time) (config.SigningKey, error) {
	if len(armored) > MaxImport {
		return config.SigningKey{}, fmt.Errorf("%w: it has more than %d bytes", ErrKey, MaxImport)
	}
	e, err := read(armored)
	if err != nil {
		return config.SigningKey{}, err
	}
	if e.PrivateKey.Encrypted {
		if err := e.DecryptPrivateKeys([]byte(passphrase)); err != nil {
			return config.SigningKey{}, fmt.Errorf("%w: the passphrase does not open it", ErrKey)
		}
	}
	if _, ok := e.SigningKey(now); !ok {
		return config.SigningKey{}, fmt.Errorf("%w: it is expired, revoked or not made to sign", ErrKey)
	}
	a, err := algorithmOf(e.PrimaryKey)
	if err != nil {
		return config.SigningKey{}, fmt.Errorf("%w: %w", ErrKey, err)
	}
	return stored(e, a, now)
}

// algorithmOf names what a key is made of as GnuPG does: rsa2048, ed25519,
// nistp256.
func algorithmOf(k *packet.PublicKey) (string, error) {
	switch k.PubKeyAlgo {
	case packet.PubKeyAlgoRSA, packet.PubKeyAlgoRSASignOnly:
		bits, err := k.BitLength()
		return fmt.Sprintf("rsa%d", bits), err
	case packet.PubKeyAlgoDSA:
		bits, err := k.BitLength()
		return fmt.Sprintf("dsa%d", bits), err
	}
	curve, err := k.Curve()
	switch curve {
	case packet.Curve25519:
		return string(Ed25519), err
	case packet.Curve448:
		return "ed448", err
	case packet.CurveNistP256, packet.CurveNistP384, packet.CurveNistP521:
		return "nistp" + strings.TrimPrefix(string(curve), "P"), err
	case packet.CurveBrainpoolP256, packet.CurveBrainpoolP384, packet.CurveBrainpoolP512:
		return "brainpool" + strings.TrimPrefix(string(curve), "Brainpool") + "r1", err
	}
	return string(curve), err
}

// read parses one private key.
func read(armored string) (*openpgp.Entity, error) {
	list, err := openpgp.ReadArmoredKeyRing(strings.NewReader(armored))
	if err != nil {
		return nil, fmt.Errorf("%w: it is no armored OpenPGP key: %w", ErrKey, err)
	}
	// Only the first armored block is read.
	if strings.Count(armored, "-----BEGIN ") > 1 || len(list) != 1 || list[0].PrivateKey == nil || list[0].PrivateKey.Dummy() {
		return nil, fmt.Errorf("%w: exactly one private key is needed", ErrKey)
	}
	return list[0], nil
}

func stored(e *openpgp.Entity, algorithm string, now time.Time) (config.SigningKey, error) {
	var buf bytes.Buffer
	w, err := armor.Encode(&buf, openpgp.PrivateKeyType, nil)
	if err == nil {
		if err = e.SerializePrivateWithoutSigning(w, nil); err == nil {
			err = w.Close()
		}
	}
	if err != nil {
		return config.SigningKey{}, fmt.Errorf("write a signing key: %w", err)
	}
	return config.SigningKey{
		Fingerprint: fmt.Sprintf("%X", e.PrimaryKey.Fingerprint), Algorithm: algorithm,
		Private: config.NewSecret(buf.String()), Created: now,
	}, nil
}

// Ring is the keys that sign now. It is used concurrently.
type Ring struct {
	entities []*openpgp.Entity // the one in force first
	now      func() time.Time

	// writing is held while public keys are written, which changes the signatures
	// that they hold.
	writing sync.Mutex
}

// Open makes a Ring of stored keys: those that sign at the time now.
func Open(s *config.Signing, now func() time.Time) (*Ring, error) {
	r := &Ring{now: now}
	for i := len(s.Keys) - 1; i >= 0; i-- {
		k := s.Keys[i]
		if !k.Until.IsZero() && !now().Before(k.Until) {
			continue
		}
		armored, err := k.Private.Reveal()
		if err != nil {
			return nil, fmt.Errorf("signing key %s: %w", k.Fingerprint, err)
		}
		e, err := read(armored)
		if err != nil {
			return nil, fmt.Errorf("signing key %s: %w", k.Fingerprint, err)
		}
		r.entities = append(r.entities, e)
	}
	if len(r.entities) == 0 {
		return nil, fmt.Errorf("%w: none is in force", ErrKey)
	}
	return r, nil
}

// clocksApart is how far ahead the clock of the node that made a key may be.
const clocksApart = time.Minute

// at is the time of signatures: that of a key that is used before it was made, by
// a node whose clock is behind, and now else.
func (r *Ring) at() time.Time {
	now := r.now()
	at := now
	for _, e := range r.entities {
		if made := e.PrimaryKey.CreationTime; made.After(at) && made.Sub(now) <= clocksApart {
			at = made
		}
	}
	return at
}

// Fingerprints returns those of the keys, the one in force first.
func (r *Ring) Fingerprints() []string {
	out := make([]string, len(r.entities))
	for i, e := range r.entities {
		out[i] = fmt.Sprintf("%X", e.PrimaryKey.Fingerprint)
	}
	return out
}

func (r *Ring) config() *packet.Config {
	return &packet.Config{Time: r.at, DefaultHash: crypto.SHA512}
}

// keys returns the private keys that sign.
func (r *Ring) keys() ([]*packet.PrivateKey, error) {
	out := make([]*packet.PrivateKey, len(r.entities))
	for i, e := range r.entities {
		k, ok := e.SigningKey(r.at())
		if !ok || k.PrivateKey == nil {
			return nil, fmt.Errorf("%w: %X is expired or revoked", ErrKey, e.PrimaryKey.Fingerprint)
		}
		out[i] = k.PrivateKey
	}
	return out, nil
}

// Clear returns text in the cleartext signature framework, signed by every key.
func (r *Ring) Clear(text []byte) ([]byte, error) {
	keys, err := r.keys()
	if err != nil {
		return nil, err
	}
	var buf bytes.Buffer
	w, err := clearsign.EncodeMulti(&buf, keys, r.config())
	if err == nil {
		if _, err = w.Write(text); err == nil {
			err = w.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return withChecksum(buf.Bytes())
}

// withChecksum gives the signature of a signed text the checksum that RFC 9580
// made optional: gpgv 2.2, which apt asks, can't read some signatures without.
func withChecksum(signed []byte) ([]byte, error) {
	at := bytes.LastIndex(signed, []byte("-----BEGIN "+openpgp.SignatureType))
	if at < 0 {
		return nil, errors.New("sign: there is no signature")
	}
	block, err := armor.Decode(bytes.NewReader(signed[at:]))
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	out := bytes.NewBuffer(bytes.Clone(signed[:at]))
	w, err := armor.Encode(out, openpgp.SignatureType, nil)
	if err == nil {
		if _, err = io.Copy(w, block.Body); err == nil {
			err = w.Close()
		}
	}
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	out.WriteByte('\n')
	return out.Bytes(), nil
}

// Detached returns an armored signature of data by every key, the one in force
// first. Each is a block of its own: dnf, where rpm verifies for it, reads the
// first block and can't read one with two signatures.
func (r *Ring) Detached(data io.Reader) ([]byte, error) {
	text, err := io.ReadAll(data)
	if err != nil {
		return nil, fmt.Errorf("read what is to be signed: %w", err)
	}
	var buf bytes.Buffer
	for _, e := range r.entities {
		out, err := armor.Encode(&buf, openpgp.SignatureType, nil)
		if err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		if err := openpgp.DetachSign(out, e, bytes.NewReader(text), r.config()); err != nil {
			return nil, fmt.Errorf("sign with %X: %w", e.PrimaryKey.Fingerprint, err)
		}
		if err := out.Close(); err != nil {
			return nil, fmt.Errorf("sign: %w", err)
		}
		buf.WriteByte('\n')
	}
	return buf.Bytes(), nil
}

// Public returns the public keys, armored or binary.
func (r *Ring) Public(armored bool) ([]byte, error) {
	var buf bytes.Buffer
	var w io.Writer = &buf
	var end io.Closer
	if armored {
		a, err := armor.Encode(&buf, openpgp.PublicKeyType, nil)
		if err != nil {
			return nil, fmt.Errorf("write public keys: %w", err)
		}
		w, end = a, a
	}
	r.writing.Lock()
	defer r.writing.Unlock()
	for _, e := range r.entities {
		if err := e.Serialize(w); err != nil {
			return nil, fmt.Errorf("write public keys: %w", err)
		}
	}
	if end != nil {
		if err := end.Close(); err != nil {
			return nil, fmt.Errorf("write public keys: %w", err)
		}
		buf.WriteByte('\n')
	}
	return buf.Bytes(), nil
}
