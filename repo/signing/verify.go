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

// maxBlocks is how many armored signatures of one document are tried.
const maxBlocks = 64

// VerifyDetached judges the armored signatures of a document: one block after
// another, of which one has to be good.
func VerifyDetached(keys openpgp.EntityList, document, signature []byte, now time.Time) error {
	var errs []error
	for range maxBlocks {
		block, rest := nextBlock(signature)
		_, err := openpgp.CheckArmoredDetachedSignature(keys, bytes.NewReader(document), bytes.NewReader(block), verifying(now))
		if err == nil {
			return nil
		}
		errs = append(errs, err)
		if rest == nil {
			break
		}
		signature = rest
	}
	return fmt.Errorf("%w: %w", ErrSignature, errors.Join(errs...))
}

// nextBlock cuts off the first armored block; rest is nil if it is the last.
func nextBlock(signature []byte) (block, rest []byte) {
	begin := []byte("-----BEGIN " + openpgp.SignatureType)
	first := bytes.Index(signature, begin)
	if first < 0 {
		return signature, nil
	}
	next := bytes.Index(signature[first+len(begin):], append([]byte("\n"), begin...))
	if next < 0 {
		return signature, nil
	}
	at := first + len(begin) + next + 1
	return signature[:at], signature[at:]
}

func verifying(now time.Time) *packet.Config {
	return &packet.Config{Time: func() time.Time { return now }}
}
