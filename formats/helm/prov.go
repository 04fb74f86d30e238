package helm

import (
	"bytes"
	"encoding/hex"
	"strings"

	"granary/digest"
	"granary/formats"
)

// parseProvenance reads which file a provenance is of, and its digest. The
// signature is for clients, who have the keys.
//
// The file is a cleartext signed message (RFC 9580 §7) of two YAML documents:
// the chart's metadata, and the digests of its files.
func parseProvenance(data []byte) (file string, sha256 []byte, err error) {
	const begin, end = "-----BEGIN PGP SIGNED MESSAGE-----", "-----BEGIN PGP SIGNATURE-----"
	data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
	_, rest, ok := bytes.Cut(data, []byte(begin+"\n"))
	if !ok {
		return "", nil, bad("the provenance is no signed message")
	}
	_, rest, ok = bytes.Cut(rest, []byte("\n\n")) // its headers
	message, _, signed := bytes.Cut(rest, []byte("\n"+end))
	if !ok || !signed {
		return "", nil, bad("the provenance has no signature")
	}
	_, sums, ok := bytes.Cut(message, []byte("\n...\n"))
	if !ok {
		return "", nil, bad("the provenance lists no files")
	}
	var list struct {
		Files map[string]text `yaml:"files"`
	}
	if err := formats.UnmarshalYAML(sums, &list); err != nil {
		return "", nil, bad("the provenance: %v", err)
	}
	if len(list.Files) != 1 {
		return "", nil, bad("the provenance is of %d files, not of one chart", len(list.Files))
	}
	for name, value := range list.Files {
		file = name
		sha256, err = hex.DecodeString(strings.TrimPrefix(string(value), "sha256:"))
	}
	if err != nil || len(sha256) != digest.SHA256.Size() || !validFile(file) {
		return "", nil, bad("the provenance of %q has no digest of a chart", file)
	}
	return file, sha256, nil
}
