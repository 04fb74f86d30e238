package config

import (
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
)

// MinSecretKey is the least length of a secret_key in bytes.
const MinSecretKey = 16

// Sealer encrypts secrets at rest.
type Sealer interface {
	Seal(clear []byte) ([]byte, error)
	// Open returns ErrSealed for what Seal with the same key has not made.
	Open(sealed []byte) ([]byte, error)
}

// Stretching a secret_key. The salt is fixed since every node must come to the
// same key knowing nothing else; the memory is small since it counts against
// an idle server's. Changing any of these needs a new sealed version.
const (
	stretchSalt    = "granary secret_key 1"
	stretchTime    = 3
	stretchMemory  = 8 << 10 // KiB
	stretchThreads = 1

	sealedVersion = 1 // first byte of what is sealed; then nonce, then ciphertext
)

// xchacha seals with the first key and opens with whichever fits.
type xchacha []cipher.AEAD

// NewSealer makes a Sealer (XChaCha20-Poly1305) of a secret_key, any string of
// at least MinSecretKey bytes; it is stretched by argon2id. What others of the
// keys have sealed it opens too, so that a key can be replaced; see
// [Registry.Reseal].
func NewSealer(secretKey string, others ...string) (Sealer, error) {
	var x xchacha
	for i, k := range append([]string{secretKey}, others...) {
		aead, err := newAEAD(k)
		if err != nil && i > 0 {
			err = fmt.Errorf("previous_secret_keys[%d]: %w", i-1, err)
		}
		if err != nil {
			return nil, err
		}
		x = append(x, aead)
	}
	return x, nil
}

func newAEAD(secretKey string) (cipher.AEAD, error) {
	if len(secretKey) < MinSecretKey {
		return nil, fmt.Errorf("secret_key has %d bytes, it needs at least %d", len(secretKey), MinSecretKey)
	}
	key := argon2.IDKey([]byte(secretKey), []byte(stretchSalt), stretchTime, stretchMemory, stretchThreads, chacha20poly1305.KeySize)
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, fmt.Errorf("make cipher of secret_key: %w", err)
	}
	return aead, nil
}

func (x xchacha) Seal(clear []byte) ([]byte, error) {
	aead := x[0]
	out := make([]byte, 1+aead.NonceSize(), 1+aead.NonceSize()+len(clear)+aead.Overhead())
	out[0] = sealedVersion
	if _, err := rand.Read(out[1:]); err != nil {
		return nil, fmt.Errorf("make nonce: %w", err)
	}
	return aead.Seal(out, out[1:], clear, out[:1]), nil
}

func (x xchacha) Open(sealed []byte) ([]byte, error) {
	n := 1 + x[0].NonceSize()
	if len(sealed) < n || sealed[0] != sealedVersion {
		return nil, ErrSealed
	}
	failed := ErrSealed
	for _, aead := range x {
		clear, err := aead.Open(nil, sealed[1:n], sealed[n:], sealed[:1])
		if err == nil {
			return clear, nil
		}
		failed = errors.Join(ErrSealed, err)
	}
	return nil, failed
}
