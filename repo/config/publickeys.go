package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
)

// maxPublicKeys is the longest text of public keys, in bytes: that of a
// distribution with a dozen keys has some 40,000.
const maxPublicKeys = 128 << 10

const publicBlock = "-----BEGIN PGP PUBLIC KEY BLOCK-----"

// ReadPublicKeys reads armored OpenPGP public keys, of which a text may hold
// several, in one block or one after another.
func ReadPublicKeys(armored string) (openpgp.EntityList, error) {
	blocks := strings.Split(armored, publicBlock)
	if len(blocks) < 2 || strings.TrimSpace(blocks[0]) != "" {
		return nil, errors.New("it is no armored OpenPGP public key")
	}
	var out openpgp.EntityList
	for _, block := range blocks[1:] {
		keys, err := openpgp.ReadArmoredKeyRing(strings.NewReader(publicBlock + block))
		if err != nil {
			return nil, fmt.Errorf("it is no armored OpenPGP public key: %w", err)
		}
		if len(keys) == 0 {
			return nil, errors.New("there is no OpenPGP public key in it")
		}
		out = append(out, keys...)
	}
	return out, nil
}

// publicKeys checks a text of public keys, which may be empty.
func publicKeys(field, armored string) error {
	if armored == "" {
		return nil
	}
	if len(armored) > maxPublicKeys {
		return invalid(field, "has more than %d bytes", maxPublicKeys)
	}
	if _, err := ReadPublicKeys(armored); err != nil {
		return invalid(field, "%v", err)
	}
	return nil
}
