package yum

import (
	"path"
	"time"

	"granary/formats"
)

var _ formats.Attested = (*Format)(nil)

// Attestation says that repomd.xml is signed by repomd.xml.asc beside it; what
// it lists has its digest there.
func (*Format) Attestation(scope, at string) (signature string, ok bool) {
	if path.Base(scope) != repodata || at != formats.Join(scope, repomd) {
		return "", false
	}
	return formats.Join(scope, repomdSig), true
}

// Valid knows of no time: repomd.xml does not say until when it is good.
func (*Format) Valid([]byte) (made, until time.Time) { return time.Time{}, time.Time{} }
