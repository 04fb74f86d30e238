package apt

import (
	"bytes"
	"path"
	"time"

	"granary/formats"
)

var _ formats.Attested = (*Format)(nil)

// Attestation says that InRelease is signed within, and Release by Release.gpg
// beside it.
func (*Format) Attestation(scope, at string) (signature string, ok bool) {
	switch at {
	case formats.Join(base(scope), inRelease):
		return "", true
	case formats.Join(base(scope), release):
		return path.Join(path.Dir(at), releaseGPG), true
	}
	return "", false
}

// Valid reads Date and Valid-Until of a Release file. One that can't be read
// says nothing: apt judges it.
func (*Format) Valid(text []byte) (made, until time.Time) {
	p, err := newParagraphs(bytes.NewReader(text)).next()
	if err != nil {
		return time.Time{}, time.Time{}
	}
	return releaseTime(p.get("Date")), releaseTime(p.get("Valid-Until"))
}

// releaseTime reads a time as Release files have it, RFC 2822 with names of
// zones as well as numbers.
func releaseTime(s string) time.Time {
	for _, layout := range []string{time.RFC1123, time.RFC1123Z, "Mon, _2 Jan 2006 15:04:05 MST", "Mon, _2 Jan 2006 15:04:05 -0700"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	return time.Time{}
}
