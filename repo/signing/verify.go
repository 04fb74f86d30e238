package signing

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// ErrSignature is returned for what none of the keys has signed.
var ErrSignature = errors.New("signing: no good signature")

// VerifyClear returns the text of a clear-signed document that one of the keys
// has signed, and nothing of what stands around it.
func VerifyClear(keys openpgp.EntityList, document []byte, now time.Time) ([]byte, error) {
	block, rest := clearsign.Decode(document)
	if block == nil {
		return nil, fmt.Errorf("%w: it is not signed", ErrSignature)
	}
	// A client may read what stands before or behind as if it were signed.
	if at := bytes.Index(document, []byte("-----BEGIN PGP SIGNED MESSAGE-----")); len(bytes.TrimSpace(document[:at])) > 0 || len(bytes.TrimSpace(rest)) > 0 {
		return nil, fmt.Errorf("%w: there is text that is not signed", ErrSignature)
	}
	if _, err := block.VerifySignature(keys, verifying(now)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return block.Plaintext, nil
}

// VerifyDetached judges an armored signature of a document.
func VerifyDetached(keys openpgp.EntityList, document, signature []byte, now time.Time) error {
	_, err := openpgp.CheckArmoredDetachedSignature(keys, bytes.NewReader(document), bytes.NewReader(signature), verifying(now))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return nil
}

func verifying(now time.Time) *packet.Config {
	return &packet.Config{Time: func() time.Time { return now }}
}
