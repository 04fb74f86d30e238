package rest

import (
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/chacha20poly1305"
)

// Secrets of a backup are encrypted one by one, under a key that is stretched
// from a passphrase with a salt of the document's own. The name of a secret is
// authenticated with it, so that none can be put in another's place.
const (
	sealMethod  = "argon2id+xchacha20-poly1305"
	sealTime    = 3
	sealMemory  = 32 << 10 // KiB
	sealThreads = 1
	saltLength  = 16
	sealPrefix  = "sealed:"
	// A passphrase has at least so many bytes, and at most.
	minPassphrase, maxPassphrase = 8, 1024
)

// Encryption says how the secrets of a backup are encrypted.
type Encryption struct {
	Method string `json:"method" enum:"argon2id+xchacha20-poly1305"`
	Salt   string `json:"salt" doc:"base64"`
}

// secretBox encrypts or decrypts the secrets of one document; nil leaves them
// as they are.
type secretBox struct{ aead cipher.AEAD }

func newSecretBox(passphrase string, salt []byte) (*secretBox, error) {
	if len(passphrase) < minPassphrase || len(passphrase) > maxPassphrase {
		return nil, invalid(passphraseHeader, "must have %d to %d bytes", minPassphrase, maxPassphrase)
	}
	aead, err := chacha20poly1305.NewX(argon2.IDKey([]byte(passphrase), salt, sealTime, sealMemory, sealThreads, chacha20poly1305.KeySize))
	if err != nil {
		return nil, fmt.Errorf("make the cipher of a backup: %w", err)
	}
	return &secretBox{aead}, nil
}

func newSalt() ([]byte, error) {
	salt := make([]byte, saltLength)
	if _, err := rand.Read(salt); err != nil {
		return nil, fmt.Errorf("make the salt of a backup: %w", err)
	}
	return salt, nil
}

func (b *secretBox) seal(name, secret string) (string, error) {
	if b == nil || secret == "" {
		return secret, nil
	}
	nonce := make([]byte, b.aead.NonceSize(), b.aead.NonceSize()+len(secret)+b.aead.Overhead())
	if _, err := rand.Read(nonce); err != nil {
		return "", fmt.Errorf("make a nonce: %w", err)
	}
	return sealPrefix + base64.StdEncoding.EncodeToString(b.aead.Seal(nonce, nonce, []byte(secret), []byte(name))), nil
}

func (b *secretBox) open(name, sealed string) (string, error) {
	if b == nil || sealed == "" {
		return sealed, nil
	}
	text, ok := strings.CutPrefix(sealed, sealPrefix)
	raw, err := base64.StdEncoding.DecodeString(text)
	if !ok || err != nil || len(raw) < b.aead.NonceSize() {
		return "", invalid(name, "is not encrypted, though the document says so")
	}
	clear, err := b.aead.Open(nil, raw[:b.aead.NonceSize()], raw[b.aead.NonceSize():], []byte(name))
	if err != nil {
		return "", invalid(name, "can't be decrypted: the passphrase is another, or the document was changed")
	}
	return string(clear), nil
}
